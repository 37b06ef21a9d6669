"""The contract: energy_and_grad, and the layers that no energy may have."""

import pytest
import torch
from torch import nn

from boltzwalk.energy import energy_and_grad, require_rowwise_energy
from boltzwalk.networks import Convolutional, Multilayer


class Counting(nn.Module):
    """Counts its forward calls."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(3, 1), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x).squeeze(-1).square()


def quartic(x):
    return (x.flatten(1) ** 4).sum(1) + x.flatten(1).prod(1)


@pytest.mark.parametrize("shape", [(3,), (), (2, 2), (1, 2, 2)])
def test_gradient_is_that_of_autograd(rng, shape):
    x = torch.randn(5, *shape, generator=rng)
    energy = quartic if shape else (lambda x: x**4)
    u, grad = energy_and_grad(energy, x)
    torch.testing.assert_close(u, energy(x))
    jacobian = torch.autograd.functional.jacobian(energy, x)
    for i in range(5):
        torch.testing.assert_close(grad[i], jacobian[i, i])


def test_network_gradient_passes_gradcheck(rng):
    energy = Multilayer(widths=(8, 8)).build((3,))
    x = torch.randn(4, 3, generator=rng, requires_grad=True)
    assert torch.autograd.gradcheck(energy, (x,))
    torch.testing.assert_close(
        energy_and_grad(energy, x)[1], torch.autograd.functional.jacobian(energy, x).sum(0)
    )


@pytest.mark.parametrize("bad", [lambda x: x, lambda x: x.sum(1, keepdim=True), lambda x: x.sum()])
def test_wrong_shapes_are_refused(bad):
    with pytest.raises(ValueError, match=r"must have shape \(N,\) = \(5,\), got"):
        energy_and_grad(bad, torch.ones(5, 3))


def test_nothing_is_left_behind():
    energy, x = Counting(), torch.ones(5, 3, requires_grad=True)
    u, grad = energy_and_grad(energy, x)
    assert not u.requires_grad
    assert not grad.requires_grad
    assert x.grad is None
    assert all(parameter.grad is None for parameter in energy.parameters())


def test_positions_are_left_as_they_are():
    """A leaf is not turned into one that records, and a graph behind x is not followed."""
    leaf = torch.ones(5, 3)
    energy_and_grad(Counting(), leaf)
    assert not leaf.requires_grad
    source = torch.ones(5, 3, requires_grad=True)
    _, grad = energy_and_grad(Counting(), 2 * source)
    assert grad.abs().sum() > 0
    assert source.grad is None


def test_one_forward_pass():
    energy = Counting()
    energy_and_grad(energy, torch.ones(5, 3))
    assert energy.calls == 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_gradient_does_not_depend_on_the_grad_mode(mode):
    energy, x = Counting(), torch.ones(5, 3)
    expected = energy_and_grad(energy, x)
    with mode():
        u, grad = energy_and_grad(energy, x)
    torch.testing.assert_close((u, grad), expected)


def test_frozen_parameters_are_no_obstacle():
    energy = Counting().requires_grad_(False)
    assert energy_and_grad(energy, torch.ones(5, 3))[1].abs().sum() > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_memory_layout_changes_nothing(rng, channels):
    energy = Convolutional(width=4).build((channels, 8, 8))
    x = torch.randn(5, channels, 8, 8, generator=rng)
    expected = energy_and_grad(energy, x)
    got = energy_and_grad(energy, x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected)


def test_a_closed_form_is_used():
    class Closed:
        def __call__(self, x):
            raise AssertionError

        def energy_and_grad(self, x):
            assert not x.requires_grad
            return x.sum(1), torch.ones_like(x)

    u, grad = energy_and_grad(Closed(), torch.ones(2, 3, requires_grad=True))
    assert u.tolist() == [3.0, 3.0]
    assert grad.tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("n", [0, 1])
def test_few_walkers(n):
    u, grad = energy_and_grad(Counting(), torch.ones(n, 3))
    assert u.shape == (n,)
    assert grad.shape == (n, 3)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.BatchNorm1d(3), "mixes the walkers"),
        (nn.BatchNorm2d(3), "mixes the walkers"),
        (nn.SyncBatchNorm(3), "mixes the walkers"),
        (nn.Dropout(0.1), "deterministic"),
        (nn.Dropout2d(0.5), "deterministic"),
        (nn.AlphaDropout(0.5), "deterministic"),
    ],
)
def test_coupled_layers_are_refused_at_any_depth(layer, words):
    nested = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.SiLU(), nn.ModuleList([layer])))
    for energy, name in ((layer, "''"), (nested, "'1.1.0'")):
        with pytest.raises(ValueError, match=words) as error:
            require_rowwise_energy(energy)
        assert name in str(error.value)
        assert type(layer).__name__ in str(error.value)


def test_harmless_layers_pass():
    require_rowwise_energy(nn.Sequential(nn.Dropout(0.0), nn.GroupNorm(1, 3), nn.LayerNorm(3)))
    require_rowwise_energy(lambda x: x.sum(1))
