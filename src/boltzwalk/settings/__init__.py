"""Everything that determines a run, as one value, and its tree of plain values."""

from .optimizers import SGD, Adam, Schedule
from .settings import Output, Settings

__all__ = ["SGD", "Adam", "Output", "Schedule", "Settings"]
