"""Scikit-learn's interface: a density, an outlier detector and an imputer.

`EnergyDensity`          log p(x) of rows in nats, with log Z and its interval
`EnergyOutlierDetector`  rows that are unlike the training rows, at a chosen rate of false alarms
`EnergyImputer`          missing values, by samples given the values that are there
"""

from .density import EnergyDensity
from .imputer import EnergyImputer
from .outliers import EnergyOutlierDetector

__all__ = ["EnergyDensity", "EnergyImputer", "EnergyOutlierDetector"]
