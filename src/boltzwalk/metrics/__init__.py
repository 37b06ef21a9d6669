"""Functions of samples and a reference that return numbers."""
