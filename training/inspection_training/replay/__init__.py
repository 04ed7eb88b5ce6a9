"""Stored parts decided again by another release, before anyone switches."""
