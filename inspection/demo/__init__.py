"""The quick start: a whole station on one PC, with simulated camera and PLC."""
