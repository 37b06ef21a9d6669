"""Arguments of commands: names of runs, whole numbers, and assignments `key=value`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

__all__ = [
    "checked_name",
    "integer",
    "number",
    "parse_assignments",
    "require_recipe",
    "run_name",
    "summary_lines",
]

LONGEST_NAME = 100

WIDTH, INDENT = 100, 52
"""The letters of a line of a summary, and where the meaning of a number begins."""


def checked_name(name: str) -> str:
    """Returns the name of a run, if it can name a folder.

    Arguments:
        name: The name.

    Raises:
        ValueError: If it is empty or long, begins with a dot or a dash, or has separators of
            folders or characters that cannot be printed.

    Example:
        >>> checked_name("second try")
        'second try'
    """
    is_plain = name.isprintable() and not set(name) & set("/\\") and name == name.strip()
    if not is_plain or not name or name[0] in "-." or len(name) > LONGEST_NAME:
        raise ValueError(
            f"the name of a run must be letters, digits and blanks, at most {LONGEST_NAME}, not "
            f"begin with a dot or a dash, and hold no / or \\, got {name!r}; another place is "
            "--runs FOLDER"
        )
    return name


def run_name(recipe: str) -> str:
    """Returns the name of a run: that of its recipe, its data, or the run of its settings.

    Arguments:
        recipe: The argument.

    Example:
        >>> run_name("digits"), run_name("runs/old/settings.yaml"), run_name("wine.csv.gz")
        ('digits', 'old', 'wine')
        >>> run_name("-x.csv"), run_name(".hidden.csv")
        ('x', 'hidden')
    """
    path = Path(recipe).absolute()
    if path.name in ("settings.yaml", "settings.yml"):
        path = path.parent
    words = [word for word in re.split(r"[.\\]", path.name) if word.strip("- ")]
    name = words[0].strip().lstrip("-") if words else "run"
    return "".join(c if c.isprintable() else "_" for c in name)[:LONGEST_NAME]


def require_recipe(recipe: str) -> None:
    """Raises where an argument is neither a recipe nor a path, before anything heavy is imported.

    Arguments:
        recipe: The argument.

    Raises:
        ValueError: If there is no such recipe and no such file.
    """
    from ..recipes.index import recipe_texts, unknown_recipe

    if recipe not in recipe_texts() and ".py:" not in recipe and not Path(recipe).exists():
        raise ValueError(unknown_recipe(recipe))


def parse_assignments(words: Sequence[str]) -> list[str]:
    """Returns `key=value` for each of `key=value`, `--key=value` and `--key value`.

    Arguments:
        words: The arguments after the recipe.

    Raises:
        ValueError: If a value is missing.

    Example:
        >>> parse_assignments(["steps=5", "--seed", "1", "batch", "=", "8"])
        ['steps=5', 'seed=1', 'batch=8']
    """
    assignments: list[str] = []
    left = _without_blanks(words)
    while left:
        word = left.pop(0)
        if word.startswith("--") and "=" not in word:
            if not left:
                raise ValueError(f"{word} needs a value: write {word.removeprefix('--')}=...")
            word = f"{word}={left.pop(0)}"
        assignments.append(word.removeprefix("--"))
    return assignments


def _without_blanks(words: Sequence[str]) -> list[str]:
    """The words, with those of `key = value`, `key =value` and `key= value` joined."""
    joined: list[str] = []
    for word in words:
        last = joined[-1] if joined else "="
        is_value = last.endswith("=") and "=" not in word and not word.startswith("--")
        if joined and (is_value or (word.startswith("=") and "=" not in last)):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def summary_lines(name: str, text: str, meaning: str) -> list[str]:
    """Returns a number of a summary as lines of at most 100 letters, its meaning on the right.

    Arguments:
        name: The name of the number.
        text: Its value.
        meaning: What it means.

    Example:
        >>> summary_lines("cost", "3 s", "9 gradient evaluations")
        ['cost                         3 s                    9 gradient evaluations']
    """
    head = f"{name:<28} {text:<22} "
    rows = textwrap.wrap(meaning, WIDTH - INDENT, break_on_hyphens=False) or [""]
    if len(head) > INDENT:
        return [head.rstrip(), *(f"{'':<{INDENT}}{row}" for row in rows if row)]
    return [f"{head}{rows[0]}".rstrip(), *(f"{'':<{INDENT}}{row}" for row in rows[1:])]


def integer(least: int | None = None) -> Callable[[str], int]:
    """Returns a reader of whole numbers, also scientific ones such as 1e3.

    Arguments:
        least: The smallest number; None for any.

    Example:
        >>> integer(1)("1e3")
        1000
    """

    def read(text: str) -> int:
        value = _number(text)
        if value is None or value != int(value):
            raise typer.BadParameter(f"must be a whole number, such as 1000 or 1e3, got {text!r}")
        _require_least(value, least)
        is_digits = str(text).strip().lstrip("+-").isdecimal()
        return int(str(text)) if is_digits else int(value)

    return read


def number(least: float | None = None) -> Callable[[str], float]:
    """Returns a reader of decimal and scientific numbers.

    Arguments:
        least: The smallest number; None for any.

    Example:
        >>> number()("5e-2")
        0.05
    """

    def read(text: str) -> float:
        value = _number(text)
        if value is None:
            raise typer.BadParameter(f"must be a number, such as 0.5 or 1e-3, got {text!r}")
        _require_least(value, least)
        return value

    return read


def _number(text: str) -> float | None:
    """The value of a decimal or scientific number; None for another text or one too large."""
    plain = str(text).strip()
    if set(plain) - set("0123456789+-.eE") or re.match(r"[-+]?0[0-9]", plain):
        return None
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _require_least(value: float, least: float | None) -> None:
    if least is not None and value < least:
        raise typer.BadParameter(f"must be {least:g} or more, got {value:g}")
