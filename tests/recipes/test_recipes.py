"""Recipes have the published settings, and differ from their companions in the method only."""

from dataclasses import replace
from pathlib import Path

import pytest

from boltzwalk import recipes
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.networks import Multilayer
from boltzwalk.recipes import COMPANIONS, RECIPES, SEEDS
from boltzwalk.recipes.density import density
from boltzwalk.settings.settings import Settings, from_yaml, to_yaml
from boltzwalk.settings.tree import from_tree, override, to_tree


def changed(recipe, *assignments):
    return from_tree(Settings, override(Settings, to_tree(RECIPES[recipe]()), assignments))


@pytest.mark.parametrize("name", COMPANIONS)
def test_companions_differ_in_the_method_only(name):
    assert name in RECIPES
    for other in COMPANIONS[name]:
        assert other.startswith(name)
        assert other != name
        recipe, companion = RECIPES[name](), RECIPES[other]()
        assert companion.method != recipe.method
        assert replace(companion, method=recipe.method) == recipe
        assert RECIPES[other].__name__ == other


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_summary_and_a_result(name):
    summary, *rest = RECIPES[name].__doc__.strip().split("\n\n")
    assert summary.strip().endswith(".")
    assert any(part.strip().startswith("Reached: ") for part in rest)


def test_every_module_of_recipes_is_listed():
    """A recipe in a new file is found once that file's name is in MODULES."""
    folder = Path(recipes.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "index", "lookup"}
    assert set(recipes.MODULES) == files


def test_a_recipe_of_each_table_and_method():
    names = {name for name in RECIPES if RECIPES[name]().data.__class__.__name__ == "Uci"}
    assert len(names) == 12
    assert len({to_yaml(RECIPES[name]()) for name in names}) == 12
    assert RECIPES["gebm_white_wine_cd"]() == density("white_wine", "cd")
    assert SEEDS.keys() == {"gebm_red_wine", "gebm_white_wine", "gebm_parkinsons"}


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
