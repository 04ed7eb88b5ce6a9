"""People: who may sign in, at which terminal, with what; and what they did (audit)."""
