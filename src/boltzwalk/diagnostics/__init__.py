"""Diagnostics of a log: energy gap, gradient norm, oscillation, verdict."""
