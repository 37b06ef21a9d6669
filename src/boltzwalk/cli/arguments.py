"""Arguments of commands: the name of a run, and assignments `key=value` in all spellings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["parse_assignments", "run_name"]


def run_name(recipe: str) -> str:
    """Returns the name of a run: that of its recipe, its data, or the run of its settings.

    Arguments:
        recipe: The argument.

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
        words: The arguments after the recipe.

    Raises:
        ValueError: If a value is missing.

    Example:
        >>> parse_assignments(["steps=5", "--seed", "1"])
        ['steps=5', 'seed=1']
    """
    assignments: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith("--") and "=" not in word:
            if not left:
                raise ValueError(f"{word} needs a value: write {word.removeprefix('--')}=...")
            word = f"{word}={left.pop(0)}"
        assignments.append(word.removeprefix("--"))
    return assignments
