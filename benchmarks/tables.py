"""Likelihood and anomaly scores of `boltzwalk train my.csv` against other libraries.

    python benchmarks/tables.py --data ../data --cache ~/.cache/boltzwalk_tables

fits every model to every table of `table_sets.py` with the same splits, keeps each result as a JSON
file in the cache, and prints the tables of `docs/table_model.md`. The same command again goes on
where it stopped. `--fit rivals` or `--fit boltzwalk` fits one part only.

Likelihoods are nats a test row, of columns of unit variance. A difference of two models is the mean
over test rows of all splits, with the interval of these paired differences; areas under the ROC
curve are paired by a bootstrap of rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table_report import print_report
from table_rivals import DENSITIES, DETECTORS, LogDensity
from table_sets import OUTLIERS, TABLES, Rows, load_rows, outliers, split

SEEDS = (0, 1, 2)
PLANTED = 200
"""Outliers of each kind, at most as many as training rows."""

HELD_OUT_CLASS = {"iris": None, "wine": None, "digits": None, "voices": 0, "breast cancer": 0}
"""The class that is the anomaly; None for the one with the number of the seed."""


def boltzwalk_model(train: np.ndarray, validation: np.ndarray) -> tuple[LogDensity, str]:
    """The recipe `table`, as `boltzwalk train my.csv` runs it, with this split."""
    from boltzwalk.data import Dataset, affine
    from boltzwalk.data.whitening import fit_whitening
    from boltzwalk.recipes.lookup import resolved_settings
    from boltzwalk.training.execute import execute
    from boltzwalk.training.run import open_model

    settings = resolved_settings("table", ["threads=1", "output.pictures=false"])
    rows = torch.from_numpy(train)
    columns = tuple(f"column{i}" for i in range(train.shape[1]))
    shift, scale = fit_whitening(rows, settings.data.whitening, columns)
    parts = [
        affine.to_model(torch.from_numpy(p), shift, scale).float() for p in (train, validation)
    ]
    data = Dataset(*parts, parts[0][:0], columns=columns, shift=shift, scale=scale)
    with tempfile.TemporaryDirectory() as folder:
        for _ in execute(settings, Path(folder) / "run", dataset=data, events=False):
            pass
        model = open_model(Path(folder) / "run")
    log_z = model.log_z()
    how = f"update {model.update}; log Z {log_z.estimate:.3f} ± {log_z.half_width:.3f}"

    def log_density(x: np.ndarray) -> np.ndarray:
        return model.log_prob(torch.from_numpy(x)).double().cpu().numpy()

    return log_density, how


def density_job(fit: Callable[..., Any], rows: Rows, seed: int) -> dict[str, Any]:
    """Returns the log densities of test rows and of planted outliers."""
    train, validation, test = (rows.x[part] for part in split(rows, seed))
    began, began_cpu = time.monotonic(), time.process_time()
    log_density, choice = fit(train, validation)
    seconds = time.monotonic() - began
    result = {"log_p": log_density(test), "planted": _planted(log_density, train, seed)}
    if rows.log_density is not None:
        result["truth"] = rows.log_density(test)
    cpu = time.process_time() - began_cpu
    return result | {"choice": choice, "seconds": seconds, "cpu_seconds": cpu}


def detector_job(fit: Callable[..., Any], rows: Rows, seed: int) -> dict[str, Any]:
    """Returns the scores of test rows and of planted outliers by a detector."""
    train, validation, test = (rows.x[part] for part in split(rows, seed))
    score = fit(np.concatenate([train, validation]))
    return {"log_p": score(test), "planted": _planted(score, train, seed), "choice": ""}


def class_job(fit: Callable[..., Any], rows: Rows, seed: int, name: str) -> dict[str, Any]:
    """Returns the scores of rows of the learnt classes, and of the class that was left out."""
    assert rows.classes is not None
    train, validation, test = split(rows, seed)
    chosen = HELD_OUT_CLASS[name]
    left_out = np.unique(rows.classes)[seed] if chosen is None else chosen
    known = [rows.x[part[rows.classes[part] != left_out]] for part in (train, validation, test)]
    if fit in DETECTORS.values():
        score = fit(np.concatenate(known[:2]))
    else:
        score, _ = fit(*known[:2])
    outside = rows.x[test[rows.classes[test] == left_out]]
    return {"log_p": score(known[2]), "class": score(outside), "choice": ""}


def _planted(score: LogDensity, train: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    planted, n = {}, min(PLANTED, len(train))
    for number, kind in enumerate(OUTLIERS):
        rng = np.random.default_rng((seed, number))
        planted[kind] = score(outliers(kind, train, n, rng))
    return planted


def run_jobs(
    names: list[str], seeds: list[int], fit: str, data: Path, cache: Path, version: str
) -> None:
    """Fits all models whose result is not in the cache."""
    densities: dict[str, Any] = {} if fit == "boltzwalk" else dict(DENSITIES)
    detectors: dict[str, Any] = {} if fit == "boltzwalk" else dict(DETECTORS)
    if fit != "rivals":
        densities["boltzwalk"] = boltzwalk_model
    for seed in seeds:
        for name in names:
            rows = load_rows(name, data)
            jobs = {(m, "density"): (f, density_job) for m, f in densities.items()}
            jobs |= {(m, "density"): (f, detector_job) for m, f in detectors.items()}
            for (model, part), (function, job) in jobs.items():
                of = version if model == "boltzwalk" else ""
                path = result_path(cache, name, seed, model, part, of)
                _cached(path, lambda j=job, f=function, r=rows, s=seed: j(f, r, s))
                if name in HELD_OUT_CLASS and (model in detectors or model == "boltzwalk"):
                    path = result_path(cache, name, seed, model, "class", of)
                    _cached(path, lambda f=function, r=rows, s=seed, n=name: class_job(f, r, s, n))


def result_path(cache: Path, name: str, seed: int, model: str, part: str, version: str) -> Path:
    """Returns the file of a result."""
    text = f"{name} {seed} {model} {part} {version}".strip().replace(":", "").replace(" ", "_")
    return cache / f"{text}.json"


def _cached(path: Path, job: Callable[[], dict[str, Any]]) -> None:
    if path.exists():
        return
    began = time.monotonic()
    result = job()
    text = json.dumps(result, default=lambda array: np.round(array, 5).tolist())
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(text)
    partial.rename(path)
    mean = float(np.mean(result["log_p"]))
    print(
        f"{path.stem}: {mean:.3f} in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True
    )


def recipe_version() -> str:
    """Returns a digest of the settings of the recipe: other settings give other results."""
    from boltzwalk.recipes.starters import table
    from boltzwalk.settings.settings import to_yaml

    return hashlib.sha256(to_yaml(table()).encode()).hexdigest()[:8]


def main() -> None:
    """Fits, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("BOLTZWALK_DATA", "data")))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "boltzwalk_tables")
    parser.add_argument("--fit", choices=("all", "rivals", "boltzwalk", "none"), default="all")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("tables", nargs="*", default=list(TABLES))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    version = recipe_version()
    if given.fit != "none":
        run_jobs(given.tables, given.seeds, given.fit, given.data, given.cache, version)
    if given.fit in ("all", "none"):
        print_report(given.tables, given.seeds, given.cache, version, result_path)


if __name__ == "__main__":
    main()
