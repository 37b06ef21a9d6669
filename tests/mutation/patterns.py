"""Domain mutants: damage that needs knowledge, located by function and by the shape of the code.

`domain.txt` lists them under the qualified name of the function (or class, or module constant):

    [MALA.step]
    ratio without the temperature: log_ratio(..., self.temperature) -> log_ratio(...)

The name is looked up in all modules: a file may move. A longer entry goes on in lines that
begin with four spaces. A pattern is Python, in which

* a name (`old`) matches any variable or attribute, the same at each place where it occurs;
* a single capital letter (`A`) matches any expression;
* the name of a called function, an attribute (`.temperature`), a keyword, a builtin are literal;
* `...` among the arguments of a call, or as a statement, matches all that are left.

Statements are separated by `;`. A pattern must match at exactly one place; `#2 A -> B` takes the
second of several.
"""

import ast
import builtins
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from . import source

TABLE = Path(__file__).with_name("domain.txt")
IGNORED = {"ctx", "type_comment", "kind"}
Bound = dict[str, object]


class Damage(NamedTuple):
    """One domain mutant."""

    name: str
    function: str
    before: str
    after: str
    nth: int = 0

    def __str__(self) -> str:
        return f"{self.function}: {self.name}"


class Place(NamedTuple):
    """Where a pattern matches: module, steps to the first node, number of nodes, bound names."""

    module: str
    steps: source.Steps
    width: int
    bound: Bound


def read(text: str) -> list[Damage]:
    """The entries of a table.

    >>> read("[f]\\nwithout the factor: 2 * A -> A")
    [Damage(name='without the factor', function='f', before='2 * A', after='A', nth=0)]
    """
    entries, function = [], ""
    for line in re.sub(r"\n {4,}", " ", text).splitlines():
        if line.startswith("["):
            function = line.strip("[]")
        elif line and not line.startswith("#"):
            name, nth, pattern = re.fullmatch(r"(.*?): *(?:#(\d+) )?(.*)", line).groups()
            before, after = pattern.split(" -> ")
            entries.append(Damage(name, function, before, after, int(nth or 0)))
    return entries


def parse(before: str, after: str) -> tuple[list[ast.AST], list[ast.AST]]:
    """Both sides of a pattern: an expression each, or statements."""
    sides = ast.parse(before).body, ast.parse(after).body
    if all(len(side) == 1 and isinstance(side[0], ast.Expr) for side in sides):
        return [sides[0][0].value], [sides[1][0].value]
    return sides


def is_rest(node: object) -> bool:
    """Whether a node of a pattern is `...`."""
    node = node.value if isinstance(node, ast.Expr) else node
    return isinstance(node, ast.Constant) and node.value is ...


def bind(bound: Bound, name: str, node: ast.AST) -> Bound | None:
    """The bound names with one more, or None where the name stands for another expression."""
    if name in bound and ast.dump(bound[name]) != ast.dump(as_read(node)):
        return None
    return {**bound, name: as_read(node)}


def as_read(node: ast.AST) -> ast.AST:
    """The node as where its value is read, whether or not it is assigned to."""
    if hasattr(node, "ctx"):
        node = copy.copy(node)
        node.ctx = ast.Load()
    return node


def match(pattern: object, node: object, bound: Bound, called: bool = False) -> Bound | None:
    """The names that the pattern binds at this node, or None where it does not match."""
    if isinstance(pattern, ast.Name) and not called and not hasattr(builtins, pattern.id):
        kind = ast.expr if re.fullmatch("[A-Z]", pattern.id) else ast.Name | ast.Attribute
        return bind(bound, pattern.id, node) if isinstance(node, kind) else None
    if isinstance(pattern, list):
        return match_list(pattern, node, bound) if isinstance(node, list) else None
    if not isinstance(pattern, ast.AST):
        return bound if type(pattern) is type(node) and pattern == node else None
    if type(pattern) is not type(node):
        return None
    for field, value in ast.iter_fields(pattern):
        other = getattr(node, field)
        if field == "keywords" and any(map(is_rest, getattr(pattern, "args", ()))):
            wanted = {keyword.arg for keyword in value}
            bound = {**bound, "... keywords": [k for k in other if k.arg not in wanted]}
            other = [k for k in other if k.arg in wanted]
        literal = isinstance(pattern, ast.Call) and field == "func"
        literal = literal or (isinstance(pattern, ast.AnnAssign) and field == "target")
        if field not in IGNORED and (bound := match(value, other, bound, literal)) is None:
            return None
    return bound


def match_list(pattern: list, nodes: list, bound: Bound) -> Bound | None:
    """`match` for the arguments of a call or the statements of a block."""
    if pattern and is_rest(pattern[0]):
        for taken in range(len(nodes) + 1):
            rest = match_list(pattern[1:], nodes[taken:], {**bound, "...": nodes[:taken]})
            if rest is not None:
                return rest
        return None
    if not pattern or not nodes:
        return bound if not pattern and not nodes else None
    first = match(pattern[0], nodes[0], bound)
    return None if first is None else match_list(pattern[1:], nodes[1:], first)


class Fill(ast.NodeTransformer):
    """Puts what a pattern has bound into its other side."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return copy.deepcopy(self.bound.get(node.id, node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if any(map(is_rest, node.args)):
            node.keywords += self.bound["... keywords"]
            node.args = [v for a in node.args for v in (self.bound["..."] if is_rest(a) else [a])]
        return node


def places(damage: Damage) -> Iterator[Place]:
    """All places of the function at which the pattern matches."""
    before, _ = parse(damage.before, damage.after)
    expression = isinstance(before[0], ast.expr)
    for module, start in source.index().get(damage.function, ()):
        tree = source.modules()[module]
        for steps, node in source.walk(source.at(tree, start), start):
            assigned = isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
            if expression and not assigned and (bound := match(before[0], node, {})) is not None:
                yield Place(module, steps, 1, bound)
            elif not expression and isinstance(node, ast.stmt) and steps[-1][1] is not None:
                block = getattr(source.at(tree, steps[:-1]), steps[-1][0])[steps[-1][1] :]
                width = len(block) if is_rest(before[-1]) else len(before)
                bound = match_list(before, block[:width], {})
                if bound is not None:
                    yield Place(module, steps, width, bound)


def place(damage: Damage) -> Place:
    """The one place of the damage; raises LookupError, with the reason, if there is not one."""
    if damage.function not in source.index():
        raise LookupError(f"{damage}: there is no {damage.function} in the package")
    matches = list(places(damage))
    if damage.nth:
        matches = matches[damage.nth - 1 : damage.nth]
    if len(matches) != 1:
        raise LookupError(f"{damage}: {damage.before!r} matches at {len(matches)} places, not at 1")
    return matches[0]


def damaged(damage: Damage) -> tuple[str, ast.Module]:
    """The module of the damage, and its tree with the damage in it."""
    where, (_, after) = place(damage), parse(damage.before, damage.after)
    used = [node for side in after for node in ast.walk(side) if isinstance(node, ast.Name)]
    assigned = {node.id for node in used if isinstance(node.ctx, ast.Store)}
    known = assigned | set(where.bound) | source.names(where.module)
    if unknown := {node.id for node in used} - known:
        raise LookupError(f"{damage}: {where.module} knows no {', '.join(sorted(unknown))}")
    new: list[ast.AST] = []
    for side in copy.deepcopy(after):
        new += where.bound["..."] if is_rest(side) else [Fill(where.bound).visit(side)]
    tree, (*above, (field, index)) = source.modules()[where.module], where.steps
    value = getattr(source.at(tree, tuple(above)), field)
    old = [value] if index is None else value[index : index + where.width]
    if list(map(ast.dump, old)) == list(map(ast.dump, new)):
        raise LookupError(f"{damage}: the damage changes nothing")
    return where.module, source.replaced(tree, where.steps, new, where.width)
