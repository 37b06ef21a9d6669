"""Weighted walkers along a path of energies: reweighting, annealing, log Z with its interval."""
