"""Completions, reconstructions and interpolations as files, pictures and lines of text.

The picture of a completed table shows completions with the truth and the training mean.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import write_atomically
from ..data import Dataset
from ..data.column_values import date_of, nearest_level
from ..data.new_rows import NewRows, field_of
from ..data.readable import formula_note, quoted_formula, readable_rows
from ..model import Model
from ..training.pictures import image_png
from .inputs import Inputs
from .judge import CompletionScores, diversity, judge, standard_error
from .variants import Completed, CompletionPlan, steps_of

__all__ = [
    "describe_completions",
    "error_lines",
    "results_table",
    "table_png",
    "write_completions",
    "write_rows",
]


PICTURE_ROWS = 16
"""The largest number of rows in the picture of images."""

PICTURE_COMPLETIONS = 6
"""The largest number of completions of each row in the picture."""


def write_completions(
    model: Model,
    inputs: Inputs,
    completed: Completed,
    path: Path,
    source: NewRows | None = None,
    quote_formulas: bool = False,
) -> list[str]:
    r"""Writes completions and their picture, and returns their paths as lines.

    Arguments:
        model: The model.
        inputs: The rows that were completed.
        completed: Their completions.
        path: A .npz file (completed, in the units of the data, shape (N, n, \*event); x, the same
            in model units; hidden; energy), for a table also a .csv file, whose first columns are
            row and completion where there are several of each row. Next to a.npz the picture is
            a_picture.png.
        source: The table that the rows come from: its other columns are written as they were, in
            their place; None for other rows.
        quote_formulas: Whether texts that are formulas get an apostrophe in a .csv file.

    Raises:
        ValueError: If the ending of the path is another.
    """
    table = len(model.data.event_shape) == 1
    if path.suffix not in ((".npz", ".csv") if table else (".npz",)):
        raise ValueError(
            f"out must end in .npz{' or .csv' if table else ', a .csv file holds tables'}, got "
            f"{path.name!r}; write --out {path.stem}.npz"
        )
    notes: list[str] = []
    if path.suffix == ".csv":
        lines = _csv_rows(model.data, inputs, completed, source)
        notes = formula_note((field for line in lines for field in line), quote_formulas)
        if quote_formulas:
            lines = [list(map(quoted_formula, line)) for line in lines]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        write_atomically(path, text.getvalue().encode())
    else:
        arrays = {
            "completed": completed.original.numpy(),
            "x": completed.x.detach().cpu().numpy(),
            "hidden": inputs.hidden.cpu().numpy(),
            "energy": completed.energy.detach().float().cpu().numpy(),
        }
        write_atomically(path, _npz(arrays))
    image = path.with_name(f"{path.stem}_picture.png")
    write_atomically(image, _picture(model.data, inputs, completed))
    return [f"completed  {path}", f"picture    {image}", *(f"note       {line}" for line in notes)]


def write_rows(model: Model, lines: dict[str, Tensor], path: Path, columns: int = 0) -> list[str]:
    r"""Writes kinds of rows, and a picture of images, and returns their paths as lines.

    Arguments:
        model: The model.
        lines: Rows in model units by their name, each of shape (N, \*event).
        path: A .npz file, with the rows in the units of the data. Next to a.npz the picture is
            a_picture.png.
        columns: Images in a line of the picture; 0 for all of one name, up to 16.

    Raises:
        ValueError: If the ending of the path is another.
    """
    if path.suffix != ".npz":
        raise ValueError(f"out must end in .npz, got {path.name!r}; write --out {path.stem}.npz")
    original = {name: model.data.to_original(rows).cpu().numpy() for name, rows in lines.items()}
    write_atomically(path, _npz(original))
    written = [f"rows     {path}"]
    if len(model.data.event_shape) == 3:
        shown = [
            rows[: columns * PICTURE_ROWS if columns else PICTURE_ROWS] for rows in lines.values()
        ]
        image = path.with_name(f"{path.stem}_picture.png")
        write_atomically(image, image_png(torch.cat(shown), model.data, columns or len(shown[0])))
        written.append(f"picture  {image}")
    return written


def error_lines(model: Model, lines: dict[str, Tensor], truth: Tensor) -> list[str]:
    r"""Returns the mean squared error of an entry as lines, with that of the training mean.

    Arguments:
        model: The model.
        lines: Rows in model units by their name, each of shape (N, \*event).
        truth: The true rows.
    """
    mean = model.data.train.mean(0).expand_as(truth)
    text = [f"{'':<20} squared error of an entry"]
    for name, rows in {**lines, "training mean": mean}.items():
        error = (rows - truth).flatten(1).square().mean(1)
        text.append(f"{name:<20} {float(error.mean()):.4f} ± {standard_error(error):.4f}")
    return text


def describe_completions(
    model: Model, inputs: Inputs, plan: CompletionPlan, source: str, seed: int
) -> str:
    """Returns a description of completions as one line.

    Arguments:
        model: The model.
        inputs: The rows.
        plan: The variant and its settings.
        source: The name of the rows.
        seed: The seed of the noise.
    """
    share = float(inputs.hidden.flatten(1).double().mean())
    return (
        f"{source}, {share:.0%} of the entries hidden, {plan.n} completions each by "
        f"{plan.variant}, {steps_of(model, plan)} steps, seed {seed}"
    )


def results_table(model: Model, inputs: Inputs, completed: Completed) -> list[str]:
    """Returns the numbers of completions as lines: errors where the truth is known, diversity.

    Arguments:
        model: The model.
        inputs: The rows.
        completed: Their completions.
    """
    lines = []
    if inputs.truth is not None:
        judged = judge(model, inputs, completed)
        images = judged[0].psnr is not None
        lines.append(f"{'':<20} masked error{'         PSNR    SSIM' if images else ''}")
        lines += [_line(one) for one in judged]
    if completed.x.shape[1] > 1:
        spread = diversity(completed.x, inputs.hidden, model.data.scale).nanmean()
        lines.append(f"{'diversity':<20} {float(spread):.4g}")
    return lines


def _line(one: CompletionScores) -> str:
    """One kind of completion with its numbers, mean over rows."""
    known = one.error[~one.error.isnan()]
    text = f"{one.name:<20} {float(known.mean()):.4f} ± {standard_error(known):.4f}"
    if one.psnr is None or one.ssim is None:
        return text
    return f"{text}   {float(one.psnr.mean()):5.2f}   {float(one.ssim.mean()):.3f}"


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays as a file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _csv_rows(
    dataset: Dataset, inputs: Inputs, completed: Completed, table: NewRows | None
) -> list[list[object]]:
    """Completed rows of a table; every field that was given is written as it was."""
    n, width = completed.original.shape[1:]
    names = list(dataset.columns) or [f"column{i}" for i in range(width)]
    if table is not None:
        names = list(table.table.titles or table.table.names)
    lines: list[list[object]] = [[*names] if n == 1 else ["row", "completion", *names]]
    hidden = inputs.hidden.cpu().numpy()
    originals = completed.original.numpy()
    filled = readable_rows(dataset, completed.x.flatten(0, 1)).reshape(-1, n, width)
    at = np.arange(len(originals)) if table is None else table.partial
    order = {int(row): i for i, row in enumerate(at)}
    for row in range(len(originals) if table is None else table.table.rows):
        i = order.get(row)
        if i is None:  # neither readable nor completed: as it was
            assert table is not None
            fields = [field_of(column, row) for column in table.table.columns]
            lines.append([*fields] if n == 1 else [row, "", *fields])
            continue
        for j in range(n):
            if table is not None:
                fields = _given_fields(dataset, table, row, filled[i, j], hidden[i])
            else:
                values = np.where(hidden[i], filled[i, j], originals[i, j])
                fields = [repr(value) for value in values.tolist()]
            lines.append([*fields] if n == 1 else [row, j, *fields])
    return lines


def _given_fields(
    dataset: Dataset,
    table: NewRows,
    i: int,
    row: np.ndarray,
    hidden: np.ndarray,
) -> list[str]:
    """The fields of a row of the input, with completions in the place of hidden ones."""
    fields = [field_of(column, i) for column in table.table.columns]
    reading = dataset.reading
    levels = dict(reading.levels) if reading else {}
    dates = reading.dates if reading else ()
    names = reading.inputs if reading else [column.name for column in table.inputs]
    for name, column, span in zip(names, table.inputs, table.spans, strict=True):
        if not hidden[span].any():
            continue
        at = next(k for k, c in enumerate(table.table.columns) if c is column)
        if name in levels:
            fields[at] = nearest_level(row[span], levels[name])
        elif name in dates:
            fields[at] = date_of(float(row[span][0]))
        else:
            fields[at] = repr(float(row[span][0]))
    return fields


def _picture(dataset: Dataset, inputs: Inputs, completed: Completed) -> bytes:
    """Images: a row masked, rows completed, a row of the truth. Tables: see :func:`.table_png`."""
    if completed.x.ndim != 5:
        return table_png(dataset, inputs, completed)
    low, high = -1.0 if dataset.low is None else dataset.low, dataset.high
    middle = (low + (1.0 if high is None else high)) / 2
    masked = torch.where(inputs.hidden, middle, inputs.x)
    rows: list[Tensor] = [masked, *completed.x[:, :PICTURE_COMPLETIONS].unbind(1)]
    if inputs.truth is not None:
        rows.append(inputs.truth)
    shown = torch.cat([row[:PICTURE_ROWS] for row in rows])
    return image_png(shown, dataset, columns=min(PICTURE_ROWS, len(masked)))


PANEL_ROWS = 40
"""The largest number of rows in a panel of a table."""

COLUMNS = 12
"""The largest number of panels: columns with hidden values, in their order."""


def table_png(dataset: Dataset, inputs: Inputs, completed: Completed) -> bytes:
    """Returns a PNG with one panel for each column that has hidden values, in original units.

    Arguments:
        dataset: The data of the model, a table.
        inputs: The rows that were completed.
        completed: Their completions.
    """
    from matplotlib.figure import Figure

    hidden = inputs.hidden.cpu()
    names = dataset.columns or tuple(f"column{i}" for i in range(hidden.shape[1]))
    shown = hidden.any(0).nonzero().flatten().tolist()[:COLUMNS]
    mean = dataset.to_original(dataset.train.mean(0, keepdim=True))[0].cpu()
    truth = None if inputs.truth is None else dataset.to_original(inputs.truth).cpu()
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(4 * across, 2.4 * down + 0.4), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[len(shown) :]:
        axes.axis("off")
    for column, axes in zip(shown, panels, strict=False):
        rows = hidden[:, column].nonzero().flatten()[:PANEL_ROWS]
        filled = completed.original[rows, :, column]
        at = torch.arange(len(rows))
        axes.axhline(float(mean[column]), color="0.8", zorder=0, label="training mean")
        wide = at[:, None].expand_as(filled).flatten()
        axes.scatter(wide, filled.flatten(), s=9, c="tab:red", alpha=0.6, label="completed")
        if truth is not None:
            axes.scatter(at, truth[rows, column], s=60, c="black", marker="_", label="truth")
        axes.set_title(names[column], fontsize=9, parse_math=False)
        axes.set_xticks(at.tolist()[:: max(1, len(rows) // 8)])
        axes.set_xticklabels([str(int(row)) for row in rows[:: max(1, len(rows) // 8)]])
        axes.tick_params(labelsize=7)
        axes.set_xlabel("row", fontsize=7)
    figure.axes[0].legend(fontsize=6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
