"""Code scanners beside the line: one file per driver."""
