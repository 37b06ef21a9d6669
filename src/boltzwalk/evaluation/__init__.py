"""Whether a trained model is any good: numbers with their error, or why there is none."""
