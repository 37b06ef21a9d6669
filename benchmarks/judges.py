"""What every measure says of samples whose worth is known, and how long it takes.

Data are judged against held-out data, and so are a copy without one class, a
tenth of them copied ten times, and noise; the numbers are in docs/metrics.md.

    python benchmarks/judges.py digits
    BOLTZWALK_DATA=... python benchmarks/judges.py mnist
"""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace
from typing import Any

import torch

from boltzwalk.data import Dataset, Digits, Mnist
from boltzwalk.evaluation.features import Features, features_for
from boltzwalk.evaluation.modes import modes
from boltzwalk.evaluation.quality import MEASURES, make_comparison
from boltzwalk.evaluation.samples import SampleSet

SETS = {"digits": Digits, "mnist": Mnist}


def kinds(data: Dataset, rng: torch.Generator) -> dict[str, torch.Tensor]:
    """Samples of known worth, as many of each."""
    n = min(10_000, len(data.train))
    order = torch.randperm(len(data.train), generator=rng)
    rows, labels = data.train[order], data.train_labels[order]
    tenth = rows[: n // 10]
    return {
        "data": rows[:n],
        "without a class": rows[labels != 3][:n],
        "a tenth, copied": tenth.repeat(10, *[1] * (rows.ndim - 1))[:n],
        "noise": data.noise(n, rng),
    }


def judged(
    data: Dataset, x: torch.Tensor, features: Features, seconds: dict[str, float]
) -> dict[str, str]:
    """Every number of one kind of samples; adds the time of each to `seconds`."""
    rng = torch.Generator().manual_seed(1)
    drawn = SampleSet(x, None, "", "", len(x))
    began = time.perf_counter()
    both = make_comparison(data, drawn, features, rng)
    seconds["features"] = time.perf_counter() - began
    found: dict[str, str] = {}
    for name, make in MEASURES.items():
        began = time.perf_counter()
        for measure in make(both, rng):
            found[measure.name] = measure.text
        seconds[name] = time.perf_counter() - began
    model: Any = SimpleNamespace(data=data, module=None, temperature=1.0)
    began = time.perf_counter()
    for measure in modes(model, drawn, features).measures:
        found[measure.name] = measure.text
    seconds["classes"] = time.perf_counter() - began
    return found


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    data = SETS[parser.parse_args().set]().load()
    features = features_for(data)
    seconds: dict[str, float] = {}
    table = {
        kind: judged(data, x, features, seconds)
        for kind, x in kinds(data, torch.Generator().manual_seed(0)).items()
    }
    print(f"| | {' | '.join(table)} |\n|---|{'---:|' * len(table)}")
    for name in table["data"]:
        print(f"| {name} | {' | '.join(found.get(name, '') for found in table.values())} |")
    print("\nseconds: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    print(f"in all {sum(seconds.values()):.1f} s, with {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
