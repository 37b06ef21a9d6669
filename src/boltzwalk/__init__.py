"""Energy-based models with PyTorch: train, sample, weigh and judge p(x) = exp(-U(x)) / Z.

The front door::

    import boltzwalk as bw

    data = bw.Dataset.of(x)                       # a tensor, an array, a frame, a torch Dataset
    model = bw.train(my_module, data, bw.methods.Contrastive(), updates=2000, out="runs/mine")
    x = model.sample(1000)
    print(model.log_z())
    print(bw.evaluate(model))
    bw.report(model)
    model = bw.load("runs/mine", energy=my_module)

Everything is imported when it is used first: ``import boltzwalk`` itself loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from . import bases, data, energies, kernels, methods, metrics, networks, recipes, settings, smc
    from .api import complete, evaluate, load, report, train
    from .data.dataset import Dataset
    from .model import Model
    from .rng import generator
    from .settings.settings import Settings
    from .smc.log_z import estimate_log_z

_NAMES = {
    "Dataset": "data.dataset",
    "Model": "model",
    "Settings": "settings.settings",
    "complete": "api",
    "estimate_log_z": "smc.log_z",
    "evaluate": "api",
    "generator": "rng",
    "load": "api",
    "report": "api",
    "train": "api",
}
_ROOMS = (
    "bases",
    "data",
    "energies",
    "estimators",
    "kernels",
    "methods",
    "metrics",
    "networks",
    "recipes",
    "settings",
    "smc",
)

__all__ = [
    "Dataset",
    "Model",
    "Settings",
    "bases",
    "complete",
    "data",
    "energies",
    "estimate_log_z",
    "evaluate",
    "generator",
    "kernels",
    "load",
    "methods",
    "metrics",
    "networks",
    "recipes",
    "report",
    "settings",
    "smc",
    "train",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _NAMES:
        value = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    elif name in _ROOMS:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'boltzwalk' has no attribute {name!r}; see dir(boltzwalk)")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__", "estimators"]
