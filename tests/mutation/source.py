"""The package as syntax trees: its modules, its functions by name, and the nodes inside."""

import ast
import builtins
import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "boltzwalk"
TOP = "top"
"""The room of the modules that lie in no folder."""

Steps = tuple[tuple[str, int | None], ...]
"""The way from a tree to one of its nodes: field names, with an index where the field is a list."""


@cache
def modules() -> dict[str, ast.Module]:
    """The tree of each module, by its path in the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in paths}


def room(module: str) -> str:
    """The folder of the package in which the module lies.

    >>> room("kernels/langevin.py"), room("walkers.py")
    ('kernels', 'top')
    """
    return module.split("/")[0] if "/" in module else TOP


def children(node: ast.AST) -> Iterator[tuple[tuple[str, int | None], ast.AST]]:
    """The nodes directly below a node, each with its step."""
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield (field, None), value
        elif isinstance(value, list):
            yield from (((field, i), v) for i, v in enumerate(value) if isinstance(v, ast.AST))


def walk(node: ast.AST, steps: Steps = ()) -> Iterator[tuple[Steps, ast.AST]]:
    """The node and all nodes below it, in the order of the text."""
    yield steps, node
    for step, child in children(node):
        yield from walk(child, (*steps, step))


def at(tree: ast.AST, steps: Steps) -> ast.AST:
    """The node at the end of the steps."""
    for field, index in steps:
        value = getattr(tree, field)
        tree = value if index is None else value[index]
    return tree


def replaced(tree: ast.AST, steps: Steps, new: list[ast.AST], width: int = 1) -> ast.AST:
    """Copy of the tree with `width` nodes, from the one at the end of the steps, replaced."""
    (field, index), rest = steps[0], steps[1:]
    value = getattr(tree, field)
    if index is None:
        value = replaced(value, rest, new, width) if rest else new[0]
    else:
        changed = [replaced(value[index], rest, new, width)] if rest else new
        value = [*value[:index], *changed, *value[index + (1 if rest else width) :]]
    tree = copy.copy(tree)
    setattr(tree, field, value)
    return tree


def definitions(tree: ast.Module) -> Iterator[tuple[str, Steps]]:
    """Qualified names of classes, functions and module constants, with the steps to each."""

    def inside(node: ast.AST, steps: Steps, prefix: str) -> Iterator[tuple[str, Steps]]:
        for step, child in children(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                yield prefix + child.name, (*steps, step)
                yield from inside(child, (*steps, step), f"{prefix}{child.name}.")
            elif not prefix and isinstance(child, ast.Assign | ast.AnnAssign):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                yield from ((t.id, (*steps, step)) for t in targets if isinstance(t, ast.Name))
            elif isinstance(child, ast.stmt):
                yield from inside(child, (*steps, step), prefix)

    return inside(tree, (), "")


@cache
def index() -> dict[str, list[tuple[str, Steps]]]:
    """Where each qualified name is defined: modules and steps."""
    places: dict[str, list[tuple[str, Steps]]] = {}
    for module, tree in modules().items():
        for name, steps in definitions(tree):
            places.setdefault(name, []).append((module, steps))
    return places


@cache
def names(module: str) -> set[str]:
    """All names that the module uses, defines or imports, and the builtins."""
    known = set(dir(builtins))
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Name):
            known.add(node.id)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.alias):
            known.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            known.add(node.name)
    return known
