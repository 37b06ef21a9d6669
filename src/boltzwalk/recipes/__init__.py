"""Recipes: one Python function a result, with its settings and the number it reached.

A module of recipes lists its functions in `RECIPES`. It may name recipes to train for comparison in
`COMPANIONS`, and how many seeds to take in `SEEDS`. They are imported when they are used first:
:mod:`.index` lists them without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..settings.settings import Settings

    RECIPES: dict[str, Callable[[], Settings]]
    """All recipes by name."""

    COMPANIONS: dict[str, tuple[str, ...]]
    """Recipes that `boltzwalk train` trains after another one, for comparison: they differ from it
    in the method only, and their names begin with its name."""

    SEEDS: dict[str, int]
    """The number of seeds that `boltzwalk train` takes for a recipe, where not one."""

__all__ = ["COMPANIONS", "RECIPES", "SEEDS"]

MODULES = (
    "starters",
    "anatomy",
    "jarzynski",
    "cooperative",
    "generalized",
    "density",
)
"""The modules of recipes, in the order in which `boltzwalk recipes` lists them."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Imports all recipes, or one of their modules, when it is used first."""
    if name in MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = [import_module(f"{__name__}.{module}") for module in MODULES]
    globals()["RECIPES"] = {recipe.__name__: recipe for m in modules for recipe in m.RECIPES}
    for key in ("COMPANIONS", "SEEDS"):
        globals()[key] = {k: v for m in modules for k, v in getattr(m, key, {}).items()}
    return globals()[name]
