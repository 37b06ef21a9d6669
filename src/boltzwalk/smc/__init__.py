"""How walkers carry weights along a path of energies, and what log Z that gives."""
