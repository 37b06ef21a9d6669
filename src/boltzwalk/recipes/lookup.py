"""Settings by name or path: a recipe, a settings file, or the data or code of a user."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..data.files import array_headers
from ..extension import DATA
from ..settings.outside import outside_schema
from ..settings.settings import Settings, from_yaml
from ..settings.tree import from_tree, override, to_tree
from . import RECIPES
from .index import unknown_recipe

__all__ = ["resolved_settings", "settings_from"]


def settings_from(recipe: str, assignments: Sequence[str] = ()) -> Settings:
    """Returns the settings of a recipe name or a path, with changes.

    Arguments:
        recipe: A recipe, the settings.yaml of a run, or a file or folder of data.
        assignments: The changes, each `key=value`.

    Raises:
        ValueError: If it is none of these, or a change does not fit.

    Example:
        >>> settings_from("digits", ["steps=7"]).method.steps
        7
    """
    path = Path(recipe)
    if recipe in RECIPES:
        base = RECIPES[recipe]()
    elif path.suffix in (".yaml", ".yml") and path.exists():
        base = from_yaml(path.read_text(encoding="utf-8"), path)
    elif (path / "settings.yaml").exists():
        raise ValueError(
            f"{path} is a run; go on with it by `boltzwalk resume {shlex.quote(str(path))}`"
        )
    elif ".py:" in recipe:
        base, assignments = _outside_data(recipe), list(assignments)
    elif path.exists():
        base = RECIPES["images" if path.is_dir() or _holds_images(path) else "table"]()
        assignments = [f"data.path={path.absolute()}", *assignments]
    else:
        raise ValueError(unknown_recipe(recipe))
    return from_tree(Settings, override(Settings, to_tree(base), assignments))


def _outside_data(reference: str) -> Settings:
    """The starter recipe for data that user code loads, by the shape of a row."""
    schema = outside_schema(reference, DATA, "data")
    data = schema()
    starter = RECIPES["images" if len(data.load().event_shape) == 3 else "table"]()
    return replace(starter, data=data)


def _holds_images(path: Path) -> bool:
    """Whether an array in a .npy or .npz file has more dimensions than a table."""
    if path.suffix not in (".npy", ".npz"):
        return False
    return any(len(shape) >= 3 for shape, _, _ in array_headers(path).values())


def resolved_settings(recipe: str, assignments: Sequence[str]) -> Settings:
    """Returns the settings of a recipe name or a path, with changes and without "auto" values.

    Arguments:
        recipe: A recipe, the settings.yaml of a run, or a file or folder of data.
        assignments: The changes, each `key=value`.

    Raises:
        ValueError: If it is none of these, or a change does not fit.
    """
    from ..settings.settings import resolve_auto

    return resolve_auto(settings_from(recipe, assignments))
