"""Evaluation of a trained model: numbers with intervals, or the reason why there is none."""
