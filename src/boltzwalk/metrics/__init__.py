"""Functions of samples and a reference that return numbers, one family a module.

``metrics.NAME`` imports the module when it is used first.
"""

import importlib
import importlib.util
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if importlib.util.find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no module {name!r}")
    return importlib.import_module(f".{name}", __name__)
