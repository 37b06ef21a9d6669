"""Layers and networks, for energies and bases alike."""
