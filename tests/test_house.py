"""Rules of the house, read off the source: floors, lengths, names and sentences, parents."""

from __future__ import annotations

import ast
import builtins
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "boltzwalk"

FLOORS = (
    "rng",
    "references",
    "extension",
    "durable",
    "sealed",
    "checkpoint",
    "probe",
    "energy",
    "walkers",
    "kernel",
    "base",
    "networks",
    "energies",
    "data",
    "condition",
    "method",
    "bases",
    "kernels",
    "smc",
    "methods",
    "metrics",
    "settings",
    "model",
    "training",
    "recipes",
    "diagnostics",
    "evaluation",
    "completion",
    "reporting",
    "study",
    "api",
    "estimators",
    "cli",
    "__init__",
    "__main__",
)
"""Rooms and single modules, bottom up: each imports from those before it, and from itself."""

BANNED = {"found", "own", "ours", "theirs", "whole", "said", "seen", "drawn", "look", "looks"}
BANNED |= {"turns", "beside", "through", "lesson", "place", "kept"}
"""Names that say nothing to a stranger."""

ERRORS = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}

PARENTS = {"Module", "NamedTuple", "Protocol", "Enum", "IntEnum", "StrEnum", "Generic", *ERRORS}
PARENTS |= {"BaseEstimator", "DensityMixin", "OutlierMixin", "TransformerMixin"}
PARENTS |= {"Function", "Unpickler", "SafeLoader", "Linear", "Conv2d"}
"""Classes that a class may have as its parent: those of DESIGN, scikit-learn's for its interface,
and those that have no other way to be extended: `autograd.Function`, `Unpickler`, `SafeLoader`, and
the layers that spectral normalisation and initialisation must recognise, `Linear` and `Conv2d`."""


@cache
def modules() -> dict[str, ast.Module]:
    """The modules of the package by their dotted names below it, such as `kernels.langevin`."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
        for path in sorted(ROOT.rglob("*.py"))
    }


def file_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


def room_of(module: str) -> str:
    return module.split(".")[0]


@cache
def imports() -> dict[str, dict[str, int]]:
    """The modules of the package that each module imports, anywhere, and the line of the import."""
    result: dict[str, dict[str, int]] = {}
    for module, tree in modules().items():
        targets: dict[str, int] = {}
        for node in ast.walk(tree):
            for target in _targets(module, node):
                if target != module:
                    targets.setdefault(target, node.lineno)
        result[module] = targets
    return result


def _targets(module: str, node: ast.AST) -> Iterator[str]:
    """The modules of the package that an import statement names; the version is no part of it."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names if alias.name.split(".")[0] == "boltzwalk"]
        yield from (_resolved(name.split(".")[1:]) for name in names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            above = module.split(".")[: -node.level]
            base = [*above, *(node.module.split(".") if node.module else [])]
        elif node.module and node.module.split(".")[0] == "boltzwalk":
            base = node.module.split(".")[1:]
        else:
            return
        names = [alias.name for alias in node.names if alias.name != "__version__"]
        yield from (_resolved([*base, name]) for name in names)


def _resolved(parts: list[str]) -> str:
    """The longest module that a dotted name begins with."""
    for end in range(len(parts), 0, -1):
        for name in (".".join(parts[:end]), ".".join([*parts[:end], "__init__"])):
            if name in modules():
                return name
    return "__init__"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def documented(module: str) -> Iterator[tuple[int, str]]:
    """The first docstring lines of a module, its classes and functions, with their line numbers."""
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text.splitlines()[0]


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function from `def` on, without its docstring."""
    assert node.end_lineno is not None
    count = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and ast.get_docstring(node) is not None:
        assert first.end_lineno is not None
        count -= first.end_lineno - first.lineno + 1
    return count


def refuse(problems: list[str], rule: str) -> None:
    """Fails with the rule and every place that breaks it."""
    assert not problems, f"{rule}; {len(problems)} places:\n  " + "\n  ".join(sorted(problems))


def test_every_room_has_its_floor():
    rooms = {room_of(module) for module in modules()}
    refuse(
        [f"{room} has no floor" for room in rooms - set(FLOORS)],
        "every room and every single module has a floor in FLOORS",
    )


def test_no_import_goes_up():
    floor = {room: number for number, room in enumerate(FLOORS)}
    refuse(
        [
            f"{module}:{line} imports {target}"
            for module, targets in imports().items()
            for target, line in targets.items()
            if floor[room_of(target)] > floor[room_of(module)]
        ],
        "a room imports only from rooms on lower floors",
    )


def test_no_circle_of_imports():
    refuse(
        [" -> ".join(circle) for circle in circles(imports())],
        "modules import each other without a circle; move what both need to a third",
    )


def circles(graph: dict[str, dict[str, int]]) -> list[list[str]]:
    """The circles that a depth-first search meets."""
    done: set[str] = set()
    result = []

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            result.append([*path[path.index(module) :], module])
        elif module not in done:
            for target in graph[module]:
                visit(target, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return result


def test_the_search_finds_a_circle():
    assert circles({"a": {"b": 1}, "b": {"c": 1}, "c": {"b": 1}}) == [["b", "c", "b"]]
    assert circles({"a": {"b": 1, "c": 1}, "b": {"c": 1}, "c": {}}) == []


def test_no_module_is_long():
    lengths = {module: len(file_of(module).read_text().splitlines()) for module in modules()}
    refuse(
        [f"{module}: {n} lines" for module, n in lengths.items() if n > 400],
        "a module has at most 400 lines",
    )


def test_the_median_module_is_short():
    lengths = [len(file_of(module).read_text().splitlines()) for module in modules()]
    median = statistics.median(lengths)
    assert median <= 175, f"the median module has at most 175 lines, got {median}"


def test_no_function_is_long():
    refuse(
        [
            f"{module}:{node.lineno} {node.name}: {code_lines(node)} lines"
            for module, tree in modules().items()
            for node in functions(tree)
            if code_lines(node) > 50
        ],
        "a function has at most 50 lines of code, without its docstring",
    )


def test_no_docstring_defines_by_what():
    refuse(
        [
            f"{module}:{line} {text}"
            for module in modules()
            for line, text in documented(module)
            if re.search(r"\bwhat\b", text, re.IGNORECASE)
        ],
        "the first line of a docstring is a noun phrase or a verb, without the word 'what'",
    )


def test_no_name_of_the_list():
    refuse(
        [
            f"{module}:{line} {name}"
            for module, tree in modules().items()
            for line, name in bound_names(tree)
            if name.lstrip("_") in BANNED
        ],
        f"none of these names: {', '.join(sorted(BANNED))}",
    )


NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchAs


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that a module gives: variables, arguments, attributes, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, NAMED) and node.name:
            yield node.lineno, node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def test_a_public_name_has_one_meaning():
    homes = defaultdict(list)
    for module, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                homes[node.name].append(module)
    refuse(
        [f"{name}: {', '.join(where)}" for name, where in homes.items() if len(where) > 1],
        "a public class or function has a name of its own in the package",
    )


def test_no_exception_is_swallowed():
    refuse(
        [
            f"{module}:{node.lineno} except {ast.unparse(node.type) if node.type else ''}"
            for module, tree in modules().items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ExceptHandler)
            and not reraises(node)
            and (node.type is None or {"Exception", "BaseException"} & names_in(node.type))
        ],
        "an except clause names the errors that it handles, or raises again",
    )


def reraises(node: ast.ExceptHandler) -> bool:
    """Whether the last statement of a clause is a bare `raise`."""
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def test_no_public_function_takes_any_keyword():
    refuse(
        [
            f"{module}:{node.lineno} {node.name}(**{node.args.kwarg.arg})"
            for module, tree in modules().items()
            for node in functions(tree)
            if node.args.kwarg and not node.name.startswith("_")
        ],
        "a public function names its arguments, without **kwargs",
    )


def test_no_class_inherits_from_another():
    refuse(
        [
            f"{module}:{node.lineno} {node.name}({parent})"
            for module, tree in modules().items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for parent in (ast.unparse(base).partition("[")[0] for base in node.bases)
            if parent.split(".")[-1] not in PARENTS
        ],
        "a class has no parent but nn.Module, NamedTuple, Protocol, enumerations, exceptions and "
        "scikit-learn's",
    )


def test_few_questions_for_the_class_of_an_object():
    places = own_isinstance()
    rule = "fewer than 20 isinstance on classes of the package"
    assert len(places) < 20, f"{rule}; {len(places)} places:\n  " + "\n  ".join(places)


def own_isinstance() -> list[str]:
    """The `isinstance` checks on names that the package itself defines."""
    return [
        f"{module}:{node.lineno} {ast.unparse(node)}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and own_names(module) & names_in(node.args[1])
    ]


@cache
def own_names(module: str) -> set[str]:
    """The names of a module that it defines itself or imports from the package."""
    names = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and any(_targets(module, node)):
            names |= {alias.asname or alias.name for alias in node.names}
    for node in modules()[module].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_the_rules_see_the_package():
    """A rule that reads nothing cannot fail."""
    assert len(modules()) > 100
    assert sum(map(len, imports().values())) > 500
    assert "rng" in imports()["training.start"]
    assert Counter(room_of(m) for m in modules())["kernels"] > 5
    tree = ast.parse("def f(own, **k):\n  'What.'\n  a.seen = 1\n  for look in own: pass")
    assert {name for _, name in bound_names(tree)} >= {"own", "seen", "look", "f"}
    [function] = functions(tree)
    assert code_lines(function) == 3
