"""Recipes keep what they promise, and what stands beside a recipe can be compared with it."""

from dataclasses import replace

import pytest

from boltzwalk.energies import Multilayer
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.recipes import BESIDE, RECIPES
from boltzwalk.settings.settings import Settings, from_yaml, to_yaml
from boltzwalk.settings.tree import from_tree, override, to_tree


def changed(recipe, *assignments):
    return from_tree(Settings, override(Settings, to_tree(RECIPES[recipe]()), assignments))


@pytest.mark.parametrize("name", BESIDE)
def test_what_stands_beside_a_recipe_differs_in_the_method_only(name):
    assert name in RECIPES
    for other in BESIDE[name]:
        assert other.startswith(name)
        assert other != name
        ours, theirs = RECIPES[name](), RECIPES[other]()
        assert theirs.method != ours.method
        assert replace(theirs, method=ours.method) == ours
        assert RECIPES[other].__name__ == other


def test_the_published_mixture():
    """Section 3 of the notes on the paper: N = n = 10,000, h = 0.1, one step, 8,000 updates."""
    for settings in (RECIPES[name]() for name in RECIPES if name.startswith("jarzynski_mixture")):
        assert settings.data.load().train.shape == (settings.batch, 50) == (10_000, 50)
        assert settings.method.steps == 1
        assert (settings.method.kernel.step_size, settings.method.kernel.temperature) == (0.1, 1.0)
        assert settings.optimizer.learning_rate == 0.0025
        assert settings.optimizer.learning_rate * settings.energy.log_mass_rate == 0.0125
        assert (settings.optimizer.momentum, settings.updates) == (0.0, 8000)
    assert RECIPES["jarzynski_mixture"]().method.start.size == 10_000


@pytest.mark.parametrize("key", ["energy.network.widths", "network.widths", "widths"])
def test_settings_of_a_network_are_named_as_before_there_were_mixtures(key):
    assert changed("digits", f"{key}=[16]").energy.network == replace(
        RECIPES["digits"]().energy.network, widths=(16,)
    )


def test_an_energy_may_be_of_another_kind():
    settings = changed("toy", "modes=8", "energy=MixtureEnergy", "offset=1")
    assert settings.energy == MixtureEnergy(modes=8, offset=1.0)
    assert from_yaml(to_yaml(settings)) == settings
    back = changed("jarzynski_mixture", "energy=NetworkEnergy", "widths=[8]", "reference_scale=1")
    assert back.energy.network == Multilayer((8,))


def test_a_mixture_has_no_network():
    with pytest.raises(ValueError, match="unknown setting"):
        changed("jarzynski_mixture", "energy.network.widths=[16]")
