"""Claims about learning with a network that proposes, on 8x8 digits.

Every test prints its numbers: `pytest -m slow tests/claims/test_claims_cooperative.py -s`.
"""

import functools
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from digits_pilot import digits, quality

from boltzwalk.bases import active_dimensions, default_gamma
from boltzwalk.completion import CompletionPlan, complete_rows, judge, make_inputs
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.recipes import RECIPES
from boltzwalk.rng import generator
from boltzwalk.settings.settings import resolve_auto
from boltzwalk.training.execute import updates
from boltzwalk.training.run import Run, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(autouse=True)
def float64():
    """Not here: things run as a user runs them."""


class Taught(NamedTuple):
    """A run with the classifier-FID of what it proposes and of what it revises."""

    run: Run
    proposed: float
    revised: float
    kl: float


@functools.cache
def taught(recipe: str, gamma: float = 1.0, **changes: object) -> Taught:
    """Trains a recipe with other settings of its method; gamma is a multiple of the rule."""
    settings = RECIPES[recipe]()
    method = replace(settings.method, **changes)
    if recipe.startswith("vae"):
        method = replace(method, gamma=gamma * default_gamma(digits().train))
    settings = replace(settings, method=method, threads=1, device="cpu")
    run = start(resolve_auto(settings))
    for done in updates(run):
        run = replace(run, update=done.update, state=done.state)
        info = done.info
    x = run.model().draw(2000, generator(1, "samples")).x
    raw = run.model().propose(2000, generator(2, "samples"))
    kl = float(info.get("kl", torch.nan))
    return Taught(run, quality(raw), quality(x), kl)


def reconstruction_error(found: Taught) -> float:
    """The squared error of an entry of test digits that were encoded and decoded."""
    base, x = found.run.method.base, digits().test
    with torch.no_grad():
        return float((base.decode(base.encode(x)[0]) - x).square().mean())


def mean_error() -> float:
    """The same for the mean image."""
    return float((digits().test - digits().train.mean(0)).square().mean())


def completion_error(found: Taught) -> tuple[float, float]:
    """The error of the lower half: mean of four completions, and the training mean."""
    original = digits().to_original(digits().test).double()
    inputs = make_inputs(digits(), original, "lower", None)
    rows = {
        one.name: float(one.error.mean())
        for one in judge(
            found.run.model(),
            inputs,
            complete_rows(found.run.model(), inputs, CompletionPlan(n=4), generator(3, "complete")),
        )
    }
    return rows["mean of 4"], rows["training mean"]


def test_a_vae_is_taught():
    """R10: revision improves what is proposed, and the codes of digits are in use."""
    found = taught("vae_teaching_digits")
    error, baseline = reconstruction_error(found), mean_error()
    active = active_dimensions(found.run.method.base, digits().test)
    print(f"classifier-FID {found.proposed:.1f} -> {found.revised:.1f}, KL {found.kl:.1f}")
    print(f"reconstruction {error:.3f} of {baseline:.3f}, {active} of 16 in use")
    assert found.revised <= found.proposed
    assert found.kl > 0
    assert error < baseline / 2


LEVEL = "at ten times the rule it is level: 5.3 and 5.2, each ± 0.8"


@pytest.mark.parametrize(
    ("least", "most"),
    [
        pytest.param(0.1, 10.0, marks=pytest.mark.xfail(reason=LEVEL, strict=True)),
        (0.1, 100.0),
    ],
)
def test_the_rule_for_gamma_is_better_than_ends_around_it(least, most):
    """R10, Table 6 of the paper: much less and much more than the rule are worse."""
    fd = {times: taught("vae_teaching_digits", times) for times in (least, 1.0, most)}
    print({k: (round(v.proposed, 1), round(v.revised, 1), round(v.kl, 1)) for k, v in fd.items()})
    assert fd[1.0].revised < fd[least].revised
    assert fd[1.0].revised < fd[most].revised


def test_more_revision_is_better():
    """R10, Table 4 of the paper: one step of revision teaches less than fifteen."""
    one, many = taught("vae_teaching_digits", steps=1), taught("vae_teaching_digits")
    print(f"one step {one.proposed:.1f} -> {one.revised:.1f}, fifteen {many.revised:.1f}")
    assert many.revised < one.revised


def test_three_ways_at_one_budget():
    """R11: 3,000 updates of 15 steps with 100 walkers. Only a network proposes in one pass."""
    vae, generator_ = taught("vae_teaching_digits"), taught("coopnets_digits")
    settings = RECIPES["vae_teaching_digits"]()
    own = settings.method
    alone = Contrastive(NoiseStart(), replace(own.kernel, step_size=0.5), own.steps, own.walkers)
    run = start(resolve_auto(replace(settings, method=alone, threads=1, device="cpu")))
    for done in updates(run):
        run = replace(run, update=done.update, state=done.state)
    short = quality(run.model().draw(2000, generator(1, "samples")).x)
    encoded = reconstruction_error(vae)
    completed = {name: completion_error(f) for name, f in {"vae": vae, "gen": generator_}.items()}
    print(f"one pass {vae.proposed:.1f} (VAE) {generator_.proposed:.1f} (CoopNets)")
    print(f"revised {vae.revised:.1f} {generator_.revised:.1f}, short-run {short:.1f}")
    print(f"reconstruction {encoded:.3f}, completion and its baseline {completed}")
    assert max(vae.proposed, generator_.proposed) < 40  # usable: the pilots' healthy runs
    assert encoded < 0.1
    for error, baseline in completed.values():
        assert error < baseline
