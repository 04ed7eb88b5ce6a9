"""A dataset version for others: without names, without metadata, with licence, card and approval."""
