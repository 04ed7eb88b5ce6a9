"""Releases with their cards, approval, switch and roll back; training and replay as jobs."""
