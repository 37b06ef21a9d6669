"""Arithmetic mutants: small changes of the syntax that are enumerated over all modules.

An operator changes one node: `+` to `-`, `<` to `<=`, `and` to `or`, 0 to 1, `min` to `max`; it
drops a term, a factor, a minus, a power, a `.detach()`, a statement; it fixes a condition. Left
alone is what no test can or should notice: annotations, docstrings, decorators, messages, errors,
the style of figures.
"""

import ast
import copy
import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

from . import source

BINARY = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISON = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
PAIRS = [
    ("min", "max"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("minimum", "maximum"),
    ("sum", "mean"),
    ("all", "any"),
    ("floor", "ceil"),
]
SWAPPED = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
BUILTINS = {"min", "max", "all", "any"}
DROPPED = {"detach", "clone"}
MESSAGES = {"print", "echo", "secho", "warn", "debug", "info", "warning", "isinstance", "Option"}
STYLE = {
    "figsize",
    "dpi",
    "fontsize",
    "linewidth",
    "lw",
    "s",
    "indent",
    "width",
    "height",
    "ndigits",
}
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "type_params", "bases", "pattern"}
SKIPPED = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)
SKIPPED_NAMES = {"__all__", "TYPE_CHECKING", "__repr__", "__str__"}
LARGEST, SMALLEST = 9, 1e-3
"""Other numbers are sizes of a buffer or rounding: to change them a little changes nothing."""


class Site(NamedTuple):
    """One change of one node."""

    module: str
    function: str
    line: int
    steps: source.Steps
    old: ast.AST
    new: ast.AST

    @property
    def before(self) -> str:
        """What is replaced: of an `if`, its condition."""
        return shown(self.old)

    @property
    def after(self) -> str:
        """What takes its place."""
        return shown(self.new)

    def __str__(self) -> str:
        place = f"{self.module}:{self.function}:{self.line}"
        return f"{place}  {self.before}  ->  {self.after}"

    def tree(self) -> ast.Module:
        """The damaged module."""
        return source.replaced(source.modules()[self.module], self.steps, [self.new])


def shown(node: ast.AST) -> str:
    """The node in one line."""
    return " ".join(ast.unparse(node.test if isinstance(node, ast.If) else node).split())


def changed(node: ast.AST, **fields: object) -> ast.AST:
    """Copy of the node with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """The changes of a node.

    >>> [ast.unparse(new) for new in variants(ast.parse("-x", mode="eval").body)]
    ['x']
    >>> [ast.unparse(new) for new in variants(ast.parse("a <= b", mode="eval").body)]
    ['a < b']
    """
    match node:
        case ast.BinOp(left=left, right=right, op=op):
            text = ast.List | ast.Tuple | ast.JoinedStr | ast.ListComp
            if isinstance(op, ast.Pow):
                yield left
            elif type(op) in BINARY and not any(
                isinstance(side, text) or isinstance(getattr(side, "value", None), str)
                for side in (left, right)
            ):
                yield changed(node, op=BINARY[type(op)]())
                yield left
        case ast.AugAssign(op=op) if type(op) in BINARY:
            yield changed(node, op=BINARY[type(op)]())
            yield ast.Pass()
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield changed(node, ops=[*ops[:i], COMPARISON[type(op)](), *ops[i + 1 :]])
        case ast.BoolOp(op=op, values=[first, *_]):
            yield changed(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            yield first
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield operand
        case ast.Constant(value=value) if type(value) in (int, float):
            if isinstance(value, int) and value <= LARGEST:
                yield ast.Constant(value + 1)
            elif isinstance(value, float) and value >= SMALLEST:
                yield ast.Constant(2 * value)
        case ast.Call():
            yield from calls(node)
        case ast.If(body=[*_, last]):
            yield changed(node, test=ast.Constant(False))
            if not isinstance(last, ast.Raise):
                yield changed(node, test=ast.Constant(True))
        case ast.Expr(value=ast.Call() as call) if not skipped(call):
            yield ast.Pass()


def calls(node: ast.Call) -> Iterator[ast.AST]:
    """The changes of a call: another function, another bound, the call left out."""
    func = node.func
    if isinstance(func, ast.Name) and func.id in BUILTINS:
        yield changed(node, func=ast.Name(SWAPPED[func.id]))
    elif isinstance(func, ast.Attribute) and func.attr in SWAPPED:
        yield changed(node, func=changed(func, attr=SWAPPED[func.attr]))
    elif isinstance(func, ast.Attribute) and func.attr in DROPPED and not node.args:
        yield func.value
    elif isinstance(func, ast.Attribute) and func.attr.startswith("clamp"):
        bounds = [changed(k, arg=SWAPPED[k.arg]) for k in node.keywords if k.arg in SWAPPED]
        if len(bounds) == 1:
            yield changed(node, keywords=bounds)


def skipped(node: ast.AST) -> bool:
    """Whether no change below this node can matter to a test."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.keyword(arg="stacklevel"):
            return True
        case ast.keyword(arg=name):
            return name in STYLE
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in MESSAGES
        case ast.FunctionDef(name=name) | ast.If(test=ast.Name(id=name)):
            return name in SKIPPED_NAMES
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in SKIPPED_NAMES
    return isinstance(node, SKIPPED)


def sites(module: str) -> Iterator[Site]:
    """All changes of a module, in the order of its text."""
    tree = source.modules()[module]
    names = {steps: name for name, steps in source.definitions(tree)}

    def below(node: ast.AST, steps: source.Steps, function: str, line: int) -> Iterator[Site]:
        if skipped(node):
            return
        function, line = names.get(steps, function), getattr(node, "lineno", line)
        for new in variants(node):
            yield Site(module, function, line, steps, node, new)
        for step, child in source.children(node):
            if step[0] not in SKIPPED_FIELDS:
                yield from below(child, (*steps, step), function, line)

    yield from below(tree, (), "<module>", 0)


def sample(rooms: dict[str, list[Site]], n: int, seed: int) -> list[Site]:
    """Draws n sites without replacement, as many from each room as it has to give."""
    rng = random.Random(seed)
    queues = [rng.sample(rooms[name], len(rooms[name])) for name in sorted(rooms)]
    rng.shuffle(queues)
    longest = max(map(len, queues), default=0)
    one_a_room = (queue[i] for i in range(longest) for queue in queues if i < len(queue))
    return list(itertools.islice(one_a_room, n))


def by_room() -> dict[str, list[Site]]:
    """All sites of the package, by room."""
    rooms: dict[str, list[Site]] = {}
    for module in source.modules():
        rooms.setdefault(source.room(module), []).extend(sites(module))
    return rooms
