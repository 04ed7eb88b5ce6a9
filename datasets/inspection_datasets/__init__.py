"""Dataset versions: import, check, and the manifest that training reads."""
