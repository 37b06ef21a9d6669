"""Bounds of the log-likelihood of an energy relative to a base, against their definitions."""

import math

import pytest
import torch
from torch import nn

from boltzwalk.methods.objectives import (
    base_loss,
    donsker_varadhan,
    energy_loss,
    generator_gradient,
    kale,
    log_partition,
    log_partition_loss,
)
from boltzwalk.networks import Multilayer


def energies(seed=0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(7, generator=rng) + shift, 2 * torch.randn(40, generator=rng)


@pytest.mark.parametrize("off", [-5.6, -1.0, 0.0, 1.0, 5.6])
def test_the_gap_of_the_bound(off):
    """U1: F <= L, with the gap exp(A - c) - 1 - (A - c); equality at c = A."""
    data, base = energies()
    a = math.log(sum(math.exp(-e) for e in base.tolist()) / 40)
    assert log_partition(base).item() == pytest.approx(a, abs=1e-12)
    whole = -data.mean().item() - a
    assert donsker_varadhan(data, base).item() == pytest.approx(whole, abs=1e-12)
    below = kale(data, base, torch.tensor(a + off)).item()
    assert whole - below == pytest.approx(math.exp(-off) - 1 + off, rel=1e-10, abs=1e-12)
    assert (below < whole) == (off != 0)


def test_published_costs_of_a_wrong_c():
    data, base = energies()
    a = log_partition(base)
    gap = [(donsker_varadhan(data, base) - kale(data, base, a + d)).item() for d in (-5.6, 5.6)]
    assert gap == pytest.approx([264, 4.6], rel=0.01)


def test_kale_at_the_estimate_has_the_gradient_of_donsker_varadhan():
    """U2, for a network."""
    net = Multilayer((8,)).build((2,))
    rng = torch.Generator().manual_seed(0)
    data, base = torch.randn(9, 2, generator=rng), torch.randn(30, 2, generator=rng) - 1
    found = {}
    for objective in ("kale", "donsker_varadhan"):
        net.zero_grad()
        c = log_partition(net(base)).detach()
        energy_loss(objective, net(data), net(base), c).backward()
        found[objective] = [p.grad.clone() for p in net.parameters()]
    for a, b in zip(*found.values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("c", [-600.0, -3.0, 0.4, 3.0])
def test_the_gradient_of_c(c):
    """U2: that of -F, g = 1 - exp(A - c), becomes g / (1 - g) = exp(c - A) - 1."""
    data, base = energies()
    c, a = torch.tensor(c, requires_grad=True), log_partition(base)
    (raw,) = torch.autograd.grad(-kale(data, base, c), c)
    loss = log_partition_loss(c, a)
    (found,) = torch.autograd.grad(loss, c)
    assert loss.item() == 0
    assert found.item() == pytest.approx(math.expm1(c.item() - a.item()), rel=1e-12)
    assert found.item() == pytest.approx((raw / (1 - raw)).item(), rel=1e-9)
    assert found.item() >= -1


def test_the_energy_loss_leaves_c_alone():
    data, base = energies()
    c = torch.tensor(0.3, requires_grad=True)
    for objective in ("kale", "donsker_varadhan", "logistic", "hinge"):
        assert not energy_loss(objective, data, base, c).requires_grad


@pytest.mark.parametrize("reweight", [True, False])
def test_the_gradient_of_the_base(reweight):
    """U3: sum of softmax(-E) dE/dx dG/dtheta, by hand for a linear base."""
    rng = torch.Generator().manual_seed(0)
    base, z = nn.Linear(2, 3), torch.randn(20, 2, generator=rng)
    energy = Multilayer((8,)).build((3,))
    loss = base_loss("kale", generator_gradient(energy, base(z)), reweight)
    loss.backward()
    assert all(p.grad is None for p in energy.parameters())
    y = base(z).detach().requires_grad_()
    e = energy(y)
    (slope,) = torch.autograd.grad(e.sum(), y)
    weight = torch.exp(-e) / torch.exp(-e).sum() if reweight else torch.full((20,), 1 / 20)
    expected = (weight[:, None] * slope).detach()
    torch.testing.assert_close(base.bias.grad, expected.sum(0))
    torch.testing.assert_close(base.weight.grad, expected.T @ z)
    value = -math.log(torch.exp(-e).mean().item()) if reweight else e.mean().item()
    assert loss.item() == pytest.approx(value, rel=1e-12)


def test_the_gans():
    """Critics with the logit -E; generators that are told apart no more."""
    data, base = energies()
    c = torch.zeros(())
    p = torch.sigmoid(-data), torch.sigmoid(-base)
    logistic = -(p[0].log().mean() + (1 - p[1]).log().mean())
    torch.testing.assert_close(energy_loss("logistic", data, base, c), logistic)
    torch.testing.assert_close(base_loss("logistic", base), -p[1].log().mean())
    hinge = (1 + data).clamp(min=0).mean() + (1 - base).clamp(min=0).mean()
    torch.testing.assert_close(energy_loss("hinge", data, base, c), hinge)
    torch.testing.assert_close(base_loss("hinge", base), base.mean())


def test_equal_samples_have_no_divergence():
    """U6: KALE(P, P) is at most 0, and 0 for a constant energy with its c."""
    same = torch.linspace(-1, 3, 50)
    assert donsker_varadhan(same, same).item() < 0
    constant = torch.full((50,), 2.5)
    assert kale(constant, constant, torch.tensor(-2.5)).item() == pytest.approx(0, abs=1e-12)


def test_large_energies_do_not_overflow():
    base = torch.tensor([-2000.0, -1999.0, 50.0], dtype=torch.float32)
    expected = 2000 + math.log((1 + math.exp(-1)) / 3)
    assert log_partition(base).item() == pytest.approx(expected, abs=1e-9)
    assert log_partition(base).dtype == torch.float64
