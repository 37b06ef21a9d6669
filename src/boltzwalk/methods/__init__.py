"""How a model learns: one method a file, and where its walkers start."""
