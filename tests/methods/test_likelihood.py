"""Maximum likelihood: its loss and gradient, what it reaches, and what it refuses."""

import math

import pytest
import torch
from torch.distributions import Normal

from boltzwalk.bases.flow import Flow
from boltzwalk.bases.flow_energy import FlowEnergy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.kernels import MALA, run_chain
from boltzwalk.method import Batch
from boltzwalk.methods.maximum_likelihood import MaximumLikelihood
from boltzwalk.networks import Multilayer
from boltzwalk.training.loop import train_loop
from boltzwalk.walkers import walkers_at
from statistics_helpers import assert_mean

METHOD = MaximumLikelihood()


@pytest.fixture
def energy():
    return FlowEnergy(Flow(transforms=2, widths=(8,), activation="tanh")).build((3,), rng_seed=0)


def test_the_gradient_is_that_of_the_likelihood(energy, rng):
    x = torch.randn(20, 3, generator=rng)
    loss, state, info = METHOD.step(energy, Batch(x), METHOD.init(energy, Batch(x), rng), rng)
    loss.backward()
    found = [p.grad.clone() for p in energy.parameters()]
    expected = torch.autograd.grad(-energy.flow.log_density(x).mean(), list(energy.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert state is None
    assert float(info["nll"]) == pytest.approx(float(-energy.flow.log_density(x).detach().mean()))
    assert float(info["energy_data"]) + energy.log_z == pytest.approx(float(info["nll"]))


def test_the_gradient_of_a_mixture_is_that_of_its_log_density(rng):
    energy = MixtureEnergy(modes=3, offset=1.0, noise=0.1).build((2,), rng_seed=0)
    x = torch.randn(20, 2, generator=rng)
    loss, _, _ = METHOD.step(energy, Batch(x), None, rng)
    parameters = list(energy.parameters())
    found = torch.autograd.grad(loss, parameters)
    assert float(energy.log_partition().detach()) == pytest.approx(energy.log_z, abs=1e-12)
    log_p = Normal(energy.means, 1.0).log_prob(x[:, None]).sum(2) + torch.log_softmax(
        -energy.levels, 0
    )
    expected = torch.autograd.grad(-log_p.logsumexp(1).mean(), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_noise_on_the_data_is_drawn_anew(energy, rng):
    x = torch.randn(500, 3, generator=rng)
    method = MaximumLikelihood(data_noise=0.5)
    losses = torch.stack([method.step(energy, Batch(x), None, rng)[0].detach() for _ in range(50)])
    assert float(losses.std()) > 0
    noisy = x + 0.5 * torch.randn(500, 3, generator=rng)
    rows = -energy.flow.log_density(noisy).detach()
    error = float(rows.std()) / math.sqrt(len(rows))
    assert abs(float(losses.mean() - rows.mean())) < 5 * error


def test_it_learns_a_gaussian_that_an_affine_flow_has(rng):
    """Of one entry the flow is affine; the best it can do is the entropy of the data."""
    energy = FlowEnergy(Flow(transforms=1)).build((1,), rng_seed=0)
    x = 2 + 3 * torch.randn(400, 1, generator=rng)
    optimizer = torch.optim.Adam(energy.parameters(), 0.05)
    done = list(
        train_loop(energy, METHOD, lambda rng: Batch(x), optimizer, state=None, updates=500)
    )
    entropy = math.log(float(x.std(correction=0))) + 0.5 * math.log(2 * math.pi * math.e)
    assert float(done[-1].info["nll"]) == pytest.approx(entropy, abs=1e-4)
    walkers = METHOD.sample(energy, Batch(x), None, 20_000, rng)
    assert_mean(walkers.x[:, 0], float(x.mean()), "mean of samples")
    torch.testing.assert_close(walkers.energy, energy(walkers.x).detach())


def test_samples_that_move_on_stay_samples(energy, rng):
    """E_p[q/p] = 1 for a narrower density q, before and after steps that leave p as it is."""
    x = energy.sample(4000, rng)
    moved = METHOD.sample(energy, Batch(torch.zeros(1, 3)), None, 4000, rng, steps=20).x
    assert not bool((x == moved).any())
    q = Normal(x.mean(0), 0.7 * x.std(0))
    for rows in (x, moved):
        ratio = torch.exp(q.log_prob(rows).sum(1) + energy(rows).detach() + energy.log_z)
        assert_mean(ratio, 1.0, "mass of q")


def test_energies_without_log_z_are_refused(rng):
    energy = NetworkEnergy(Multilayer((8,))).build((3,), 0)
    for known in (energy, lambda x: x.sum(1)):
        with pytest.raises(ValueError, match="write energy=FlowEnergy"):
            METHOD.init(known, Batch(torch.zeros(4, 3)), rng)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="steps must be >= 1"):
        MaximumLikelihood(steps=0)
    with pytest.raises(ValueError, match="data_noise must be >= 0"):
        MaximumLikelihood(data_noise=-1.0)
    with pytest.raises(ValueError, match=r"kernel\.temperature=1"):
        MaximumLikelihood(kernel=MALA(0.1, temperature=0.5))


def test_the_noise_is_that_of_the_settings(energy):
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    method = MaximumLikelihood(data_noise=0.5)
    loss, _, _ = method.step(energy, Batch(x), None, torch.Generator().manual_seed(2))
    noise = torch.randn(30, 3, generator=torch.Generator().manual_seed(2))
    expected = -energy.flow.log_density(x + 0.5 * noise).mean()
    torch.testing.assert_close(loss.detach(), expected.detach())


def test_samples_make_the_steps_of_the_call_or_of_the_settings(energy):
    method = MaximumLikelihood(kernel=MALA(0.05), steps=2)

    def moved(steps):
        rng = torch.Generator().manual_seed(3)
        walkers = walkers_at(energy, energy.sample(6, rng))
        return run_chain(method.kernel, energy, walkers, steps, rng, diagnose=False)[0].x

    for steps, made in ((0, 2), (5, 5)):
        rng = torch.Generator().manual_seed(3)
        found = method.sample(energy, Batch(torch.zeros(1, 3)), None, 6, rng, steps=steps).x
        assert torch.equal(found, moved(made))
