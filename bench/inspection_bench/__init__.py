"""Benchmarks: ours against its peers, interleaved in one run, on the same frames."""
