"""Detectors of torchvision: permissive licence, one readable loop."""
