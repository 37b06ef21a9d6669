"""The picture of the guard: one run at ten times its rate, with the guard off and on.

python benchmarks/guard_demo.py docs/images/guard.png
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch

from boltzwalk.recipes.lookup import resolved_settings
from boltzwalk.rng import generator
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import read_rows
from boltzwalk.training.guard_record import actions

CHANGES = (
    *("kernel=ULA", "kernel.step_size=0.02", "learning_rate=0.03", "updates=600", "threads=1"),
    *("output.pictures=false", "output.events=false"),
)


def trained(guard: str) -> dict[str, Any]:
    """Trains with or without the guard; returns samples, data, the gap of the log, the actions."""
    settings = resolved_settings("toy", [*CHANGES, f"guard={guard}"])
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(scratch)
        for done in execute(settings, folder):
            run = done.run
        rows, acts = read_rows(folder / "log.jsonl"), actions(folder)
    model = run.judged_on(run.dataset)
    x = model.draw(model.available(1000), generator(0, "picture", 0)).x
    return {
        "x": x, "data": run.dataset.train[:1000], "acts": acts,
        "update": [row["update"] for row in rows], "gap": [abs(row["energy_gap"]) for row in rows],
        "rate": run.settings.optimizer.learning_rate,
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    runs = {guard: trained(guard) for guard in ("off", "act")}
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained")
    for (guard, run), colour in zip(runs.items(), ("tab:red", "tab:blue"), strict=True):
        axes[0].semilogy(run["update"], run["gap"], colour, label=f"guard={guard}")
        axis = axes[1 + list(runs).index(guard)]
        axis.scatter(*run["x"].T, s=3, c=colour, alpha=0.5, label="samples")
        axis.scatter(*run["data"].T, s=3, c="0.3", alpha=0.5, label="data")
        far = float((run["x"].norm(dim=1) > 3 * run["data"].norm(dim=1).max()).float().mean())
        title = f"guard={guard}, rate at the end {run['rate']:g}"
        axis.set_title(f"{title}\n{far:.0%} of the samples are outside", fontsize=9)
        axis.set_xlim(-2, 2)
        axis.set_ylim(-2, 2)
        axis.set_aspect("equal")
        axis.legend(loc="upper right", fontsize=7)
    for action in runs["act"]["acts"]:
        print(action)
    axes[0].set_xlabel("update")
    axes[0].set_title("|mean energy of data minus samples|", fontsize=9)
    axes[0].legend(fontsize=8)
    figure.savefig(sys.argv[1], dpi=110)


if __name__ == "__main__":
    main()
