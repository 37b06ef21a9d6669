"""How often the verdict on a training is right: healthy and broken runs with a known truth.

    python benchmarks/verdicts.py --cache FOLDER           # makes the runs, prints the table
    python benchmarks/verdicts.py --cache FOLDER --open    # the half that rules are chosen on

Every run learns rows of a known distribution, or one half of the digits, with a small network. The
oracle compares 1,000 samples of the finished model with fresh true rows by the sliced Wasserstein-1
distance over the mean absolute deviation of the truth (0 for true samples, 1 for a constant), and
the energies of training rows with those of fresh ones. With the rules it shares the spread of the
energies over the temperature, from the log. A run is

    broken    if it broke off, a sample or an energy is not finite, the distance is 0.4 or more, a
              fresh row has a higher energy than a training row with probability 0.8 or more, or the
              energies of training rows spread over 1,000 temperatures where walkers sample at a
              temperature of 0.5 or more (those of the true densities spread over 1 to 5);
    healthy   if the distance is below 0.25 and that probability below 0.65;
    between   otherwise; these are counted apart.

The name of a run decides by its hash whether it is in the open half or in the one held back, which
is evaluated once, after all rules are fixed. Each run is kept in the cache as facts: the rows of
its log, its trace, and the numbers of the oracle.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from boltzwalk.bases import FlowEnergy, Generator
from boltzwalk.data import Dataset, Digits, affine
from boltzwalk.data.in_memory import InMemory
from boltzwalk.data.toy import DENSITIES
from boltzwalk.diagnostics.verdict import verdict
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import HMC, MALA, ULA, noise_temperature
from boltzwalk.methods import (
    Contrastive,
    Cooperative,
    DataStart,
    ExactStart,
    Generalized,
    Jarzynski,
    MaximumLikelihood,
    NoiseStart,
    ReplayStart,
)
from boltzwalk.networks import DenseGenerator, Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.optimizers import SGD, Adam
from boltzwalk.settings.settings import Output, Settings
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import Trace, read_rows, read_trace
from boltzwalk.training.run import Run

BROKEN_DISTANCE, HEALTHY_DISTANCE = 0.4, 0.25
BROKEN_RANK, HEALTHY_RANK = 0.8, 0.65
SPREAD = 1000
FRESH, DIRECTIONS = 1000, 64


class Case(NamedTuple):
    """A run of the suite."""

    data: str
    method: str
    disease: str  # "none" for the usual settings
    updates: int
    seed: int

    @property
    def name(self) -> str:
        """Its name, whose hash decides the half."""
        return f"{self.data}-{self.method}-{self.disease}-{self.updates}-{self.seed}"

    @property
    def held_back(self) -> bool:
        """Whether it is in the half that no rule is chosen on."""
        return int(hashlib.sha256(self.name.encode()).hexdigest(), 16) % 2 == 1


# Data: n rows of a known distribution from a seed.


def _gaussian(n: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(77).normal(size=(5, 5))
    return np.random.default_rng(seed).normal(size=(n, 5)) @ root + 3


def _mixture(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0, 0, 0], [3, 3, 0, 0], [0, 3, -3, 1]])
    return centres[rng.choice(3, n, p=(0.5, 0.3, 0.2))] + 0.8 * rng.normal(size=(n, 4))


def _skewed(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.exp(0.5 * rng.normal(size=(n, 3))) + 0.3 * rng.normal(size=(n, 1))


def _line(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, 1)) < 0.3, -2.0, 1.0) + 0.7 * rng.normal(size=(n, 1))


def _wide(n: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(78).normal(size=(20, 20)) / 4
    return np.random.default_rng(seed).normal(size=(n, 20)) @ root


def _toy(name: str) -> Callable[[int, int], np.ndarray]:
    def draw(n: int, seed: int) -> np.ndarray:
        return DENSITIES[name].sample(n, torch.Generator().manual_seed(seed)).double().numpy()

    return draw


def _digits(n: int, seed: int) -> np.ndarray:
    """Rows of the digits: even seeds draw from one half of them, odd ones from the other."""
    loaded = Digits(split=(1.0, 0.0, 0.0)).load().train.flatten(1).double().numpy()
    half = np.random.default_rng(5).permutation(len(loaded))[seed % 2 :: 2]
    rng = np.random.default_rng(seed)
    return loaded[rng.permutation(half)[: min(n, len(half))]] + 0.03 * rng.normal(
        size=(min(n, len(half)), 64)
    )


DATA: dict[str, Callable[[int, int], np.ndarray]] = {
    **{name: _toy(name) for name in ("eight_gaussians", "rings", "two_moons", "checkerboard")},
    "gaussian": _gaussian,
    "mixture": _mixture,
    "skewed": _skewed,
    "line": _line,
    "wide": _wide,
    "digits": _digits,
}

# Methods: the usual settings of small runs.


def _persistent(kernel: MALA | HMC | ULA, steps: int = 10) -> Contrastive:
    start = ReplayStart(size=1000, restart_share=0.02, noise=NoiseStart("gaussian"))
    return Contrastive(start=start, kernel=kernel, steps=steps)


def _cooperative() -> Cooperative:
    network = DenseGenerator((32, 32), activation="silu", norm=False, output="none")
    return Cooperative(Generator(network, latent=4), ULA(0.1), steps=5, sigma=0.3, base_rate=3e-3)


def _generalized() -> Generalized:
    network = DenseGenerator((32, 32), activation="silu", norm=False, output="none")
    return Generalized(
        Generator(network, latent=4),
        gradient_penalty=0.3,
        first_energy_steps=20,
        log_partition_rate=1e-2,
        base_rate=1e-3,
        energy_steps=2,
        kernel=MALA(0.1),
        sample_steps=50,
    )


NETWORK = NetworkEnergy(Multilayer((32, 32)), reference_scale=1.5, zero_start=True)
FREE = NetworkEnergy(Multilayer((64, 64), activation="leaky_relu"))

METHODS: dict[str, tuple[Callable[[], Any], Any, float]] = {
    "pcd_mala": (lambda: _persistent(MALA(0.05)), NETWORK, 1e-2),
    "pcd_hmc": (lambda: _persistent(HMC(0.15, leapfrog_steps=3), 3), NETWORK, 1e-2),
    "pcd_ula": (lambda: _persistent(ULA(0.02)), NETWORK, 1e-2),
    "cd": (lambda: Contrastive(DataStart(), MALA(0.1), steps=15), NETWORK, 1e-2),
    "short_run": (
        lambda: Contrastive(
            NoiseStart("gaussian"),
            ULA(1.0, noise_temperature(1.0, 0.05)),
            steps=15,
            data_noise=0.1,
        ),
        FREE,
        1e-3,
    ),
    "jarzynski": (lambda: Jarzynski(ExactStart(500), ULA(0.02), steps=2), NETWORK, 1e-2),
    "cooperative": (_cooperative, NETWORK, 1e-3),
    "generalized": (_generalized, FREE, 1e-3),
    "likelihood": (lambda: MaximumLikelihood(), FlowEnergy(), 3e-3),
}

# Diseases: changes of the settings, of the rows, of batches, or of a run half-way.

RATES = {f"rate_{f:g}": f for f in (10, 100, 1000, 1e5, 1e-3)}
STEPS = {f"step_{f:g}": f for f in (30, 1e4, 1e-4)}
PLANTED = ("layer_100", "weights_noise", "moments_noise", "moments_lost", "rate_zero")
BATCHES = ("batch_nan", "batch_inf", "batch_1e6", "batch_identical", "batch_shifted")
ROWS = ("scale_255", "scale_1e-3", "offset_100", "constant_column", "few_rows", "copies", "outlier")
SETTINGS = ("one_step", "cold", "hot", "momentum", "overfitted", "narrow")


def rows_of(case: Case) -> Dataset:
    """The training data of a case, with its disease."""
    draw, disease = DATA[case.data], case.disease
    n = {"few_rows": 30, "overfitted": 60}.get(disease, 900)
    x = draw(n, 2 * case.seed + 2)
    whitening: Any = "standard"
    if disease in ("scale_255", "scale_1e-3", "offset_100"):
        whitening = "none"
        x = (x - x.mean(0)) / x.std(0)
        x = {"scale_255": 255 * x, "scale_1e-3": 1e-3 * x, "offset_100": x + 100}[disease]
    if disease == "constant_column":
        x = np.concatenate([x, np.full((len(x), 1), 2.0)], 1)
    if disease == "copies":
        x = np.repeat(x[:4], len(x) // 4, 0)
    if disease == "outlier":
        x[::50] *= 1e4
    data = Dataset.of(x, whitening=whitening, split=(0.7, 0.15, 0.15), seed=case.seed)
    if disease == "overfitted":  # whitened by the covariance of too few rows
        u, s, v = np.linalg.svd(data.train.double().numpy(), full_matrices=False)
        map_ = torch.tensor(v.T / np.maximum(s, 1e-3) * math.sqrt(len(u))).float()
        parts = {k: getattr(data, k) @ map_ for k in ("train", "validation", "test")}
        data = dataclasses.replace(data, **parts)
    return data


def settings_of(case: Case, data: Dataset) -> Settings:
    """The settings of a case, with its disease."""
    make, energy, rate = METHODS[case.method]
    method, disease = make(), case.disease
    beta1 = 0.5 if case.method in ("cooperative", "generalized") else 0.9
    optimizer: Any = Adam(rate * RATES.get(disease, 1.0), beta1=beta1)
    kernel = method.kernel
    if disease in STEPS:
        kernel = dataclasses.replace(kernel, step_size=kernel.step_size * STEPS[disease])
    if disease in ("cold", "hot"):
        factor = 1e-4 if disease == "cold" else 1e2
        kernel = dataclasses.replace(kernel, temperature=kernel.temperature * factor)
    if kernel != method.kernel:
        method = dataclasses.replace(method, kernel=kernel)
    if disease == "one_step":
        method = dataclasses.replace(method, steps=1)
    if disease == "momentum":
        optimizer = SGD(1.0, momentum=0.99)
    if disease == "narrow":
        energy = dataclasses.replace(energy, network=Multilayer((1,)))
    source = InMemory(data.digest, 0, data.whitening)
    output = Output(log_every=10, save_every=10**9, picture_every=0, pictures=False, events=False)
    batch = min(64, len(data.train))
    return Settings(
        data=source, energy=energy, method=method, optimizer=optimizer, updates=case.updates,
        batch=batch, threads=1, device="cpu", seed=case.seed, output=output, guard="off",
    )  # fmt: skip


@torch.no_grad()
def plant(run: Run, disease: str) -> None:
    """Damages a run half-way."""
    rng = torch.Generator().manual_seed(3)
    weights = [p for p in run.energy.parameters() if p.ndim > 1]
    if disease == "layer_100":
        weights[0].mul_(100)
    if disease == "weights_noise":
        for weight in run.energy.parameters():
            weight.add_(torch.randn(weight.shape, generator=rng))
    for group in run.optimizer.param_groups if disease == "rate_zero" else ():
        group["initial_rate"] = 0.0
    for state in run.optimizer.state.values():
        if disease == "moments_lost":
            state["exp_avg_sq"].zero_()
        if disease == "moments_noise":
            state["exp_avg"].copy_(1e3 * torch.randn(state["exp_avg"].shape, generator=rng))


def spoilt(x: Tensor, disease: str) -> Tensor:
    """A batch with its disease."""
    x = x.clone()
    if disease in ("batch_nan", "batch_inf", "batch_1e6"):
        x[len(x) // 2, -1] = {"batch_nan": math.nan, "batch_inf": math.inf}.get(disease, 1e6)
    elif disease == "batch_identical":
        x[:] = x[:1].clone()
    elif disease == "batch_shifted":
        x += 5
    return x


def make(case: Case) -> dict[str, Any]:
    """Trains a case and returns its facts."""
    began, data = time.process_time(), rows_of(case)
    settings, half = settings_of(case, data), case.updates // 2
    done, failure, sound = 0, "", Dataset.batch

    def batch(self: Dataset, n: int, rng: torch.Generator) -> Tensor:
        x = sound(self, n, rng)
        once = case.disease in ("batch_nan", "batch_inf", "batch_1e6") and done != half
        return x if case.disease not in BATCHES or done < half or once else spoilt(x, case.disease)

    facts: dict[str, Any] = {"distance": math.inf, "rank": math.nan}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            Dataset.batch = batch  # type: ignore[method-assign]
            for progress in execute(settings, folder, dataset=data, events=False):
                done, run = progress.update, progress.run
                if done == half and case.disease in PLANTED:
                    plant(run, case.disease)
            facts |= judge(case, run)
        except FloatingPointError as error:
            failure = str(error).partition(". Nothing was")[0]
        finally:
            Dataset.batch = sound  # type: ignore[method-assign]
        rows, trace = read_rows(folder / "log.jsonl"), read_trace(folder)
    columns = {
        name: [float(f"{v:.4g}") for v in values] for name, values in trace._asdict().items()
    }
    rows = [{k: float(f"{v:.5g}") for k, v in row.items()} for row in rows]
    facts |= {"failure": failure, "rows": rows, "trace": columns}
    return facts | {"seconds": round(time.process_time() - began, 2)}


@torch.no_grad()
def judge(case: Case, run: Run) -> dict[str, float]:
    """The oracle: distance of samples to fresh rows, rank of the energies of fresh rows."""
    model = run.judged_on(run.dataset)
    x = model.draw(model.available(FRESH), generator(99, "oracle", 0)).x
    samples = model.data.to_original(x).double().flatten(1).numpy()
    fresh = DATA[case.data](FRESH, 2 * (case.seed + 1000) + 1)
    disease = case.disease
    if disease in ("scale_255", "scale_1e-3", "offset_100"):
        sample = DATA[case.data](900, 2 * case.seed + 2)
        fresh = (fresh - sample.mean(0)) / sample.std(0)
        fresh = {"scale_255": 255 * fresh, "scale_1e-3": 1e-3 * fresh, "offset_100": fresh + 100}[
            disease
        ]
    if disease == "constant_column":
        fresh = np.concatenate([fresh, np.full((len(fresh), 1), 2.0)], 1)
    rows = affine.to_model(torch.tensor(fresh), model.data.shift, model.data.scale)
    if disease == "overfitted":
        clean = Dataset.of(
            DATA[case.data](60, 2 * case.seed + 2), whitening="standard", split=(0.7, 0.15, 0.15),
            seed=case.seed,
        )  # fmt: skip
        u, s, v = np.linalg.svd(clean.train.double().numpy(), full_matrices=False)
        rows = affine.to_model(torch.tensor(fresh), clean.shift, clean.scale).double()
        rows = (rows @ torch.tensor(v.T / np.maximum(s, 1e-3) * math.sqrt(len(u)))).float()
        samples, fresh = x.double().flatten(1).numpy(), rows.double().numpy()
    if not np.isfinite(samples).all():
        return {"distance": math.inf, "rank": math.nan}
    result = {"distance": sliced_distance(samples, fresh), "rank": 0.5}
    u, v = (model.module(part).double().numpy() for part in (run.dataset.train, rows.float()))
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        return result | {"rank": math.inf}
    result["rank"] = float((v[:, None] > u).mean() + (v[:, None] == u).mean() / 2)
    return result


def sliced_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Sliced W1 of two samples over the mean absolute deviation of the second, column by column."""
    spread = y.std(0)
    shift, scale = y.mean(0), np.where(spread > 1e-9 * np.abs(y).max(), spread, 1.0)
    x, y = (x - shift) / scale, (y - shift) / scale
    directions = np.random.default_rng(0).normal(size=(y.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    levels = (np.arange(500) + 0.5) / 500
    a, b = (np.quantile(part @ directions, levels, axis=0) for part in (x, y))
    return float(np.abs(a - b).mean() / np.abs(b - b.mean(0)).mean())


def truth(facts: dict[str, Any]) -> str:
    """The answer of the oracle: healthy, broken or between."""
    distance, rank = facts["distance"], facts["rank"]
    last = facts["rows"][-1] if facts["rows"] else {}
    temperature = last.get("temperature", 0.0)
    if temperature >= 0.5 and last.get("energy_spread", 0.0) > SPREAD * temperature:
        return "broken"
    if facts["failure"] or not distance < BROKEN_DISTANCE or not rank < BROKEN_RANK:
        return "broken"
    return "healthy" if distance < HEALTHY_DISTANCE and rank < HEALTHY_RANK else "between"


def cases() -> Iterator[Case]:
    """All cases, usual settings and diseases in turn."""
    plane = ("eight_gaussians", "rings", "two_moons", "checkerboard")
    tables = ("gaussian", "mixture", "skewed", "line", "wide")
    for seed in range(2):
        for i, data in enumerate((*plane, *tables, "digits")):
            for j, method in enumerate(METHODS):
                if data == "line" and method in ("likelihood", "cooperative", "generalized"):
                    continue
                if data == "digits" and method not in ("short_run", "pcd_ula", "cooperative"):
                    continue
                slow = method in ("cooperative", "generalized")
                yield Case(
                    data, method, "none", (150, 200, 300, 400)[3 if slow else (i + j) % 3], seed
                )
                if (i + j + seed) % 4 == 0:
                    yield Case(data, method, "none", (15, 50, 90)[(i + j) % 3], seed)
    strong = (*RATES, *STEPS, "batch_1e6", "batch_identical", "scale_255", "overfitted", "few_rows")
    names = (*plane, *tables)
    for i, disease in enumerate((*RATES, *STEPS, *PLANTED, *BATCHES, *ROWS, *SETTINGS)):
        for j, method in enumerate(METHODS):
            for seed in range(2 if disease in strong else 1):
                data = names[(2 * i + j + 4 * seed) % len(names)]
                if possible(Case(data, method, disease, 150, seed)):
                    yield Case(data, method, disease, (200, 150, 120)[(i + j + seed) % 3], seed)


def possible(case: Case) -> bool:
    """Whether a disease exists for a method and data."""
    method, disease = METHODS[case.method][0](), case.disease
    if case.data == "line" and case.method in ("likelihood", "cooperative", "generalized"):
        return False
    walks = case.method not in ("likelihood", "generalized")
    if disease in (*STEPS, "cold", "hot", "one_step") and not walks:
        return False
    if disease in ("cold", "hot") and case.method == "cooperative":
        return False
    if disease == "one_step" and method.steps <= 2:
        return False
    if disease == "narrow" and case.method == "likelihood":
        return False
    return not (disease == "constant_column" and case.method == "likelihood")


def stored(case: Case, cache: Path) -> dict[str, Any] | None:
    """The facts of a case in the cache."""
    path = cache / f"{case.name}.json.gz"
    return json.loads(gzip.decompress(path.read_bytes())) if path.is_file() else None


def answer(facts: dict[str, Any]) -> tuple[str, str]:
    """The label of the verdict, and its reason."""
    trace = Trace(*(np.array(facts["trace"][name], dtype=float) for name in Trace._fields))
    result = verdict(facts["rows"], trace, facts["failure"])
    return result.label, result.reason


def table(chosen: list[tuple[Case, dict[str, Any]]], title: str, detail: bool) -> None:
    """Prints the confusion table of cases."""
    counts: Counter[tuple[str, str]] = Counter()
    for case, facts in chosen:
        label, reason = answer(facts)
        side = {"healthy": "healthy", "too short to say": "too short", "unknown": "unknown"}
        called = side.get(label, "broken")
        counts[truth(facts), called] += 1
        wrong = (truth(facts), called) in (("healthy", "broken"), ("broken", "healthy"))
        if wrong and detail:
            print(f"{case.name}: {facts['distance']:.3f} {facts['rank']:.2f} {label}: {reason}")
    print(f"\n{title}: {len(chosen)} runs\n")
    print("| oracle | runs | called healthy | called broken | too short to say | unknown |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in ("healthy", "broken", "between"):
        cells = [counts[row, column] for column in ("healthy", "broken", "too short", "unknown")]
        print(f"| {row} | {sum(cells)} | {' | '.join(map(str, cells))} |")


def main() -> None:
    """Makes the runs that the cache lacks, and prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--open", action="store_true", help="only the half for choosing rules")
    parser.add_argument("--make", action="store_true", help="make runs, print no table")
    parser.add_argument("--skip", action="store_true", help="make no runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    every = sorted(cases(), key=lambda case: hashlib.sha256(case.name[::-1].encode()).hexdigest())
    for case in () if options.skip else every:
        if stored(case, options.cache) is None:
            facts = make(case)
            path = options.cache / f"{case.name}.json.gz"
            path.write_bytes(gzip.compress(json.dumps(facts).encode()))
            print(f"{case.name} {facts['seconds']:.1f} s", flush=True)
    if options.make:
        return
    known = [(case, facts) for case in every if (facts := stored(case, options.cache))]
    table([(c, f) for c, f in known if not c.held_back], "open half", detail=True)
    if not options.open:
        table([(c, f) for c, f in known if c.held_back], "held-back half", detail=False)


if __name__ == "__main__":
    main()
