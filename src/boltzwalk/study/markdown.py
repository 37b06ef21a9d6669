"""The report of a study as text: the same tables in Markdown, for a repository or a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from .effects import stability
from .outcome import Outcome, members
from .sheets import Sheet, number
from .spec import Axis, Block, Study, to_yaml

__all__ = ["as_markdown"]

TABLES = ("answers", "importance", "interactions", "effects", "frontier", "failures", "anatomy")
"""The tables that are shown, after the recommended settings and the maps."""


def as_markdown(
    title: str,
    subtitle: str,
    study: Study,
    found: Sequence[Outcome],
    tables: Mapping[str, Sheet],
) -> str:
    """Returns the report of a study in Markdown.

    Arguments:
        title: Its title.
        subtitle: How far it is.
        study: The study.
        found: The trials that are over.
        tables: Its tables by name.
    """
    answers, *others = (tables[name] for name in TABLES)
    parts = [
        f"# {title}",
        subtitle + ".",
        _section(answers),
        _commands(tables["recommended"]),
        "## Stability maps\n\nSeeds that survive, and their median quality.",
        *(_map(block, a, b, found) for block, a, b in _pairs(study, found)),
        *(_section(sheet) for sheet in others if sheet.rows),
        f"## The study\n\n```yaml\n{to_yaml(study).rstrip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Returns a table.

    Arguments:
        head: The names of the columns.
        rows: The rows.

    Example:
        >>> print(_table(("a", "b"), [("1", "x|y")]))
        | a | b |
        |---|---|
        | 1 | x\|y |
    """
    lines = [tuple(head), ("---",) * len(head), *rows]
    made = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    made[1] = made[1].replace(" ", "")
    return "\n".join(made)


def _section(sheet: Sheet) -> str:
    return f"## {sheet.title}\n\n{_table(sheet.head, sheet.rows)}"


def _commands(sheet: Sheet) -> str:
    if not sheet.rows:
        return f"## {sheet.title}\n\nNo point has survived with all of its seeds yet."
    made = [_table(sheet.head[:3], [row[:3] for row in sheet.rows])]
    made += [f"```\n{row[3]}\n```" for row in sheet.rows]
    return "\n\n".join([f"## {sheet.title}", *made])


def _pairs(study: Study, found: Sequence[Outcome]) -> list[tuple[Block, Axis, Axis]]:
    """The pairs of axes with levels whose combinations were tried."""
    return [
        (block, a, b)
        for block in study.blocks
        if block.sampler != "one" and members(found, block.name)
        for a, b in combinations([axis for axis in block.axes if axis.levels], 2)
    ]


def _map(block: Block, a: Axis, b: Axis, found: Sequence[Outcome]) -> str:
    """One row for each level of the second axis, one column for each of the first."""
    cells = {
        effect.level: f"{effect.survived}/{effect.trials}: {number(effect.quality)}"
        for effect in stability(members(found, block.name), (a.name, b.name))
    }
    head = (f"{b.name} \\ {a.name}", *(level.name for level in a.levels))
    rows = [
        (row.name, *(cells.get((column.name, row.name), "") for column in a.levels))
        for row in b.levels
    ]
    return f"### {block.name}: {a.name} and {b.name}\n\n{_table(head, rows)}"
