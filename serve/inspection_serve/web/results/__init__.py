"""Results: search, one part's story, what must be sorted again, export."""
