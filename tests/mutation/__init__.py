"""Deliberate damage to the package, to see whether a test notices. See `tests/mutate.py`."""
