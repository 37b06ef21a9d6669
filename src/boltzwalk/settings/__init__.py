"""Everything that determines a run, as one value, and its tree of plain values."""
