"""The published mixture by the recipes themselves: what masses each method finds."""

import dataclasses

import pytest

from boltzwalk.recipes import RECIPES
from boltzwalk.settings.settings import resolve_auto
from boltzwalk.training.execute import updates
from boltzwalk.training.run import start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def left_mass(recipe):
    settings = resolve_auto(RECIPES[recipe]())
    run = start(dataclasses.replace(settings, device="cpu"))
    for _ in updates(run):
        pass
    means, masses = run.model().module.means, run.model().module.masses
    return float(masses[means[:, 0].argmin()]), sorted(means[:, 0].tolist())


def test_weighted_walkers_find_the_masses():
    mass, means = left_mass("jarzynski_mixture")
    print(f"\nweighted walkers: left mass {mass:.4f}, means {means}")
    assert abs(mass - 0.25) < 0.02
    assert means == pytest.approx([-10, 6], abs=0.1)


def test_persistent_walkers_lose_a_mode():
    mass, means = left_mass("jarzynski_mixture_pcd")
    print(f"\npersistent walkers: left mass {mass:.5f}, means {means}")
    assert mass < 0.01
    assert means == pytest.approx([-10, 6], abs=0.1)
