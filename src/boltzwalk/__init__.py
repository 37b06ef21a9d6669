"""Train, sample, weigh and judge energy-based models: p(x) = exp(-U(x)) / Z."""

__version__ = "0.1.0"
