"""What a user types, as settings: recipes, files and folders, `key=value` in all its spellings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..train.settings import Settings

__all__ = ["assigned", "settings_of", "title"]


def settings_of(recipe: str, assignments: Sequence[str]) -> Settings:
    """Returns the resolved settings that a recipe name or a path stands for, with changes.

    Arguments:
        recipe: A recipe, the settings.yaml of a run, or a file or folder of data.
        assignments: The changes, each `key=value`.

    Raises:
        ValueError: If it is none of these, or a change does not fit.
    """
    from ..recipes.chosen import chosen
    from ..train.settings import resolve

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
