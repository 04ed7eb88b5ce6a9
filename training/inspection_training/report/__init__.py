"""The evaluation report, and two releases on the same parts."""
