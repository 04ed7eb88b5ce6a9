"""From a dataset version to a released model."""
