"""The tables of `tables.py` as markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

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

    def results(name: str, model: str, part: str) -> list[dict[str, Any]]:
        of = version if model == OURS else ""
        paths = [path_of(cache, name, seed, model, part, of) for seed in seeds]
        return [json.loads(path.read_text()) for path in paths if path.exists()]

    _print_likelihoods(names, results)
    _print_anomalies(names, results)


def _print_likelihoods(names: Sequence[str], results: Callable[..., list[dict[str, Any]]]) -> None:
    print(f"| | {' | '.join(RIVALS)} | {OURS} | truth | minus the best other | | seconds |")
    print(f"|---|{'---:|' * (len(RIVALS) + 3)}---|---:|")
    outcomes = []
    for name in names:
        ours, means, rows = results(name, OURS, "density"), {}, {}
        for model in RIVALS:
            runs = results(name, model, "density")[: len(ours)]
            if ours and len(runs) == len(ours):
                rows[model] = np.concatenate([run["log_p"] for run in runs])
                means[model] = rows[model].mean()
        if not means:
            continue
        mine = np.concatenate([run["log_p"] for run in ours])
        best = max(means, key=lambda model: means[model])
        difference = mine - rows[best]
        half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
        outcome = _outcome(difference.mean(), half)
        outcomes.append(outcome)
        truth = (
            "" if "truth" not in ours[0] else f"{np.mean([np.mean(r['truth']) for r in ours]):.2f}"
        )
        numbers = [f"{means[m]:.2f}" if m in means else "" for m in RIVALS]
        seconds = np.mean([run["cpu_seconds"] for run in ours])
        print(
            f"| {name} | {' | '.join(numbers)} | **{mine.mean():.2f}** | {truth} | "
            f"{difference.mean():+.2f} ± {half:.2f} ({best}) | {outcome} | {seconds:.0f} |"
        )
    print(f"\n{_counts(outcomes)}\n")


def _print_anomalies(names: Sequence[str], results: Callable[..., list[dict[str, Any]]]) -> None:
    print(f"| | outliers | {' | '.join(DETECTORS)} | {OURS} | minus the best other | |")
    print(f"|---|---|{'---:|' * (len(DETECTORS) + 2)}---|")
    outcomes = []
    for name in names:
        kinds = [("planted", kind) for kind in ("scattered", "shuffled", "cluster", "spikes")]
        for source, kind in [*kinds, ("class", "a class")]:
            part = "class" if source == "class" else "density"
            runs = {model: results(name, model, part) for model in (*DETECTORS, OURS)}
            count = min(len(r) for r in runs.values())
            if not count:
                continue
            pairs = {
                model: [
                    (
                        np.array(r["log_p"]),
                        np.array(r["class"] if part == "class" else r[source][kind]),
                    )
                    for r in runs_of_model[:count]
                ]
                for model, runs_of_model in runs.items()
            }
            areas = {
                model: np.mean([_area(*p) for p in runs_of_model])
                for model, runs_of_model in pairs.items()
            }
            best = max(DETECTORS, key=lambda model: areas[model])
            low, high = _bootstrap(pairs[OURS], pairs[best])
            middle = areas[OURS] - areas[best]
            outcome = "wins" if low > 0 else "loses" if high < 0 else "ties"
            outcomes.append(outcome)
            numbers = " | ".join(f"{areas[m]:.3f}" for m in DETECTORS)
            print(
                f"| {name} | {kind} | {numbers} | **{areas[OURS]:.3f}** | {middle:+.3f} "
                f"[{low:+.3f}, {high:+.3f}] ({best}) | {outcome} |"
            )
    print(f"\n{_counts(outcomes)}")


def _area(ordinary: np.ndarray, outlying: np.ndarray) -> float:
    """The area under the ROC curve, of scores that are higher for ordinary rows."""
    labels = np.concatenate([np.zeros(len(ordinary)), np.ones(len(outlying))])
    return float(roc_auc_score(labels, -np.concatenate([ordinary, outlying])))


def _bootstrap(ours: list[Any], others: list[Any]) -> tuple[float, float]:
    """The 95 % interval of the mean difference of two areas, with the same rows for both."""
    rng, differences = np.random.default_rng(0), []
    for _ in range(BOOTSTRAPS):
        values = []
        for (a, b), (c, d) in zip(ours, others, strict=True):
            i, j = rng.integers(len(a), size=len(a)), rng.integers(len(b), size=len(b))
            values.append(_area(a[i], b[j]) - _area(c[i], d[j]))
        differences.append(np.mean(values))
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)


def _outcome(difference: float, half: float) -> str:
    if difference > half:
        return "wins"
    return "ties" if difference >= -half else "loses"


def _counts(outcomes: list[str]) -> str:
    """The outcomes as a sentence."""
    counts = {word: outcomes.count(word) for word in ("wins", "ties", "loses")}
    numbers = ", ".join(f"{word} {count}" for word, count in counts.items())
    return f"Of {len(outcomes)}: {numbers}."
