"""Labels that a model contradicts, for a person to look at again."""
