"""Masses of modes by quadrature and by importance sampling, where the exact ones are known."""

from types import SimpleNamespace

import pytest
import torch

from boltzwalk.data import Dataset
from boltzwalk.evaluation.masses import AGREE, DENSITY_WRONG, masses
from boltzwalk.methods.condition import NoCondition


def mixture(weight, dimensions, apart=10.0):
    """The energy of two normals on the first axis, the first with this mass."""

    def energy(x):
        shift = torch.zeros(dimensions)
        shift[0] = apart / 2
        parts = [-(x - s * shift).square().sum(1) / 2 for s in (-1, 1)]
        logs = torch.stack(parts) + torch.tensor([weight, 1 - weight]).log()[:, None]
        return -torch.logsumexp(logs, 0)

    return energy


def draws(n, weight, dimensions, seed, apart=10.0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dimensions, generator=rng)
    x[:, 0] += torch.where(torch.rand(n, generator=rng) < weight, -apart / 2, apart / 2)
    return x


def model(energy, rows):
    method = SimpleNamespace(condition=NoCondition(), latent=False)
    data = Dataset(rows, rows[:0], rows[:0])
    return SimpleNamespace(data=data, temperature=1.0, method=method, density_energy=lambda: energy)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
@pytest.mark.parametrize(("weight", "label"), [(0.25, AGREE), (1e-4, DENSITY_WRONG)])
def test_an_energy_that_does_not_know_the_masses(dimensions, weight, label, rng):
    rows, x = (draws(1000, 0.25, dimensions, seed) for seed in (0, 1))
    section = masses(model(mixture(weight, dimensions), rows), x, rng)
    assert section.label == label, section
    assert section.measures[0].name == "mass in the wrong mode"
    assert section.measures[0].value == pytest.approx(0.25 - weight, abs=0.05)


def test_a_shift_in_the_plane_shows_without_modes(rng):
    rows, x = (torch.randn(1000, 2, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    right = masses(model(lambda y: y.square().sum(1) / 2, rows), x, rng)
    wide = masses(model(lambda y: y.square().sum(1) / 50, rows), x, rng)
    assert (right.label, wide.label) == (AGREE, DENSITY_WRONG)
    assert "walkers are not samples of this energy" in wide.reason


def test_where_it_is_not_defined_the_section_is_empty(rng):
    rows = torch.randn(300, 4, generator=rng)
    one_mode = model(lambda y: y.square().sum(1) / 2, rows)
    assert masses(one_mode, rows, rng).measures == []
    one_mode.temperature = 0.0
    assert masses(one_mode, rows[:, :2], rng).measures == []


def test_few_draws_that_count_refuse(rng):
    """An energy far narrower than the samples."""
    rows = draws(1000, 0.5, 8, 0)

    def narrow(y):
        return 1e4 * mixture(0.5, 8)(y)

    section = masses(model(narrow, rows), draws(1000, 0.5, 8, 1), rng)
    assert section.label == ""
    assert "draws count in mode 1 (limit 100)" in section.measures[0].refusal
