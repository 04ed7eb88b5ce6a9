"""Faster forms of a release, bf16 and INT8, only where they decide alike."""
