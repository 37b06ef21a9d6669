"""The report of one run: a single file that needs no network, readable on a phone."""

from __future__ import annotations

import base64
import html
import io
import math
from pathlib import Path
from typing import Any

from ..train.checkpoint import write_atomically
from ..train.folder import read_rows
from ..train.held_out import unseen
from ..train.pictures import picture
from ..train.run import Run
from ..train.settings import to_yaml
from .summary import Number

__all__ = ["write_report"]

CURVES = (
    ("energy_gap", "energy gap d", "mean energy of data minus that of walkers; swings about 0"),
    ("gradient_mean", "gradient size v", "along the chain; explodes before a run does"),
    (
        "travel",
        "travel",
        "steps x step size x v, against the distance from noise to the data (dashed)",
    ),
    ("out_of_range", "out of range", "share of coordinates beyond the data"),
)

WEIGHTED = (
    ("ess", "effective sample size", "share of the walkers; falls as weights get uneven"),
    (
        "witness_cross_entropy",
        "-log p of validation rows",
        "nats, model units: by the witness with its 95 % interval; dashed by the training walkers",
    ),
)
"""What weighted walkers add."""

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; }
img { max-width: 100%; background: white; border-radius: 4px; image-rendering: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; } .pair figure { margin: 0; flex: 1 1 18rem; }
table { border-collapse: collapse; } td { padding: .2rem 1rem .2rem 0; vertical-align: top; }
td:nth-child(2) { font-weight: 600; white-space: nowrap; }
td:last-child, figcaption { opacity: .75; } pre { overflow-x: auto; font-size: .85rem; }
"""


def write_report(run: Run, folder: Path, numbers: list[Number]) -> Path:
    """Writes `report.html` into a run folder and returns its path.

    Arguments:
        run: The run.
        folder: Its folder.
        numbers: What `summarise` returned.
    """
    data = run.dataset
    shown = 100 if len(data.event_shape) == 3 else 1000
    rows, split = unseen(data)
    real = picture(rows[:shown], data)
    table = "".join(
        f"<tr><td>{html.escape(n.name)}</td><td>{html.escape(n.text)}</td>"
        f"<td>{html.escape(n.meaning)}</td></tr>"
        for n in numbers
    )
    title = html.escape(folder.name)
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style>
<h1>{title}</h1><p>{run.update} updates of {run.settings.updates}</p>
<div class="pair">
<figure>{_image((folder / "samples.png").read_bytes())}<figcaption>samples</figcaption></figure>
<figure>{_image(real)}<figcaption>{split} data</figcaption></figure></div>
<h2>Numbers</h2><table>{table}</table>
<h2>Training</h2>{_image(_curves(read_rows(folder / "log.jsonl")))}
<h2>Settings</h2><pre>{html.escape(to_yaml(run.settings))}</pre>
<h2>Environment</h2><pre>{html.escape((folder / "environment.yaml").read_text())}</pre></html>"""
    path = folder / "report.html"
    write_atomically(path, page.encode())
    return path


def _image(png: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _curves(rows: list[dict[str, Any]]) -> bytes:
    """The curves of the log as a PNG."""
    from matplotlib.figure import Figure

    weighted = any(key in row for row in rows for key, _, _ in WEIGHTED)
    curves = CURVES + WEIGHTED if weighted else CURVES
    figure = Figure(figsize=(9, 2.5 * len(curves) / 2), layout="constrained")
    updates = [row["update"] for row in rows]

    def column(key: str) -> list[float]:
        return [row.get(key, math.nan) for row in rows]

    panels = figure.subplots(len(curves) // 2, 2).flat
    for (key, title, meaning), axes in zip(curves, panels, strict=True):
        axes.plot(updates, column(key), lw=0.8)
        if key == "travel":
            axes.plot(updates, column("distance"), "k--", lw=0.8)
        if key == "energy_gap":
            axes.axhline(0, color="k", lw=0.5)
        if key == "witness_cross_entropy":
            pairs = list(zip(column(key), column(f"{key}_half_width"), strict=True))
            low, high = [mid - half for mid, half in pairs], [mid + half for mid, half in pairs]
            axes.fill_between(updates, low, high, alpha=0.3)
            axes.plot(updates, column("cross_entropy_validation"), "k--", lw=0.8)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(meaning, fontsize=7)
        axes.tick_params(labelsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
