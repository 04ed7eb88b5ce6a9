"""Detectors of ultralytics: AGPL-3.0, optional; its loop fed from a dataset version."""
