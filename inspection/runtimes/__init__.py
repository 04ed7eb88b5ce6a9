"""Runtime drivers: where a released model is run."""
