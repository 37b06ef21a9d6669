"""Names and descriptions of the recipes, read off their files without PyTorch.

A command that lists recipes or got a wrong name answers at once: the files are compiled, and of
their statements those are executed that need no import.
"""

from __future__ import annotations
import __future__

import ast
import difflib
import functools
import shlex
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["recipe_texts", "unknown_recipe"]

STARTERS = 6
"""The recipes that a message lists: the first ones."""


@functools.cache
def recipe_texts() -> dict[str, str]:
    """Returns the description of every recipe by its name.

    Example:
        >>> recipe_texts()["digits"].splitlines()[0]
        'Digits of 8x8 pixels from noise in 50 steps; needs no download.'
    """
    folder = Path(__file__).parent
    modules = _definitions(folder / "__init__.py")["MODULES"]
    recipes = [r for name in modules for r in _definitions(folder / f"{name}.py")["RECIPES"]]
    return {recipe.__name__: recipe.__doc__ or "" for recipe in recipes}


def _definitions(path: Path) -> dict[str, Any]:
    """The names that a file defines by statements that need none of its imports."""
    namespace: dict[str, Any] = {"__name__": path.stem}
    imports = (ast.Import, ast.ImportFrom)
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, imports):
            continue
        try:
            exec(_compiled(statement, path), namespace)
        except NameError:  # of something imported
            continue
    return namespace


def _compiled(statement: ast.stmt, path: Path) -> CodeType:
    """A statement as code, whose annotations are not evaluated."""
    module = ast.Module([statement], type_ignores=[])
    flags = __future__.annotations.compiler_flag
    code: CodeType = compile(module, str(path), "exec", flags, dont_inherit=True)
    return code


def unknown_recipe(recipe: str) -> str:
    """Returns the message for a name that is neither a recipe nor a path.

    Arguments:
        recipe: The name.

    Example:
        >>> unknown_recipe("digit")
        "no recipe and no file is called 'digit'; did you mean digits or gebm_digits?"
    """
    if "://" in recipe:
        return (
            f"data must be a file on this machine, got the address {recipe}; fetch it first, by "
            f"`curl -LO {shlex.quote(recipe)}`, and give the file"
        )
    names, path = list(recipe_texts()), Path(recipe).expanduser()
    near = [str(path.with_name(name)) for name in _near_files(path)]
    is_path = len(path.parts) > 1 or path.suffix != ""
    if not is_path:
        near = [*difflib.get_close_matches(recipe, names, 3), *near]
    if near:
        hint = f"did you mean {' or '.join(near[:3])}?"
    elif is_path:
        parent = path.parent
        state = "which has no file of a like name" if parent.is_dir() else "which does not exist"
        hint = f"it would be in {parent.absolute()}, {state}"
    else:
        few = ", ".join(names[:STARTERS])
        hint = f"there are {few} and {len(names) - STARTERS} more: `boltzwalk recipes` lists them"
    return f"no recipe and no file is called {recipe!r}; {hint}"


def _near_files(path: Path) -> list[str]:
    """The names of files in the same folder that are nearly that of a path."""
    try:
        files = {p.name.lower(): p.name for p in path.parent.iterdir() if p.name[0] != "."}
    except OSError:
        return []
    return [files[name] for name in difflib.get_close_matches(path.name.lower(), files, 2, 0.75)]
