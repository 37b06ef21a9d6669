"""The tables of `tables.py` as markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from table_sets import OUTLIERS

__all__ = ["print_report"]

RIVALS = ("Gaussian", "GaussianMixture", "KernelDensity", "zuko flow")
DETECTORS = ("IsolationForest", "LocalOutlierFactor", "OneClassSVM")
OURS = "boltzwalk"
BOOTSTRAPS = 500

Path_of = Callable[[Path, str, int, str, str, str], Path]


def print_report(
    names: Sequence[str], seeds: Sequence[int], cache: Path, version: str, path_of: Path_of
) -> None:
    """Prints the tables of all results in the cache.

    Arguments:
        names: The tables.
        seeds: The splits.
        cache: The folder of the results.
        version: The digest of the settings of boltzwalk.
        path_of: Names the file of a result.
    """

    def results(name: str, models: Sequence[str], part: str) -> dict[str, list[dict[str, Any]]]:
        """The results of the splits that all models have, in one order."""
        read: dict[str, dict[int, dict[str, Any]]] = {}
        for model in models:
            of = version if model == OURS else ""
            paths = {seed: path_of(cache, name, seed, model, part, of) for seed in seeds}
            present = {seed: path for seed, path in paths.items() if path.exists()}
            read[model] = {seed: json.loads(path.read_text()) for seed, path in present.items()}
        common = sorted(set.intersection(*(set(runs) for runs in read.values())))
        return {model: [runs[seed] for seed in common] for model, runs in read.items()}

    _print_likelihoods(names, results)
    _print_anomalies(names, results)


Results = Callable[[str, Sequence[str], str], dict[str, list[dict[str, Any]]]]


def _print_likelihoods(names: Sequence[str], results: Results) -> None:
    print(f"| | splits | {' | '.join(RIVALS)} | {OURS} | truth | minus the best other | | s |")
    print(f"|---|{'---:|' * (len(RIVALS) + 4)}---|---:|")
    outcomes = []
    for name in names:
        runs = results(name, (*RIVALS, OURS), "density")
        ours = runs[OURS]
        if not ours:
            continue
        rows = {model: np.concatenate([r["log_p"] for r in runs[model]]) for model in runs}
        best = max(RIVALS, key=lambda model: rows[model].mean())
        difference = rows[OURS] - rows[best]
        middle = difference.mean()
        half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
        outcomes.append(_outcome(middle - half, middle + half))
        truth = np.concatenate([r["truth"] for r in ours]).mean() if "truth" in ours[0] else None
        numbers = " | ".join(f"{rows[model].mean():.2f}" for model in RIVALS)
        seconds = np.mean([run["cpu_seconds"] for run in ours])
        print(
            f"| {name} | {len(ours)} | {numbers} | **{rows[OURS].mean():.2f}** | "
            f"{'' if truth is None else f'{truth:.2f}'} | {middle:+.2f} ± {half:.2f} ({best}) | "
            f"{outcomes[-1]} | {seconds:.0f} |"
        )
    print(f"\n{_counts(outcomes)}\n")


def _print_anomalies(names: Sequence[str], results: Results) -> None:
    print(f"| | outliers | {' | '.join(DETECTORS)} | {OURS} | minus the best other | |")
    print(f"|---|---|{'---:|' * (len(DETECTORS) + 2)}---|")
    outcomes = []
    for name in names:
        for kind in (*OUTLIERS, "a class"):
            part = "class" if kind == "a class" else "density"
            runs = results(name, (*DETECTORS, OURS), part)
            if not runs[OURS]:
                continue
            pairs = {
                model: [(r["log_p"], r["class"] if part == "class" else r["planted"][kind])
                        for r in of_model]
                for model, of_model in runs.items()
            }  # fmt: skip
            areas = {model: np.mean([area(*p) for p in of]) for model, of in pairs.items()}
            best = max(DETECTORS, key=lambda model: areas[model])
            low, high = _bootstrap(pairs[OURS], pairs[best])
            outcomes.append(_outcome(low, high))
            numbers = " | ".join(f"{areas[model]:.3f}" for model in DETECTORS)
            print(
                f"| {name} | {kind} | {numbers} | **{areas[OURS]:.3f}** | "
                f"{areas[OURS] - areas[best]:+.3f} [{low:+.3f}, {high:+.3f}] ({best}) | "
                f"{outcomes[-1]} |"
            )
    print(f"\n{_counts(outcomes)}")


def area(ordinary: Sequence[float], outlying: Sequence[float]) -> float:
    """Returns the area under the ROC curve, of scores that are higher for ordinary rows.

    Arguments:
        ordinary: The scores of ordinary rows.
        outlying: The scores of outliers.
    """
    ranked = np.sort(np.asarray(ordinary))
    below = np.searchsorted(ranked, outlying, side="left")
    equal = np.searchsorted(ranked, outlying, side="right") - below
    return float(1 - (below + equal / 2).mean() / len(ranked))


def _bootstrap(ours: list[Any], others: list[Any]) -> tuple[float, float]:
    """The 95 % interval of the mean difference of two areas, with the same rows for both."""
    rng, differences = np.random.default_rng(0), []
    for _ in range(BOOTSTRAPS):
        values = []
        for mine, other in zip(ours, others, strict=True):
            (a, b), (c, d) = map(np.asarray, mine), map(np.asarray, other)
            i, j = rng.integers(len(a), size=len(a)), rng.integers(len(b), size=len(b))
            values.append(area(a[i], b[j]) - area(c[i], d[j]))
        differences.append(np.mean(values))
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)


def _outcome(low: float, high: float) -> str:
    """The outcome of a difference with this interval."""
    return "wins" if low > 0 else "loses" if high < 0 else "ties"


def _counts(outcomes: list[str]) -> str:
    """The outcomes as a sentence."""
    counts = {word: outcomes.count(word) for word in ("wins", "ties", "loses")}
    numbers = ", ".join(f"{word} {count}" for word, count in counts.items())
    return f"Of {len(outcomes)}: {numbers}."
