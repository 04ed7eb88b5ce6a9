"""Settings proposed from the data, each with its reason."""
