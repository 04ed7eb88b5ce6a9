"""Anomaly detection that learns from good parts only: a memory bank of patches, or a golden template."""
