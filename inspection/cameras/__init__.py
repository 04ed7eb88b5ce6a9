"""Camera drivers, one file per driver: its config class and its driver."""
