"""Review: operators judge the flagged parts; engineers set the rules."""
