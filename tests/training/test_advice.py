"""Advice on settings: none for the recipes, one sentence with a cure for each bad setting."""

from dataclasses import replace

import pytest

from boltzwalk.kernels import HMC
from boltzwalk.recipes import RECIPES
from boltzwalk.recipes.lookup import resolved_settings
from boltzwalk.training.advice import advice

BUNDLED = ("digits", "toy", "anatomy_toy_convergent", "anatomy_toy_nonconvergent")
BUNDLED += ("jarzynski_mixture", "jarzynski_digits", "coopnets_digits", "gebm_manifold")


@pytest.mark.parametrize("recipe", BUNDLED)
def test_a_recipe_needs_none(recipe):
    settings = RECIPES[recipe]()
    assert advice(settings, settings.data.load()) == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("digits learning_rate=1", "learning_rate"),
        ("toy kernel=HMC kernel.step_size=30", "kernel.step_size"),
        ("toy kernel=ULA kernel.step_size=50", "kernel.step_size"),
        ("toy kernel.step_size=1e-9", "kernel.step_size"),
        ("digits updates=5", "updates"),
        ("digits data_noise=0", "method.data_noise"),
        ("toy data.n=200 updates=2000000", "updates"),
        ("toy schedule.warmup=5000", "schedule.warmup"),
        ("toy kernel=HMC network=Multilayer activation=leaky_relu", "energy.network.activation"),
        ("digits steps=2 spectral_norm=true reference_scale=null", "method.steps"),
    ],
)
def test_a_setting_that_will_not_work_has_a_cure_that_does(words, name):
    """The sentence ends with the setting to write; with it the sentence is gone."""
    recipe, *changes = words.split()
    settings = resolved_settings(recipe, changes)
    data = settings.data.load()
    lines = advice(settings, data)
    (line,) = (line for line in lines if f"write {name}=" in line)
    cure = line.rsplit("write ", 1)[1].split()[0]
    cured = resolved_settings(recipe, [*changes, cure])
    assert not any(f"write {name}=" in line for line in advice(cured, data))


def test_noise_of_the_kernel_is_measured_in_units_of_the_data():
    """Data a hundred times as wide take steps a hundred times as long."""
    settings = RECIPES["toy"]()
    data = settings.data.load()
    wide = replace(data, **{k: 100 * getattr(data, k) for k in ("train", "validation", "test")})
    for size, rows in ((0.3, data), (30.0, wide)):
        for factor, expected in ((1, 0), (30, 1)):
            kernel = HMC(size * factor / 3, leapfrog_steps=3)
            its = replace(settings, method=replace(settings.method, kernel=kernel))
            lines = [line for line in advice(its, rows) if "jump over them" in line]
            assert len(lines) == expected, (size, factor, lines)
