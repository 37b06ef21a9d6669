"""Recipes: one Python function a result, with its settings and the number it reached.

A module of recipes lists its functions in `RECIPES`. It may name recipes to train for comparison in
`COMPANIONS`, and how many seeds to take in `SEEDS`.
"""

from collections.abc import Callable
from importlib import import_module

from ..settings.settings import Settings

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

_LOADED = [import_module(f"{__name__}.{name}") for name in MODULES]

RECIPES: dict[str, Callable[[], Settings]] = {
    recipe.__name__: recipe for module in _LOADED for recipe in module.RECIPES
}
"""All recipes by name."""

COMPANIONS: dict[str, tuple[str, ...]] = {
    name: names for module in _LOADED for name, names in getattr(module, "COMPANIONS", {}).items()
}
"""Recipes that `boltzwalk train` trains after another one, for comparison: they differ from it in
the method only, and their names begin with its name."""

SEEDS: dict[str, int] = {
    name: seeds for module in _LOADED for name, seeds in getattr(module, "SEEDS", {}).items()
}
"""The number of seeds that `boltzwalk train` takes for a recipe, where not one."""
