r"""What becomes of the chains of a model when they run longer than in training.

Chains start from held-out data and from noise that is uniform over the range of the data, and are
looked at after :math:`10^2, 2 \cdot 10^2, 5 \cdot 10^2, \dots, 10^5` steps of the sampler that
trained the model. A model whose chains stay where the data are stands for a density; one that is
good after the steps of training only is a sampler with a fixed length, and its energy means little.

The rule. Let q be the Fréchet distance to held-out data of as many chains as there are, and b that
of samples drawn as in training, or the largest of ten draws of training data if that is larger: of
few chains and few columns the distance of perfect samples scatters by more than a factor of two.
After S steps from data

* *short-run only*: q exceeds 2 b, or the share of entries out of the range of the data exceeds
  that of the samples by 0.05;
* *convergent*: S is at least 10,000 and at least ten times the steps of training, q is at most
  1.5 b, over the last half of the steps the mean energy changed by less than half of its spread,
  and q is no more than b or did not grow by 15 % at each of the last three looks;
* *undecided* otherwise.

Not guaranteed: that a convergent model has the right masses of its modes. Chains from data carry
the masses of the data for as long as they do not cross; whether those from noise agree with them is
what R-hat says.

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

__all__ = ["Label", "LongRun", "label", "looks", "run_long"]

CONVERGENT, SHORT_RUN, UNDECIDED = "convergent", "short-run only", "undecided"

ENOUGH = 10_000
"""Steps before a model may be called convergent."""

WORSE, AS_GOOD = 2.0, 1.5
"""Times the distance of samples drawn as in training, for the two labels."""

SATURATED = 0.05
SETTLED = 0.5

GROWING, LOOKS = 1.15, 4
"""Growth of the distance between looks, and the number of looks, that say that chains drift: 1.19,
1.22 and 1.28 where those of an MNIST model got worse all the time. The distance of perfect samples
scatters by more than that, but not upwards three times in a row."""
DRAWS = 10
PARTS = 20
"""Draws of the chains between two looks, from which R-hat is computed."""


class Label(NamedTuple):
    """What a model is, and why."""

    label: str
    reason: str


@dataclass(frozen=True)
class LongRun:
    """How far the chains run.

    Arguments:
        seconds: The time that may be spent.
        steps: The number of steps after which there is nothing more to do.
        chains: Chains from data, and as many from noise.
        report: Is told how far they are.
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


def looks(steps: int) -> Iterator[int]:
    """Returns the numbers of steps at which the chains are looked at.

    Arguments:
        steps: The largest of them.

    Example:
        >>> list(looks(1500))
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
    """Runs the chains on, from where an earlier call left them, and returns all that was seen.

    Arguments:
        model: The model.
        distance: How far samples, shape (N, *event), are from held-out data.
        path: Where the chains are kept, a safetensors file. Those of another model start anew.
        effort: How far they run. A later call with more time goes on.
        seed: The seed of the noise.

    Returns:
        "rows", one for each look and start; "base", the distance of samples drawn as in training;
        "label" and "reason"; "r_hat" and "ess" of the energies between the last two looks; "steps"
        and "pace", the seconds of one of them.

    Raises:
        ValueError: If the walkers of the run are latent variables: data do not tell theirs.
    """
    if model.method.latent:
        raise ValueError(
            "chains of a generalized model move latent variables, and those of data are unknown; "
            "draw samples with more --steps to see what becomes of them"
        )
    key = f"{model.digest}/{effort.chains}/{seed}"
    x, past = _kept(path, key) or _first(model, distance, effort.chains, seed)
    x = x.to(model.data.train.device)
    began = time.monotonic()
    for goal in looks(effort.steps):
        steps = goal - past["steps"]
        left = effort.seconds - (time.monotonic() - began)
        if steps <= 0 or not bool(x.isfinite().all()):
            continue
        if left <= steps * past["pace"]:
            break
        since = time.monotonic()
        # Evaluated anew, as they are by a call that goes on: the numbers are the same then.
        chains = walkers_at(model.module, x)
        chains, energies = _moved(model, chains, steps, generator(seed, "long run", goal, x.device))
        x = chains.x
        past["pace"] = (time.monotonic() - since) / steps
        past["rows"] += [
            {"start": start, "steps": goal, **_look(model, distance, part)}
            for start, part in _by_start(chains)
        ]
        past |= {"steps": goal, **_mixing(energies)}
        if bool(x.isfinite().all()):
            save_checkpoint(path, {"x": x}, {"key": key, "past": json.dumps(past)})
        effort.report(f"long chains: {goal:,} of {effort.steps:,} steps")
    return past | label(past, model.method.steps)._asdict()


def label(past: dict[str, Any], training_steps: int) -> Label:
    """Returns what a model is, by the rule above.

    Arguments:
        past: "rows", "base" and "base_out_of_range" as `run_long` returns them.
        training_steps: The steps of a chain in training.

    Example:
        >>> row = {"start": "data", "distance": 1.0, "out_of_range": 0.0, "energy_spread": 1.0}
        >>> rows = [row | {"steps": s, "energy": 3.0} for s in (5000, 10_000)]
        >>> label({"rows": rows, "base": 1.0, "base_out_of_range": 0.0}, 50).label
        'convergent'
    """
    rows = [row for row in past["rows"] if row["start"] == "data"]
    if not rows:
        return Label(UNDECIDED, "no chain has run yet")
    last, base = rows[-1], past["base"]
    steps, distance = last["steps"], last["distance"]
    if not math.isfinite(distance + last["energy"]):
        return Label(SHORT_RUN, f"chains from data left for infinity within {steps:,} steps")
    seen = f"after {steps:,} steps from data the distance to held-out data is {distance:.3g}"
    against = f"samples drawn as in training have {base:.3g}"
    if distance > WORSE * base:
        return Label(SHORT_RUN, f"{seen}, more than {WORSE:g} times as much: {against}")
    beyond, usual = last["out_of_range"], past["base_out_of_range"]
    if beyond > usual + SATURATED:
        return Label(
            SHORT_RUN,
            f"after {steps:,} steps from data {beyond:.0%} of the entries are out of the range of "
            f"the data; of samples drawn as in training {usual:.0%}",
        )
    needed = max(ENOUGH, 10 * training_steps)
    if steps < needed:
        return Label(
            UNDECIDED, f"{seen} ({against}), but {needed:,} steps are needed: give it more seconds"
        )
    if distance > AS_GOOD * base:
        return Label(UNDECIDED, f"{seen}, between {AS_GOOD:g} and {WORSE:g} times: {against}")
    before = [row for row in rows if row["steps"] <= steps / 2][-1]
    change = abs(last["energy"] - before["energy"])
    if change > SETTLED * last["energy_spread"]:
        return Label(
            UNDECIDED,
            f"{seen} ({against}), but their mean energy still moved by {change:.3g} between "
            f"{before['steps']:,} and {steps:,} steps; its spread is {last['energy_spread']:.3g}",
        )
    past_looks = [row["distance"] for row in rows[-LOOKS:]]
    grows = all(b > GROWING * a for a, b in pairwise(past_looks))
    if len(past_looks) == LOOKS and grows and distance > base:
        listed = ", ".join(f"{value:.3g}" for value in past_looks)
        return Label(UNDECIDED, f"{seen} ({against}), and grows from look to look: {listed}")
    return Label(CONVERGENT, f"{seen}; {against}; distance and energy have settled")


def _first(
    model: Model, distance: Callable[[Tensor], float], n: int, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """The chains before their first step, data before noise, and what they are held against."""
    data, device = model.data, model.data.train.device
    rng = generator(seed, "long run", 0, device)
    rows = data.test_rows()[0]
    rows = rows[torch.arange(n, device=device) * len(rows) // n]
    drawn = model.draw(model.available(n), rng).x
    base = [distance(drawn)] if bool(drawn.isfinite().all()) else []
    for _ in range(DRAWS):
        chosen = torch.randperm(len(data.train), generator=rng, device=device)[:n]
        base.append(distance(data.dequantised(data.train[chosen], rng)))
    return torch.cat([rows, data.noise(n, rng)]), {
        "rows": [],
        "steps": 0,
        "pace": 0.0,
        "base": max(base),
        "base_out_of_range": float(out_of_range(data.train, drawn)),
        "r_hat": math.nan,
        "ess": math.nan,
    }


def _kept(path: Path, key: str) -> tuple[Tensor, dict[str, Any]] | None:
    """The chains where an earlier call left them, if they are of the same model."""
    if not path.is_file():
        return None
    try:
        tensors, text = load_checkpoint(path)
    except ValueError:
        return None  # cut short: they start anew
    return (tensors["x"], json.loads(text["past"])) if text.get("key") == key else None


def _moved(
    model: Model, chains: Walkers, steps: int, rng: torch.Generator
) -> tuple[Walkers, Float[Tensor, "chains draws"]]:
    """The chains after more steps, and their energies at even distances on the way."""
    parts = min(PARTS, steps)
    energies = []
    for part in range(parts):
        chains = model.move(chains, steps * (part + 1) // parts - steps * part // parts, rng)
        energies.append(chains.energy)
    return chains, torch.stack(energies, 1)


def _by_start(chains: Walkers) -> list[tuple[str, Walkers]]:
    half = len(chains) // 2
    return [("data", chains[:half]), ("noise", chains[half:])]


def _look(model: Model, distance: Callable[[Tensor], float], chains: Walkers) -> dict[str, float]:
    """What the chains of one start are like now."""
    finite = bool(chains.x.isfinite().all())
    return {
        "distance": distance(chains.x) if finite else math.nan,
        "energy": float(chains.energy.mean()),
        "energy_spread": float(chains.energy.std()),
        "gradient": float(chains.grad.flatten(1).norm(dim=1).mean()),
        "out_of_range": float(out_of_range(model.data.train, chains.x)),
    }


def _mixing(energies: Float[Tensor, "chains draws"]) -> dict[str, float]:
    """How well chains of both starts agree, by their energies; nan where that cannot be told."""
    energies = energies.cpu().double()
    stuck = bool((energies == energies[0, 0]).all())
    if energies.shape[1] < 4 or stuck or not bool(energies.isfinite().all()):
        return {"r_hat": math.nan, "ess": math.nan}
    return {
        "r_hat": float(r_hat(energies)),
        "ess": float(bulk_effective_sample_size(energies)),
    }
