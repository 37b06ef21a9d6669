"""The parts of a page as values, and the page itself as HTML: one file, light or dark."""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..evaluation.measure import Measure

__all__ = [
    "Cell",
    "CellTable",
    "Figure",
    "PageVerdict",
    "Section",
    "image",
    "measure_rows",
    "render",
]


class Figure(NamedTuple):
    """A picture or an `<svg>` element, with its caption.

    Attributes:
        content: The HTML element.
        caption: The caption.
        wide: Whether it takes the full width of the page.
        smooth: Whether pixels are interpolated, as in plots but not in images.
    """

    content: str
    caption: str = ""
    wide: bool = False
    smooth: bool = False


class Cell(NamedTuple):
    """A cell of a table: its text and its style class."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class CellTable:
    """Rows of cells."""

    rows: Sequence[Sequence[Cell]]
    head: Sequence[str] = ()
    title: str = ""
    kind: str = "numbers"


class PageVerdict(NamedTuple):
    """A verdict at the top of the page."""

    subject: str
    label: str
    reason: str
    tone: str


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading."""

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[CellTable] = ()
    blocks: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def render(
    title: str,
    subtitle: str,
    verdicts: Sequence[PageVerdict],
    sections: Sequence[Section],
    answer: str = "",
) -> str:
    """Returns a page as HTML; all text is escaped.

    Arguments:
        title: Its title.
        subtitle: The line below.
        verdicts: The verdicts at the top.
        sections: The parts of the page.
        answer: The use of the model in plain words, the first thing on the page.
    """
    import jinja2

    here = importlib.resources.files(__package__)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((here / "page.html").read_text())
    return template.render(
        title=title,
        subtitle=subtitle,
        answer=answer,
        verdicts=verdicts,
        sections=sections,
        style=(here / "style.css").read_text(),
    )


def measure_rows(measures: Sequence[Measure]) -> list[list[Cell]]:
    """Returns the rows of a table of measures: name, number, meaning.

    Arguments:
        measures: The measures.
    """
    return [[Cell(m.name), Cell(m.text, "value"), Cell(m.meaning, "quiet")] for m in measures]


def image(png: bytes) -> str:
    """Returns an `<img>` element that holds a PNG.

    Arguments:
        png: The content of the file.
    """
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
