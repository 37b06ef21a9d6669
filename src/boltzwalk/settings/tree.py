"""Frozen dataclasses as trees of plain values, for YAML and dotted overrides.

A settings value is nested frozen dataclasses. As a tree it is nested dictionaries; where a field
may be one of several dataclasses, the key `kind` names which; where it is open, the kind may be a
reference to a user's class (:mod:`.outside`). The dataclasses themselves are the
schema: pydantic coerces every leaf to the annotated type, ``__post_init__`` checks its range, and
every message begins with the dotted path of the setting.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from .. import references
from ..extension import Open
from .names import unknown_setting
from .outside import outside_schema
from .values import coerce, is_null, union_members

__all__ = ["differences", "from_tree", "missing", "override", "to_tree"]

T = TypeVar("T")
Tree = dict[str, Any]

IN_FULL = ("witness",)
"""Blocks beside a run, whose settings are written in full: `steps` means those of the method."""

LONGEST = 80
"""The most letters of a value in a message."""

RENAMED_KINDS = {
    "Unconditional": "NoCondition",
    "Classes": "ClassConditional",
    "Visible": "ObservedPixels",
}
"""Kinds of settings files of version 0.1.0, with their present names."""


def to_tree(value: Any, declared: Any = None) -> Any:  # noqa: ANN401
    """Returns dataclasses as dictionaries, tuples as lists, and everything else as it is.

    Arguments:
        value: The value.
        declared: Its declared type; a union of dataclasses adds the key `kind`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        choices = _choices(declared)
        several = len(choices) > 1 or _openness(declared) is not None
        tree = {"kind": _kind(value, choices)} if several else {}
        for field in dataclasses.fields(value):
            tree[field.name] = to_tree(getattr(value, field.name), hints[field.name])
        return tree
    return [to_tree(item) for item in value] if isinstance(value, tuple) else value


def from_tree(schema: type[T], tree: Any, path: str = "") -> T:  # noqa: ANN401
    """Returns the value of a tree, every leaf coerced to its declared type.

    Arguments:
        schema: The declared type: a dataclass, a union of dataclasses, or the type of a leaf.
        tree: The plain values, such as `yaml.safe_load` returns.
        path: The dotted path of the tree, for messages.

    Raises:
        ValueError: If a key is unknown, missing, of the wrong type or out of range.

    Example:
        >>> from boltzwalk.settings.optimizers import Adam
        >>> from_tree(Adam, {"learning_rate": "3e-4"})
        Adam(learning_rate=0.0003, beta1=0.9, beta2=0.999, weight_decay=0.0)
    """
    if not _choices(schema) and _openness(schema) is None:
        return typing.cast(T, coerce(schema, tree, path))
    cls, body = _chosen(schema, tree, path)
    hints, values = _hints(cls), {}
    names = [field.name for field in dataclasses.fields(cls)]
    for key in body:
        if key not in names:
            raise ValueError(
                unknown_setting(_join(path, key), [_join(path, name) for name in names])
            )
    for field in dataclasses.fields(cls):
        where = _join(path, field.name)
        if field.name in body:
            values[field.name] = from_tree(hints[field.name], body[field.name], where)
        elif _is_required(field):
            raise ValueError(
                f"{where} must be given; add {where}=... ({cls.__name__} has no default)"
            )
    try:
        return typing.cast(T, cls(**values))
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if path else str(error)) from error


def override(schema: type, tree: Tree, assignments: Sequence[str]) -> Tree:
    """Returns the tree with settings replaced by "dotted.key=value" assignments.

    A key may be scale_step to any ending that names one setting only: `kernel.step_size` stands for
    `method.kernel.step_size`; those of the witness are written in full. Assigning the name of a
    class changes the kind of a block; settings of the old kind that the new one has as well are
    kept, the others take their defaults. Kinds are assigned before settings, outer before inner, so
    the order matters only for equal keys: the last one wins. `null` and `None` mean null where a
    setting may be null.

    Raises:
        ValueError: If an assignment has no "=", or its key names no setting or several.

    Example:
        >>> from boltzwalk.settings.optimizers import Schedule
        >>> override(Schedule, {"warmup": 0}, ["warmup=10"])
        {'warmup': '10'}
    """
    pairs = []
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ValueError(f"an override must have the form key=value, got {assignment!r}")
        pairs.append((key.removesuffix(".kind"), value))
    tree, pairs = _with_kinds(schema, tree, pairs)
    for key, value in pairs:
        known = dict(_paths(schema, tree))
        path = _resolve(key, list(known))
        tree = _assign(tree, path.split("."), known[path], value)
    return tree


def differences(old: Any, new: Any, path: str = "") -> list[str]:  # noqa: ANN401
    """Returns one line for each leaf in which two trees differ, such as "batch: 64, now 32"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), _join(path, key))
        ]
    return [] if old == new else [f"{path}: {_brief(old)}, now {_brief(new)}"]


def missing(full: Any, tree: Any, path: str = "") -> list[str]:  # noqa: ANN401
    """Returns the dotted paths of settings that a tree leaves to their defaults.

    Arguments:
        full: The tree of all settings.
        tree: The tree that may lack some.
        path: The dotted path of both.

    Example:
        >>> missing({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 5}})
        ['a', 'b.d']
    """
    if not isinstance(full, dict) or not isinstance(tree, dict):
        return []
    absent = [_join(path, key) for key in full if key not in tree]
    for key in full.keys() & tree.keys():
        absent += missing(full[key], tree[key], _join(path, key))
    return sorted(absent)


def _brief(value: object) -> str:
    """The text of a value, cut where it is long, as that of an architecture is."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


@functools.cache  # a study makes thousands of trees
def _hints(cls: type) -> dict[str, Any]:
    """The declared types of the fields of a dataclass."""
    return typing.get_type_hints(cls, include_extras=True)


def _openness(schema: Any) -> Open | None:  # noqa: ANN401
    """The role of a declared type that takes a user's class; None where it takes none."""
    if typing.get_origin(schema) is not typing.Annotated:
        return None
    return next((mark for mark in typing.get_args(schema)[1:] if isinstance(mark, Open)), None)


def _kind(value: Any, choices: Sequence[type] = ()) -> str:  # noqa: ANN401
    """The name of the class of a value, or its reference where it is a user's."""
    cls = type(value)
    if cls in choices or cls.__module__.partition(".")[0] == "boltzwalk":
        return cls.__name__
    return str(getattr(cls, "__reference__", "") or references.reference(cls))


def _choices(schema: Any) -> list[type]:  # noqa: ANN401
    """The dataclasses that a declared type allows."""
    return [m for m in union_members(schema) if isinstance(m, type) and dataclasses.is_dataclass(m)]


def _with_kinds(
    schema: type, tree: Tree, pairs: list[tuple[str, str]]
) -> tuple[Tree, list[tuple[str, str]]]:
    """The tree with its kinds assigned, and the assignments that are left."""
    left = list(pairs)
    while True:
        # Anew each time: a new kind brings blocks with kinds of their own.
        known, assigned = dict(_paths(schema, tree)), []
        for pair in left:
            kind = RENAMED_KINDS.get(pair[1], pair[1])
            paths = _matches(pair[0], list(known))
            if len(paths) == 1 and _takes_kind(known[paths[0]], kind):
                assigned.append((paths[0].split("."), pair))
        if not assigned:
            # Blocks first still: a misspelt kind is to be named before the settings it has.
            is_block = {path: bool(_choices(known[path])) for path in known}
            left.sort(key=lambda p: not any(is_block[m] for m in _matches(p[0], list(known))))
            return tree, left
        keys = min((keys for keys, _ in assigned), key=len)
        same = [pair for path, pair in assigned if path == keys]
        tree = _assign(tree, keys, known[".".join(keys)], same[-1][1])
        left = [pair for pair in left if pair not in same]


def _takes_kind(schema: Any, kind: str) -> bool:  # noqa: ANN401
    """Whether a declared type takes a kind: one of its classes, of its room, or of a user."""
    if kind in [cls.__name__ for cls in _choices(schema)]:
        return True
    role = _openness(schema)
    return role is not None and (":" in kind or _class_of_room(role, kind) is not None)


def _class(schema: Any, kind: str, path: str) -> type:  # noqa: ANN401
    """The class of a kind that a declared type takes."""
    for cls in _choices(schema):
        if cls.__name__ == kind:
            return cls
    role = _openness(schema)
    assert role is not None
    return _class_of_room(role, kind) or outside_schema(kind, role, path)


def _class_of_room(role: Open, name: str) -> type | None:
    """The settings of this name that the room of a contract imports.

    Those that the room lists in `__all__` have their roles in the declared unions.
    """
    room = sys.modules.get(role.room)
    target = None if name in getattr(room, "__all__", ()) else getattr(room, name, None)
    if not isinstance(target, type) or not dataclasses.is_dataclass(target):
        return None
    fits = any(callable(getattr(target, member, None)) for member in (role.member, "build"))
    return target if fits else None


def _chosen(schema: Any, tree: Any, path: str) -> tuple[type, Tree]:  # noqa: ANN401
    """The dataclass that a tree stands for, and its fields."""
    names = [cls.__name__ for cls in _choices(schema)]
    body: Tree = {"kind": tree} if isinstance(tree, str) else tree
    if not isinstance(body, dict):
        raise ValueError(f"{path or 'the file'} must hold settings (key: value), got {tree!r}")
    if "kind" not in body and len(names) != 1:
        raise ValueError(f"{_join(path, 'kind')} must be given, one of {', '.join(names)}")
    kind = str(body.get("kind", names[0] if names else ""))
    kind = RENAMED_KINDS.get(kind, kind)
    if not _takes_kind(schema, kind):
        raise ValueError(_unknown_kind(schema, path, kind))
    return _class(schema, kind, path), {key: body[key] for key in body if key != "kind"}


def _unknown_kind(schema: Any, path: str, kind: str) -> str:  # noqa: ANN401
    """The message for a kind that a setting does not take."""
    message = unknown_setting(
        f"{path}={kind}", [f"{path}={cls.__name__}" for cls in _choices(schema)]
    )
    role = _openness(schema)
    return f"{message}; or {role.role} of yours, {path}=FILE.py:NAME" if role else message


def _paths(schema: Any, tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Every dotted path below a tree, blocks before their settings, with its declared type."""
    if path:
        yield path, schema
    if (_choices(schema) or _openness(schema)) and tree is not None:
        cls, body = _chosen(schema, tree, path)
        hints = _hints(cls)
        for field in dataclasses.fields(cls):
            value = body.get(field.name, _default(field, hints[field.name]))
            yield from _paths(hints[field.name], value, _join(path, field.name))


def _default(field: dataclasses.Field[Any], schema: Any) -> Any:  # noqa: ANN401
    """The default of a field of a declared type, as a tree; None where there is none."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        plain = to_tree(value)
        if not dataclasses.is_dataclass(value):
            return plain
        return {"kind": _kind(value, _choices(schema)), **plain}
    return None if field.default is dataclasses.MISSING else field.default


def _resolve(key: str, known: list[str]) -> str:
    """The one known path that a possibly scale_step key names."""
    matches = _matches(key, known)
    if len(matches) > 1:
        matches.sort(key=lambda path: not path.startswith("data."))  # the likeliest first
        raise ValueError(
            f"{key!r} names several settings: {', '.join(matches)}; write one in full, such as "
            f"{matches[0]}=..."
        )
    if not matches:
        shallow = sorted(known, key=lambda path: path.count("."))
        endings = sorted((_ending(path, known) for path in shallow), key=lambda e: e.count("."))
        raise ValueError(unknown_setting(key, known, endings))
    return matches[0]


def _matches(key: str, known: list[str]) -> list[str]:
    """The known paths that a possibly scale_step key may name."""
    if key in known:
        return [key]
    return [p for p in known if p.endswith("." + key) and p.split(".")[0] not in IN_FULL]


def _ending(path: str, known: list[str]) -> str:
    """The shortest ending of a path that names no other."""
    parts = path.split(".")
    endings = (".".join(parts[i:]) for i in reversed(range(len(parts))))
    return next(ending for ending in endings if _matches(ending, known) == [path])


def _assign(tree: Tree, keys: list[str], schema: Any, value: str) -> Tree:  # noqa: ANN401
    """A copy of the tree with one setting or one kind replaced."""
    head, *rest = keys
    if rest:
        below = tree.get(head)
        return {
            **tree,
            head: _assign(below if isinstance(below, dict) else {}, rest, schema, value),
        }
    if not _choices(schema) and _openness(schema) is None:
        return {**tree, head: None if is_null(schema, value) else value}
    value = RENAMED_KINDS.get(value, value)
    if not _takes_kind(schema, value):
        raise ValueError(_unknown_kind(schema, head, value))
    cls = _class(schema, value, head)
    old = tree.get(head)
    body: Tree = {"kind": value}
    hints = _hints(cls)
    for field in dataclasses.fields(cls):
        if (
            isinstance(old, dict)
            and field.name in old
            and _fits(hints[field.name], old[field.name])
        ):
            body[field.name] = old[field.name]
        elif not _is_required(field):
            body[field.name] = _default(field, hints[field.name])
    return {**tree, head: body}


def _fits(schema: Any, value: Any) -> bool:  # noqa: ANN401
    """Whether a block is of a kind that a declared type allows."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return kind is None or _takes_kind(schema, kind)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
