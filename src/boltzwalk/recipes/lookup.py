r"""What a name or a path stands for: a recipe, a file of settings, or data of one's own.

What a user types, as settings: recipes, files and folders, `key=value` in all its spellings.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..settings.settings import Settings, from_yaml
from ..settings.tree import from_tree, override, to_tree
from . import RECIPES

if TYPE_CHECKING:
    from ..settings.settings import Settings

__all__ = ["assigned", "chosen", "settings_of", "title"]


def chosen(recipe: str, assignments: Sequence[str] = ()) -> Settings:
    """Returns the settings that a recipe name or a path stands for, with changes.

    Arguments:
        recipe: A recipe, the settings.yaml of a run, or a file or folder of data.
        assignments: The changes, each `key=value`.

    Raises:
        ValueError: If it is none of these, or a change does not fit.

    Example:
        >>> chosen("digits", ["steps=7"]).method.steps
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
        raise ValueError(_no_recipe(recipe))
    return from_tree(Settings, override(Settings, to_tree(base), assignments))


def _holds_images(path: Path) -> bool:
    """Whether an array in a .npy or .npz file has more dimensions than a table."""
    if path.suffix not in (".npy", ".npz"):
        return False
    found = np.load(path, allow_pickle=False)
    arrays = [found[name] for name in found.files] if path.suffix == ".npz" else [found]
    return any(array.ndim >= 3 for array in arrays)


def _no_recipe(recipe: str) -> str:
    near = difflib.get_close_matches(recipe, RECIPES, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(RECIPES)}"
    return f"no recipe and no file is called {recipe!r}; {hint}"


def settings_of(recipe: str, assignments: Sequence[str]) -> Settings:
    """Returns the resolved settings that a recipe name or a path stands for, with changes.

    Arguments:
        recipe: A recipe, the settings.yaml of a run, or a file or folder of data.
        assignments: The changes, each `key=value`.

    Raises:
        ValueError: If it is none of these, or a change does not fit.
    """
    from ..settings.settings import resolve

    return resolve(chosen(recipe, assignments))


def title(recipe: str) -> str:
    """Returns the name of a run: that of its recipe, its data, or the run it takes settings from.

    Arguments:
        recipe: What the user typed.

    Example:
        >>> title("digits"), title("runs/old/settings.yaml"), title("wine.csv.gz")
        ('digits', 'old', 'wine')
    """
    path = Path(recipe).absolute()
    if path.name in ("settings.yaml", "settings.yml"):
        return path.parent.name
    return path.name.split(".")[0] or path.name


def assigned(words: Sequence[str]) -> list[str]:
    """Returns `key=value` for each of `key=value`, `--key=value` and `--key value`.

    Arguments:
        words: What the user typed after the recipe.

    Raises:
        ValueError: If a value is missing.

    Example:
        >>> assigned(["steps=5", "--seed", "1"])
        ['steps=5', 'seed=1']
    """
    found: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith("--") and "=" not in word:
            if not left:
                raise ValueError(f"{word} needs a value: write {word.removeprefix('--')}=...")
            word = f"{word}={left.pop(0)}"
        found.append(word.removeprefix("--"))
    return found
