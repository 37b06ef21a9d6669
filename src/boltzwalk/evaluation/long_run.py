r"""Chains that run longer than in training: whether a model is a density or a short-run sampler.

Chains start from held-out data and from noise that is uniform over the range of the data, and are
compared with the data after :math:`10^2, 2 \cdot 10^2, 5 \cdot 10^2, \dots, 10^5` steps of the
sampler of training. A model whose chains stay near the data is a density; a model that is good only
after the steps of training is a sampler of fixed length, and its energy means little.

The rule. Let q be the Fréchet distance of the chains to held-out data, and b that of as many
samples drawn as in training, or the largest of ten draws of training data if that is larger: with
few chains and few columns the distance of perfect samples scatters by more than a factor of two.
After S steps from data

* *short-run only*: q exceeds 2 b, or the share of entries out of the range of the data exceeds
  that of the samples by 0.05;
* *convergent*: S is at least 10,000 and at least ten times the steps of training, q is at most
  1.5 b, over the last half of the steps the mean energy changed by less than half of its spread,
  and q is at most b or did not grow by 15 % at each of the last three checkpoints; chains from
  noise are as near to the data, and R-hat of the energies of both starts is at most 1.1;
* *undecided* otherwise.

Not guaranteed: that a convergent model has the right masses of its modes. Chains from data keep the
masses of the data as long as they do not cross, and those of noise may have the same by chance:
:mod:`boltzwalk.evaluation.masses` asks the energy.

References:
    | On the anatomy of MCMC-based maximum likelihood learning of energy-based models
    | (Nijkamp, Hill, Han, Zhu, Wu, 2020), https://arxiv.org/abs/1903.12370
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..checkpoint import load_checkpoint, save_checkpoint
from ..kernels.chain import out_of_range
from ..metrics.chains import bulk_effective_sample_size, r_hat
from ..model import Model
from ..rng import generator
from ..walkers import Walkers, walkers_at

__all__ = ["ChainLabel", "LongRun", "checkpoint_steps", "label_chains", "run_long"]

CONVERGENT, SHORT_RUN, UNDECIDED = "convergent", "short-run only", "undecided"

MIN_STEPS = 10_000
"""Steps before a model may be called convergent."""

SHORT_RUN_RATIO, CONVERGENT_RATIO = 2.0, 1.5
"""Ratios to the distance of samples drawn as in training, for the two labels."""

MAX_R_HAT = 1.1
"""R-hat of a convergent model: 1.00 where chains of both starts agree, 1.5 where they are apart."""

MAX_OUT_OF_RANGE = 0.05
MAX_DRIFT = 0.5

GROWTH, GROWING_CHECKPOINTS = 1.15, 4
"""Growth of the distance between checkpoints, and their number, that show a drift: 1.19, 1.22 and
1.28 where the chains of an MNIST model got worse all the time. The distance of perfect samples
scatters by more than that, but not upwards three times in a row."""
BASELINE_DRAWS = 10
MIXING_DRAWS = 20
"""Draws of the chains between two checkpoints, from which R-hat is computed."""


class ChainLabel(NamedTuple):
    """The label of a model, and the reason for it."""

    label: str
    reason: str


@dataclass(frozen=True)
class LongRun:
    """The length of the chains.

    Arguments:
        seconds: The time that the chains may take.
        steps: The largest number of steps.
        chains: The number of chains from data, and of chains from noise.
        report: A function that receives the progress as text.
    """

    seconds: float = 60.0
    steps: int = 100_000
    chains: int = 128
    report: Callable[[str], None] = field(default=lambda text: None, compare=False)

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.steps >= 1 and self.chains >= 4):
            raise ValueError(
                "seconds must be > 0, steps >= 1 and chains >= 4, got "
                f"{self.seconds:g}, {self.steps} and {self.chains}"
            )


def checkpoint_steps(steps: int) -> Iterator[int]:
    """Yields the numbers of steps at which the chains are compared with the data.

    Arguments:
        steps: The largest of them.

    Example:
        >>> list(checkpoint_steps(1500))
        [100, 200, 500, 1000, 1500]
    """
    scale = 100
    while scale < steps:
        yield from (factor * scale for factor in (1, 2, 5) if factor * scale < steps)
        scale *= 10
    yield steps


def run_long(
    model: Model,
    distance: Callable[[Tensor], float],
    path: Path,
    effort: LongRun,
    seed: int = 0,
) -> dict[str, Any]:
    """Runs the chains on, from where an earlier call left them, and returns their statistics.

    Arguments:
        model: The model.
        distance: The distance of samples, shape (N, *event), to held-out data.
        path: The safetensors file of the chains. Those of another model start anew.
        effort: The length of the chains. A later call with more time goes on.
        seed: The seed of the noise.

    Returns:
        "rows", one for each checkpoint and start; "base", the distance of samples as in training;
        "label" and "reason"; "r_hat" and "ess" of the energies between the last two checkpoints;
        "steps"
        and "pace", the seconds of one of them.

    Raises:
        ValueError: If the walkers of the model are latent variables, which data do not determine.
    """
    if model.method.latent:
        raise ValueError(
            "chains of a generalized model move latent variables, and those of data are unknown; "
            "draw samples with more --steps to follow them"
        )
    key = f"{model.digest}/{effort.chains}/{seed}"
    x, past = _read_chains(path, key) or _initial_chains(model, distance, effort.chains, seed)
    x = x.to(model.data.train.device)
    began = time.monotonic()
    for goal in checkpoint_steps(effort.steps):
        steps = goal - past["steps"]
        left = effort.seconds - (time.monotonic() - began)
        if steps <= 0 or not bool(x.isfinite().all()):
            continue
        if left <= steps * past["pace"]:
            break
        since = time.monotonic()
        # Evaluated anew, as they are by a call that goes on: the numbers are the same then.
        chains = walkers_at(model.module, x)
        rng = generator(seed, "long run", goal, x.device)
        chains, energies = _move_chains(model, chains, steps, rng)
        x = chains.x
        past["pace"] = (time.monotonic() - since) / steps
        past["rows"] += [
            {"start": start, "steps": goal, **_chain_statistics(model, distance, half)}
            for start, half in _by_start(chains)
        ]
        past |= {"steps": goal, **_mixing(energies)}
        if bool(x.isfinite().all()):
            save_checkpoint(path, {"x": x}, {"key": key, "past": json.dumps(past)})
        effort.report(f"long chains: {goal:,} of {effort.steps:,} steps")
    return past | label_chains(past, model.method.steps)._asdict()


def label_chains(past: dict[str, Any], training_steps: int) -> ChainLabel:
    """Returns the label of a model, by the rule above.

    Arguments:
        past: "rows", "base", "base_out_of_range" and "r_hat" as `run_long` returns them.
        training_steps: The steps of a chain in training.

    Example:
        >>> row = {"start": "data", "distance": 1.0, "out_of_range": 0.0, "energy_spread": 1.0}
        >>> rows = [row | {"steps": s, "energy": 3.0} for s in (5000, 10_000)]
        >>> past = {"base": 1.0, "base_out_of_range": 0.0, "r_hat": 1.0}
        >>> label_chains({**past, "rows": [*rows, row | {"start": "noise"}]}, 50).label
        'convergent'
    """
    rows = [row for row in past["rows"] if row["start"] == "data"]
    if not rows:
        return ChainLabel(UNDECIDED, "no chain has run yet")
    last, base = rows[-1], past["base"]
    steps, distance = last["steps"], last["distance"]
    if not math.isfinite(distance + last["energy"]):
        return ChainLabel(SHORT_RUN, f"chains from data left for infinity within {steps:,} steps")
    summary = f"after {steps:,} steps from data the distance to held-out data is {distance:.3g}"
    against = f"samples drawn as in training have {base:.3g}"
    if distance > SHORT_RUN_RATIO * base:
        return ChainLabel(
            SHORT_RUN, f"{summary}, more than {SHORT_RUN_RATIO:g} times as much: {against}"
        )
    beyond, usual = last["out_of_range"], past["base_out_of_range"]
    if beyond > usual + MAX_OUT_OF_RANGE:
        return ChainLabel(
            SHORT_RUN,
            f"after {steps:,} steps from data {beyond:.0%} of the entries are out of the range of "
            f"the data; of samples drawn as in training {usual:.0%}",
        )
    needed = max(MIN_STEPS, 10 * training_steps)
    if steps < needed:
        return ChainLabel(
            UNDECIDED,
            f"{summary} ({against}), but {needed:,} steps are needed: give it more seconds",
        )
    if distance > CONVERGENT_RATIO * base:
        return ChainLabel(
            UNDECIDED,
            f"{summary}, between {CONVERGENT_RATIO:g} and {SHORT_RUN_RATIO:g} times: {against}",
        )
    before = [row for row in rows if row["steps"] <= steps / 2][-1]
    change = abs(last["energy"] - before["energy"])
    if change > MAX_DRIFT * last["energy_spread"]:
        return ChainLabel(
            UNDECIDED,
            f"{summary} ({against}), but their mean energy still moved by {change:.3g} between "
            f"{before['steps']:,} and {steps:,} steps; its spread is {last['energy_spread']:.3g}",
        )
    recent = [row["distance"] for row in rows[-GROWING_CHECKPOINTS:]]
    grows = all(b > GROWTH * a for a, b in pairwise(recent))
    if len(recent) == GROWING_CHECKPOINTS and grows and distance > base:
        listed = ", ".join(f"{value:.3g}" for value in recent)
        return ChainLabel(
            UNDECIDED, f"{summary} ({against}), and grows from checkpoint to checkpoint: {listed}"
        )
    return _agreement_with_noise(past, summary, against)


def _agreement_with_noise(past: dict[str, Any], summary: str, against: str) -> ChainLabel:
    """The label of chains from data that have settled, by those from noise."""
    base = past["base"]
    r_hat_value = past.get("r_hat", math.nan)
    noise = [row for row in past["rows"] if row["start"] == "noise"]
    far = noise[-1]["distance"] if noise else math.nan
    parts = []
    if not far <= CONVERGENT_RATIO * base:
        parts.append(f"chains from noise have {far:.3g} (limit {CONVERGENT_RATIO * base:.3g})")
    if not r_hat_value <= MAX_R_HAT:
        parts.append(f"R-hat of their energies is {r_hat_value:.3g} (limit {MAX_R_HAT:g})")
    if parts:
        apart = " and ".join(parts)
        return ChainLabel(UNDECIDED, f"not convergent: {summary} ({against}), but {apart}")
    return ChainLabel(
        CONVERGENT, f"{summary}; {against}; distance and energy have settled, and starts agree"
    )


def _initial_chains(
    model: Model, distance: Callable[[Tensor], float], n: int, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Initial chains (data, then noise) and their reference."""
    data, device = model.data, model.data.train.device
    rng = generator(seed, "long run", 0, device)
    rows = data.test_rows()[0]
    rows = rows[torch.arange(n, device=device) * len(rows) // n]
    samples = model.draw(model.available(n), rng).x
    base = [distance(samples)] if bool(samples.isfinite().all()) else []
    for _ in range(BASELINE_DRAWS):
        chosen = torch.randperm(len(data.train), generator=rng, device=device)[:n]
        base.append(distance(data.dequantised(data.train[chosen], rng)))
    return torch.cat([rows, data.noise(n, rng)]), {
        "rows": [],
        "steps": 0,
        "pace": 0.0,
        "base": max(base),
        "base_out_of_range": float(out_of_range(data.train, samples)),
        "r_hat": math.nan,
        "ess": math.nan,
    }


def _read_chains(path: Path, key: str) -> tuple[Tensor, dict[str, Any]] | None:
    """The chains of an earlier call; None without any, or where they are of another model."""
    if not path.is_file():
        return None
    try:
        tensors, text = load_checkpoint(path)
        return (tensors["x"], json.loads(text["past"])) if text.get("key") == key else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # damaged: they start anew


def _move_chains(
    model: Model, chains: Walkers, steps: int, rng: torch.Generator
) -> tuple[Walkers, Float[Tensor, "chains draws"]]:
    """The chains after more steps, and their energies at regular intervals."""
    draws = min(MIXING_DRAWS, steps)
    energies = []
    for i in range(draws):
        chains = model.move(chains, steps * (i + 1) // draws - steps * i // draws, rng)
        energies.append(chains.energy)
    return chains, torch.stack(energies, 1)


def _by_start(chains: Walkers) -> list[tuple[str, Walkers]]:
    half = len(chains) // 2
    return [("data", chains[:half]), ("noise", chains[half:])]


def _chain_statistics(
    model: Model, distance: Callable[[Tensor], float], chains: Walkers
) -> dict[str, float]:
    """The distance, energy, gradient and range of the chains of one start."""
    finite = bool(chains.x.isfinite().all())
    return {
        "distance": distance(chains.x) if finite else math.nan,
        "energy": float(chains.energy.mean()),
        "energy_spread": float(chains.energy.std()),
        "gradient": float(chains.grad.flatten(1).norm(dim=1).mean()),
        "out_of_range": float(out_of_range(model.data.train, chains.x)),
    }


def _mixing(energies: Float[Tensor, "chains draws"]) -> dict[str, float]:
    """R-hat and effective sample size of the energies of both starts; nan where undefined."""
    energies = energies.cpu().double()
    stuck = bool((energies == energies[0, 0]).all())
    if energies.shape[1] < 4 or stuck or not bool(energies.isfinite().all()):
        return {"r_hat": math.nan, "ess": math.nan}
    return {
        "r_hat": float(r_hat(energies)),
        "ess": float(bulk_effective_sample_size(energies)),
    }
