"""Frozen dataclasses as trees of plain values: what YAML holds and dotted overrides change.

A settings value is nested frozen dataclasses. As a tree it is nested dictionaries; where a field
may be one of several dataclasses, the key `kind` names which. The dataclasses themselves are the
schema: pydantic coerces every leaf to the annotated type, ``__post_init__`` checks its range, and
every message begins with the dotted path of the setting.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

__all__ = ["differences", "from_tree", "override", "to_tree"]

T = TypeVar("T")
Tree = dict[str, Any]


def to_tree(value: Any, declared: Any = None) -> Any:  # noqa: ANN401
    """Returns dataclasses as dictionaries, tuples as lists, and everything else as it is.

    Arguments:
        value: The value.
        declared: Its declared type; a union of dataclasses adds the key `kind`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = typing.get_type_hints(type(value))
        tree = {"kind": type(value).__name__} if len(_choices(declared)) > 1 else {}
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
        >>> from boltzwalk.train.optimizers import Adam
        >>> from_tree(Adam, {"learning_rate": "3e-4"})
        Adam(learning_rate=0.0003, beta1=0.9, beta2=0.999, weight_decay=0.0)
    """
    choices = _choices(schema)
    if not choices:
        return typing.cast(T, _leaf(schema, tree, path))
    cls, body = _chosen(choices, tree, path)
    hints, values = typing.get_type_hints(cls), {}
    names = [field.name for field in dataclasses.fields(cls)]
    for key in body:
        if key not in names:
            raise ValueError(_unknown(_join(path, key), [_join(path, name) for name in names]))
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

    A key may be shortened to any ending that names one setting only: `kernel.step_size` stands for
    `method.kernel.step_size`. Assigning the name of a class changes the kind of a block; settings
    of the old kind that the new one has as well are kept, the others take their defaults.

    Raises:
        ValueError: If an assignment has no "=", or its key names no setting or several.

    Example:
        >>> from boltzwalk.train.optimizers import Schedule
        >>> override(Schedule, {"warmup": 0}, ["warmup=10"])
        {'warmup': '10'}
    """
    pairs = []
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ValueError(f"an override must have the form key=value, got {assignment!r}")
        pairs.append((key.removesuffix(".kind"), value))
    # Kinds first, so that the settings of the new kind are there to be set, in any order.
    pairs.sort(key=lambda pair: not pair[1].isidentifier())
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
    return [] if old == new else [f"{path}: {old}, now {new}"]


def _choices(schema: Any) -> list[type]:  # noqa: ANN401
    """The dataclasses that a declared type allows."""
    is_union = typing.get_origin(schema) in (typing.Union, types.UnionType)
    members = typing.get_args(schema) if is_union else [schema]
    return [m for m in members if isinstance(m, type) and dataclasses.is_dataclass(m)]


def _chosen(choices: list[type], tree: Any, path: str) -> tuple[type, Tree]:  # noqa: ANN401
    """Which dataclass a tree stands for, and its fields."""
    names = [cls.__name__ for cls in choices]
    body: Tree = {"kind": tree} if isinstance(tree, str) else tree
    if not isinstance(body, dict):
        raise ValueError(f"{path or 'the file'} must hold settings (key: value), got {tree!r}")
    if "kind" not in body and len(choices) > 1:
        raise ValueError(f"{_join(path, 'kind')} must be given, one of {', '.join(names)}")
    kind = body.get("kind", names[0])
    if kind not in names:
        raise ValueError(_unknown(f"{path}={kind}", [f"{path}={name}" for name in names]))
    return choices[names.index(kind)], {key: body[key] for key in body if key != "kind"}


def _leaf(schema: Any, value: Any, path: str) -> Any:  # noqa: ANN401
    """Coerces one value; text is tried as YAML, as it is, and as a list without its brackets."""
    adapter = TypeAdapter(schema, config=ConfigDict(allow_inf_nan=False))
    attempts = [value]
    if isinstance(value, str):
        listed = f"[{value.strip().removeprefix('(').removesuffix(')')}]"
        attempts = [*_plain(value), value, *_plain(listed)]
    for attempt in attempts:
        try:
            return adapter.validate_python(attempt)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
    name = getattr(schema, "__name__", None) if not typing.get_args(schema) else str(schema)
    wanted = str(name).replace("typing.", "")
    raise ValueError(f"{path} must be of type {wanted}, got {value!r} ({reason})")


def _plain(text: str) -> list[Any]:
    """What a text means as YAML, if it is."""
    try:
        return [yaml.safe_load(text)]
    except yaml.YAMLError:
        return []


def _paths(schema: Any, tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Every dotted path below a tree, blocks before their settings, with its declared type."""
    choices = _choices(schema)
    if path:
        yield path, schema
    if choices and tree is not None:
        cls, body = _chosen(choices, tree, path)
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            value = body.get(field.name, _default(field))
            yield from _paths(hints[field.name], value, _join(path, field.name))


def _default(field: dataclasses.Field[Any]) -> Any:  # noqa: ANN401
    """The default of a field as a tree; None where there is none."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        return {"kind": type(value).__name__, **to_tree(value)}
    return None if field.default is dataclasses.MISSING else field.default


def _resolve(key: str, known: list[str]) -> str:
    """The one known path that a possibly shortened key names."""
    if key in known:
        return key
    matches = [path for path in known if path.endswith("." + key)]
    if len(matches) > 1:
        raise ValueError(f"{key!r} names several settings: {', '.join(matches)}; write one in full")
    if not matches:
        raise ValueError(_unknown(key, known))
    return matches[0]


def _assign(tree: Tree, keys: list[str], schema: Any, value: str) -> Tree:  # noqa: ANN401
    """A copy of the tree with one setting or one kind replaced."""
    head, *rest = keys
    if rest:
        below = tree.get(head)
        return {
            **tree,
            head: _assign(below if isinstance(below, dict) else {}, rest, schema, value),
        }
    choices = {cls.__name__: cls for cls in _choices(schema)}
    if not choices:
        return {**tree, head: value}
    if value not in choices:
        raise ValueError(_unknown(f"{head}={value}", [f"{head}={name}" for name in choices]))
    old = tree.get(head)
    kept = {
        field.name: old[field.name]
        for field in dataclasses.fields(choices[value])
        if isinstance(old, dict) and field.name in old
    }
    return {**tree, head: {"kind": value, **kept}}


def _unknown(name: str, known: Sequence[str]) -> str:
    """The message for a name that does not exist, with the nearest that do."""
    by_ending = {path.rsplit(".", 1)[-1]: path for path in known}
    near = difflib.get_close_matches(name, known, 3, 0.6)
    near += [by_ending[n] for n in difflib.get_close_matches(name.rsplit(".", 1)[-1], by_ending, 3)]
    near = list(dict.fromkeys(near))
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return f"unknown setting {name!r}; {hint}"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
