"""A folder of a run becomes one page to look at."""
