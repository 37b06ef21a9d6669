r"""Settings from the words of a command: a recipe, a settings file or data, then `key=value`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..settings.settings import Settings, from_yaml, resolve
from ..settings.tree import from_tree, override, to_tree
from . import RECIPES

__all__ = ["parse_assignments", "resolved_settings", "run_name", "settings_from"]


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
    elif path.suffix in (".yaml", ".yml"):
        base = from_yaml(path.read_text(), path)
    elif (path / "settings.yaml").exists():
        raise ValueError(f"{path} is a run; go on with it by `boltzwalk resume {path}`")
    elif path.exists():
        base = RECIPES["images" if path.is_dir() or _holds_images(path) else "table"]()
        assignments = [f"data.path={path.absolute()}", *assignments]
    else:
        raise ValueError(_unknown_recipe(recipe))
    return from_tree(Settings, override(Settings, to_tree(base), assignments))


def resolved_settings(recipe: str, assignments: Sequence[str]) -> Settings:
    """Returns the settings of a recipe name or a path, with changes and without "auto" values.

    Arguments:
        recipe: A recipe, the settings.yaml of a run, or a file or folder of data.
        assignments: The changes, each `key=value`.

    Raises:
        ValueError: If it is none of these, or a change does not fit.
    """
    return resolve(settings_from(recipe, assignments))


def run_name(recipe: str) -> str:
    """Returns the name of a run: that of its recipe, its data, or the run it takes settings from.

    Arguments:
        recipe: A recipe, the settings.yaml of a run, or a file or folder of data.

    Example:
        >>> run_name("digits"), run_name("runs/old/settings.yaml"), run_name("wine.csv.gz")
        ('digits', 'old', 'wine')
    """
    path = Path(recipe).absolute()
    if path.name in ("settings.yaml", "settings.yml"):
        return path.parent.name
    return path.name.split(".")[0] or path.name


def parse_assignments(words: Sequence[str]) -> list[str]:
    """Returns `key=value` for each of `key=value`, `--key=value` and `--key value`.

    Arguments:
        words: The words of the command after the recipe.

    Raises:
        ValueError: If a value is missing.

    Example:
        >>> parse_assignments(["steps=5", "--seed", "1"])
        ['steps=5', 'seed=1']
    """
    assignments: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if word.startswith("--") and "=" not in word:
            if not remaining:
                raise ValueError(f"{word} needs a value: write {word.removeprefix('--')}=...")
            word = f"{word}={remaining.pop(0)}"
        assignments.append(word.removeprefix("--"))
    return assignments


def _holds_images(path: Path) -> bool:
    """Whether an array in a .npy or .npz file has more dimensions than a table."""
    if path.suffix not in (".npy", ".npz"):
        return False
    content = np.load(path, allow_pickle=False)
    arrays = [content[name] for name in content.files] if path.suffix == ".npz" else [content]
    return any(array.ndim >= 3 for array in arrays)


def _unknown_recipe(recipe: str) -> str:
    """The error message for a word that is neither a recipe nor a path."""
    near = difflib.get_close_matches(recipe, RECIPES, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(RECIPES)}"
    return f"no recipe and no file is called {recipe!r}; {hint}"
