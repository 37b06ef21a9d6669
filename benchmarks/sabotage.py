"""How many runs the guard saves: diseases planted in runs of every method, and healthy controls.

    python benchmarks/sabotage.py --cache FOLDER           # makes the runs, prints the tables
    python benchmarks/sabotage.py --cache FOLDER --open    # the half that limits are chosen on

A run has 400 updates; a disease is planted after update 200, or is in the settings or rows from the
start. The oracle is that of `verdicts.py`: the sliced distance of 1,000 samples to fresh true rows.
A run is

    harmed     if it is over 1.5 times the median of the healthy runs of the same data and method,
               and 0.05 above it;
    recovered  if the guard went back, or drew another batch, and the end is not harmed;
    stopped    if the guard ended it with a proven model in place;
    unharmed   if nothing spoke and nothing was harmed;
    lost       otherwise: a harmed end, or none.

The name of a run decides by its hash whether it is in the open half or in the one held back.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
import verdicts
from torch import Tensor
from verdicts import METHODS, Case, judge, rows_of, settings_of

from boltzwalk.data import Dataset
from boltzwalk.method import learned_module
from boltzwalk.training import guard_record
from boltzwalk.training.execute import execute
from boltzwalk.training.run import Run, open_run

UPDATES, ONSET = 400, 200
HARMED, ABOVE = 1.5, 0.05

ONCE = ("batch_nan", "batch_inf", "batch_1e6", "batch_255")
EVER = ("batch_identical", "batch_shifted", "batch_stuck", "batch_zero", "batch_small")
MEMORY = ("layer_100", "weights_noise", "sign_flip", "bit_flip", "generator_zero")
OPTIMIZER = ("moments_noise", "moments_lost", "rate_zero", "rate_up_50")
WALKERS = ("walkers_far", "walkers_same")
START = ("rate_10", "rate_50", "rate_1000", "step_30", "step_1e4", "one_step", "cold", "momentum")

LEFT = frozenset({"explosion", "frozen", "samples", "weights", "not finite"})

RIGHT: dict[str, frozenset[str]] = {
    **{name: frozenset({"batch"}) for name in (*ONCE, *EVER)},
    **{name: frozenset({"parameters"}) for name in MEMORY},
    "moments_noise": frozenset({"optimizer"}),
    "moments_lost": frozenset({"optimizer"}),
    "rate_zero": frozenset({"rate", "no motion"}),
    "rate_up_50": frozenset({"rate"}),
    **{name: frozenset({"samples", "explosion"}) for name in WALKERS},
    **dict.fromkeys(START, LEFT),
}
"""The diagnoses that name the cause of a disease."""

DATA = ("eight_gaussians", "rings", "two_moons", "gaussian", "mixture", "skewed")


def cases() -> Iterator[Case]:
    """Healthy controls of all pairs that are used, then every disease of every method."""
    sick = [
        Case(DATA[(3 * i + j + 2 * seed) % len(DATA)], method, disease, UPDATES, seed)
        for i, disease in enumerate(RIGHT)
        for j, method in enumerate(METHODS)
        for seed in range(3)
        if possible(method, disease)
    ]
    pairs = sorted({(case.data, case.method) for case in sick})
    yield from (Case(*pair, "none", UPDATES, seed) for seed in (5, 6, 7) for pair in pairs)
    yield from sick


def possible(method: str, disease: str) -> bool:
    """Whether a method can have a disease."""
    made = METHODS[method][0]()
    if disease == "generator_zero":
        return method in ("cooperative", "generalized")
    if disease in WALKERS:
        return method.startswith("pcd")
    if disease in ("step_30", "step_1e4", "one_step", "cold"):
        return made.kernel is not None and method not in ("generalized",)
    return True


@torch.no_grad()
def plant(run: Run, disease: str) -> None:
    """Damages a run in memory."""
    weights = [p for p in run.energy.parameters() if p.ndim > 1]
    if disease == "sign_flip":
        weights[-1].mul_(-1)
    elif disease == "bit_flip":
        flat = weights[0].view(torch.int32).view(-1)
        flat[0] = flat[0] ^ (1 << 29)
    elif disease == "generator_zero":
        for parameter in learned_module(run.method).parameters():  # type: ignore[union-attr]
            parameter.zero_()
    elif disease == "rate_up_50":
        for group in run.optimizer.param_groups:
            group["initial_rate"] *= 50
    elif disease in WALKERS:
        x = run.state.x
        x.copy_(
            x[:1].expand_as(x).clone() if disease == "walkers_same" else 1e3 * torch.randn_like(x)
        )
    else:
        verdicts.plant(run, disease)


class Poison:
    """Batches with their disease, from the onset on; a disease of one batch strikes once."""

    def __init__(self, disease: str) -> None:
        self.disease, self.struck, self.stuck = disease, False, torch.zeros(0)

    def __call__(self, x: Tensor, done: int) -> Tensor:
        """Returns the batch."""
        if (
            self.disease not in (*ONCE, *EVER)
            or done < ONSET
            or (self.struck and self.disease in ONCE)
        ):
            return x
        if not self.struck:
            self.stuck = x
        self.struck = True
        if self.disease == "batch_stuck":
            return self.stuck.clone()
        if self.disease in ("batch_zero", "batch_small", "batch_255"):
            return x * {"batch_zero": 0.0, "batch_small": 0.01, "batch_255": 255.0}[self.disease]
        return verdicts.spoilt(x, self.disease)


def make(case: Case, guard: str) -> dict[str, Any]:
    """Trains a case and returns its facts."""
    began, data, done, planted, sound = time.process_time(), rows_of(case), 0, False, Dataset.batch
    disease = {"rate_50": "rate_10"}.get(case.disease, case.disease)
    settings = settings_of(case._replace(disease=disease), data)
    if case.disease == "rate_50":
        optimizer: Any = settings.optimizer
        optimizer = dataclasses.replace(optimizer, learning_rate=5 * optimizer.learning_rate)
        settings = dataclasses.replace(settings, optimizer=optimizer)
    settings = dataclasses.replace(settings, guard=guard)
    poison = Poison(case.disease)

    def batch(self: Dataset, n: int, rng: torch.Generator) -> Tensor:
        return poison(sound(self, n, rng), done)

    facts: dict[str, Any] = {"distance": math.inf, "failure": ""}
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(scratch)
        try:
            Dataset.batch = batch  # type: ignore[method-assign]
            for progress in execute(settings, folder, dataset=data, events=False):
                done, run = progress.update, progress.run
                if (
                    done == ONSET
                    and not planted
                    and case.disease in (*MEMORY, *OPTIMIZER, *WALKERS)
                ):
                    planted = True
                    plant(run, case.disease)
            facts["distance"] = judge(case, run)["distance"]
        except FloatingPointError as error:
            facts["failure"] = str(error)
            Dataset.batch = sound  # type: ignore[method-assign]
            with_model = list((folder / "checkpoints").glob("*.safetensors"))
            if with_model:
                run = open_run(folder, dataset=data)
                facts["distance"] = judge(case, run)["distance"]
        finally:
            Dataset.batch = sound  # type: ignore[method-assign]
        facts["actions"] = [action._asdict() for action in guard_record.actions(folder)]
    return facts | {"seconds": round(time.process_time() - began, 2)}


def outcome(case: Case, facts: dict[str, Any], healthy: float) -> str:
    """The outcome of a run, given the median distance of healthy ones."""
    harmed = not facts["distance"] <= max(HARMED * healthy, healthy + ABOVE)
    if facts["failure"]:
        return "stopped" if facts["actions"] else "lost"
    if harmed:
        return "lost"
    return "recovered" if facts["actions"] else "unharmed"


def summary(facts: dict[Case, dict[str, Any]]) -> str:
    """The tables in Markdown."""
    usual: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case, fact in facts.items():
        if case.disease == "none":
            usual[case.data, case.method].append(fact["distance"])
    healthy = {pair: median(values) for pair, values in usual.items()}
    controls = [fact for case, fact in facts.items() if case.disease == "none"]
    alarmed = sum(bool(fact["actions"]) for fact in controls)
    lines = [
        f"Healthy runs with an alarm: {alarmed} of {len(controls)}.", "",
        "| disease | runs | detected | after | named | recovered | stopped | unharmed | lost |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    total: Counter[str] = Counter()
    for disease in RIGHT:
        sick = {c: f for c, f in facts.items() if c.disease == disease}
        counts = Counter(outcome(c, f, healthy[c.data, c.method]) for c, f in sick.items())
        detected = [f["actions"][0] for f in sick.values() if f["actions"]]
        onset = 0 if disease in START else ONSET
        delays = [action["update"] - onset for action in detected]
        right = sum(action["diagnosis"] in RIGHT[disease] for action in detected)
        total.update(counts)
        total.update(runs=len(sick), detected=len(detected), right=right)
        total.update(prompt=sum(delay <= 50 for delay in delays))
        ends = (str(counts[end]) for end in ("recovered", "stopped", "unharmed", "lost"))
        cells = (disease, len(sick), len(detected), median(delays or [math.nan]), right, *ends)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", str(dict(total))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--open", action="store_true", help="the open half only")
    parser.add_argument("--guard", default="act")
    parser.add_argument("--part", default="0/1", help="I/N: every N-th diseased run, from the I-th")
    parser.add_argument("--show", action="store_true", help="no new runs")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    first, step = map(int, arguments.part.split("/"))
    facts = {}
    controls = [case for case in cases() if case.disease == "none"]
    sick = [case for case in cases() if case.disease != "none"]
    for case in controls + sick[first::step]:
        if arguments.open and case.held_back and case.disease != "none":
            continue
        path = arguments.cache / f"{case.name}.json"
        if not path.exists() and not arguments.show:
            path.write_text(json.dumps(make(case, arguments.guard)))
        if path.exists():
            facts[case] = json.loads(path.read_text())
    print(summary(facts))


if __name__ == "__main__":
    main()
