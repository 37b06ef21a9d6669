"""Latent chains of a generalized model against quadrature, and their settings."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from boltzwalk.bases import Generator
from boltzwalk.bases.latent import LatentEnergy
from boltzwalk.energy import energy_and_grad
from boltzwalk.kernels import HMC, MALA, ULA, KineticLangevin, NormalProposals, Transport
from boltzwalk.methods.latents import (
    StepDecay,
    latent_chain,
    latent_energy,
    latent_walkers,
    scale_step,
)
from boltzwalk.networks import DenseGenerator
from statistics_helpers import assert_mean


class Curve(nn.Module):
    """One latent variable on a curve in the plane: samples have no density there."""

    def latents(self, n, rng):
        return torch.randn(n, 1, generator=rng)

    def decode(self, z):
        return torch.cat([z, (2 * z).sin()], 1)


def tilt(x):
    """Skewed, and not of one mode on the curve."""
    return x[:, 0] - 0.7 * x[:, 1] + (x[:, 0] - 0.5).square() / 2


def exact(beta):
    """E[x_0], E[x_1] and E[x_0 x_1] under the model, by the trapezoidal rule over z."""
    z = np.linspace(-9, 9, 20_001)
    x0, x1 = z, np.sin(2 * z)
    w = np.exp(-(z**2) / 2 - beta * (x0 - 0.7 * x1 + (x0 - 0.5) ** 2 / 2))
    return [float((w * f).sum() / w.sum()) for f in (x0, x1, x0 * x1)]


def assert_samples(x, beta):
    for values, mean in zip((x[:, 0], x[:, 1], x[:, 0] * x[:, 1]), exact(beta), strict=True):
        assert_mean(values, mean, "moment")


@pytest.mark.parametrize("beta", [1.0, 2.0])
@pytest.mark.parametrize(
    ("kernel", "steps"),
    [
        (MALA(0.1), 200),
        (HMC(0.4, 3), 60),
        (NormalProposals(), 200),
        (ULA(2e-3), 3000),
        (KineticLangevin(0.05, 2.0, substeps=40), 20),
    ],
    ids=lambda value: type(value).__name__,
)
def test_latent_chains_sample_the_model(kernel, steps, beta):
    """U4: against quadrature, whatever kernel moves them."""
    base, rng = Curve(), torch.Generator().manual_seed(0)
    u = latent_energy(base, tilt, kernel, beta, rng)
    n = 2000 if steps > 1000 else 10_000
    (walkers,) = latent_chain(kernel, StepDecay(), u, base.latents(n, rng), [steps], rng)
    found = latent_walkers(base, tilt, walkers)
    assert_samples(found.x, beta)
    torch.testing.assert_close(found.energy, tilt(found.x))


def test_the_energy_of_latent_variables(rng):
    base = Generator(DenseGenerator((8,)), 2).build((3,), 0)
    z, target = torch.randn(6, 2, generator=rng), torch.randn(6, 3, generator=rng)

    def far(x):
        return (x - target).square().sum(1)

    u, grad = energy_and_grad(LatentEnergy(base, tilt, 7.0, misfit=far), z)
    z.requires_grad_()
    x = base(z)
    expected = z.square().sum(1) / 2 + 7 * tilt(x) + far(x)
    torch.testing.assert_close(u, expected.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(expected.sum(), z)[0])
    bare = LatentEnergy(base, tilt, prior=False)(z)
    torch.testing.assert_close(bare, tilt(base(z)))
    torch.testing.assert_close(LatentEnergy(base, None)(z), z.square().sum(1) / 2)
    assert all(p.grad is None for p in base.parameters())


def test_wrong_latents_and_temperatures_are_refused():
    base = Generator(DenseGenerator((8,)), 2).build((3,), 0)
    with pytest.raises(ValueError, match=r"takes z of shape \(N, 2\), got \(4, 3\)"):
        LatentEnergy(base, tilt)(torch.zeros(4, 3))
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="inverse_temperature must be >= 0"):
            LatentEnergy(base, tilt, wrong)


def test_the_step_falls(rng):
    """λ = 0.1, 0.1, 0.01, 0.01, 0.001: by hand for ULA."""
    base, own = Curve(), torch.Generator().manual_seed(3)
    u = LatentEnergy(base, tilt)
    z = base.latents(9, rng)
    (found,) = latent_chain(
        ULA(0.1), StepDecay(10.0, 2), u, z, [5], torch.Generator().manual_seed(3)
    )
    for size in (0.1, 0.1, 0.01, 0.01, 0.001):
        slope = energy_and_grad(u, z)[1]
        z = z - size * slope + math.sqrt(2 * size) * torch.randn(z.shape, generator=own)
    torch.testing.assert_close(found.x, z)


@pytest.mark.parametrize("kernel", [ULA(0.05), KineticLangevin(0.2, 3.0), NormalProposals()])
def test_looking_changes_nothing(kernel, rng):
    """The velocity of kinetic chains is carried across looks and falls of the step."""
    u, z, decay = LatentEnergy(Curve(), tilt), torch.randn(9, 1, generator=rng), StepDecay(3.0, 4)
    once, often = (
        list(latent_chain(kernel, decay, u, z, looks, torch.Generator().manual_seed(3)))
        for looks in ([10], [0, 1, 4, 7, 10])
    )
    assert torch.equal(once[0].x, often[-1].x)
    assert torch.equal(often[0].x, z)
    assert len(often) == 5


def test_the_time_of_a_kinetic_step_is_a_root():
    assert scale_step(KineticLangevin(0.02, 100.0), 0.1).step_size == pytest.approx(2 * 1e-5**0.5)
    assert scale_step(HMC(0.2, 3), 0.01).step_size == pytest.approx(0.02)
    assert scale_step(ULA(1e-4), 0.1).step_size == pytest.approx(1e-5)
    assert scale_step(NormalProposals(), 0.1) == NormalProposals()
    for wrong in ({"factor": 0.5}, {"every": 0}):
        with pytest.raises(ValueError, match="factor and every must be >= 1"):
            StepDecay(**wrong)


def test_transport_divides_by_the_steepest_slope(rng):
    """No prior, no temperature: 500 draws, then E / Lip."""
    base, own = Curve(), torch.Generator().manual_seed(5)
    u = latent_energy(base, tilt, Transport(0.1), 50.0, torch.Generator().manual_seed(5))
    z = base.latents(500, own).requires_grad_()
    (slope,) = torch.autograd.grad(tilt(base.decode(z)).sum(), z)
    steepest = slope.norm(dim=1).max()
    z = torch.randn(7, 1, generator=rng)
    torch.testing.assert_close(u(z), tilt(base.decode(z)) / steepest)
