"""YAML of plain values: numbers are decimal or scientific, and a small file stays small.

YAML 1.1 reads 010 as 8, 2:00 as 120, 6_4 as 64 and 0x10 as 16; here they are text, which no number
takes. Dates are text too. An alias stands for what it repeats, so a file of a kilobyte could hold
more values than any memory: the values of a file are counted before they are made.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["NUMBER", "load_yaml"]

NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
"""A decimal or scientific number, such as 10, 0.5 or 1e-3."""

MOST_VALUES = 100_000
"""The most values that a file may stand for."""

DEEPEST = 100
"""The most blocks within each other."""

INTEGER, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
DROPPED = (INTEGER, FLOAT, "tag:yaml.org,2002:timestamp")


class _PlainLoader(yaml.SafeLoader):
    """YAML's safe loader with decimal numbers."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in DROPPED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    INTEGER, re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789")
)
_PlainLoader.add_implicit_resolver(FLOAT, re.compile(rf"{NUMBER.pattern}$"), list("-+.0123456789"))


def load_yaml(text: str, as_text: bool = False) -> Any:  # noqa: ANN401
    """Returns the plain values of a YAML text.

    Arguments:
        text: The text.
        as_text: Whether numbers, true and null are text as well.

    Raises:
        yaml.YAMLError: If it is no YAML, names Python objects, or holds too many values.

    Example:
        >>> load_yaml("{a: 1e3, b: 010, c: 2:00, d: [1, yes]}")
        {'a': 1000.0, 'b': '010', 'c': '2:00', 'd': [1, True]}
    """
    deep = 0
    for event in yaml.parse(text, _PlainLoader):
        deep += isinstance(event, yaml.CollectionStartEvent)
        deep -= isinstance(event, yaml.CollectionEndEvent)
        if deep > DEEPEST:
            raise yaml.YAMLError(f"at most {DEEPEST} blocks may be within each other, got more")
    loader = (yaml.BaseLoader if as_text else _PlainLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"a file may stand for {MOST_VALUES:,} values, got more")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of values that a node stands for, aliases written out."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise yaml.YAMLError("a value must not hold itself, got an alias of its own block")
        return known[id(node)]
    known[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]
