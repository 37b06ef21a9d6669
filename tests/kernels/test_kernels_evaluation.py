"""Where the energies and gradients of a kernel come from."""

import pytest
import torch
from torch import nn

from boltzwalk.energy import energy_and_grad, require_rowwise_energy
from boltzwalk.kernels import MALA
from boltzwalk.walkers import walkers_at


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))


def test_the_gradient_is_that_of_every_walker(rng):
    energy, x = network(), torch.randn(6, 2, generator=rng)
    u, grad = energy_and_grad(energy, x)
    for i in range(6):
        expected = torch.func.grad(lambda row: energy(row[None])[0])(x[i])
        torch.testing.assert_close(grad[i], expected)
    torch.testing.assert_close(u, energy(x).detach())


def test_no_graph_and_no_parameter_gradient_is_left(rng):
    energy, x = network(), torch.randn(6, 2, generator=rng, requires_grad=True)
    u, grad = energy_and_grad(energy, x)
    assert not u.requires_grad
    assert not grad.requires_grad
    assert x.grad is None
    assert all(p.grad is None for p in energy.parameters())
    MALA(0.1).step(energy, walkers_at(energy, x), rng)
    assert all(p.grad is None for p in energy.parameters())


def test_a_step_works_where_gradients_are_off(rng):
    energy, x = network(), torch.randn(6, 2, generator=rng)
    expected = energy_and_grad(energy, x)[1]
    with torch.no_grad():
        assert torch.equal(energy_and_grad(energy, x)[1], expected)


def test_a_closed_form_is_used(rng):
    class Closed:
        def __call__(self, x):
            raise AssertionError("the closed form is cheaper")

        def energy_and_grad(self, x):
            return x.square().sum(-1) / 2, x.clone()

    walkers, _ = MALA(0.1).step(Closed(), walkers_at(Closed(), torch.ones(3, 2)), rng)
    torch.testing.assert_close(walkers.grad, walkers.x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm1d(8), "mixes the walkers of a batch"),
        (nn.Dropout(0.1), "must be deterministic"),
    ],
)
def test_layers_that_break_the_contract_are_refused(layer, message):
    require_rowwise_energy(nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.0)))
    with pytest.raises(ValueError, match=message):
        require_rowwise_energy(nn.Sequential(nn.Linear(2, 8), layer))
