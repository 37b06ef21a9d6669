"""Proposals and their revision: nothing is coupled, nothing has a graph, every step is counted."""

import math

import pytest
import torch

from boltzwalk.bases import Generator, Vae
from boltzwalk.energies.analytic import Gaussian
from boltzwalk.kernels import HMC, MALA, ULA, AdamDescent, Descent, KineticLangevin
from boltzwalk.method import Batch
from boltzwalk.methods.cooperative import Cooperative
from boltzwalk.methods.proposal_training import ancestral_samples, refine
from boltzwalk.methods.variational import Variational
from boltzwalk.networks import DenseEncoder, DenseGenerator
from statistics_helpers import Counting, assert_mean

KERNELS = [
    ULA(0.05),
    MALA(0.05),
    HMC(0.2, 3),
    KineticLangevin(0.2, friction=1.0),
    Descent(0.05),
    AdamDescent(0.05),
]
METHODS = [
    Cooperative(Generator(DenseGenerator((8,)), 2), ULA(0.1), steps=4),
    Variational(Vae(DenseEncoder((8,)), DenseGenerator((8,)), 2), ULA(0.1), steps=4),
]


def bowl(x):
    return x.flatten(1).square().sum(1) / 2


def built(settings, kernel=None, **changes):
    """A method for events of shape (3,), and data for it."""
    changes |= {} if kernel is None else {"kernel": kernel}
    data = torch.randn(10, 3, generator=torch.Generator().manual_seed(5))
    return type(settings)(**vars(settings) | changes).build((3,), 0, Batch(data)), data


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def decoder(norm=True):
    """A generator whose running statistics are far from those of a few rows."""
    made = Generator(DenseGenerator((8,), norm=norm), 2).build((3,), 0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=seeded(1)))
    return made


def test_a_revision_by_hand():
    """Latents, then the noise of every step, from one generator."""
    base, own = decoder(), seeded()
    found = refine(base, ULA(0.1), bowl, 6, 3, seeded())
    z = torch.randn(6, 2, generator=own)
    x = base.decode(z).detach()
    torch.testing.assert_close(found.z, z)
    torch.testing.assert_close(found.proposed, x)
    for _ in range(3):
        x = x - 0.1 * x + math.sqrt(0.2) * torch.randn(6, 3, generator=own)
    torch.testing.assert_close(found.walkers.x, x)
    torch.testing.assert_close(found.walkers.energy, bowl(x))
    torch.testing.assert_close(found.walkers.grad, x)
    assert not found.walkers.log_w.any()
    displacement = (x - found.proposed).norm(dim=1).mean()
    torch.testing.assert_close(found.chain.displacement, displacement)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_nothing_of_a_revision_has_a_graph(kernel):
    base, energy = decoder(), torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0))
    found = refine(base, kernel, energy, 5, 2, seeded())
    walkers = (found.walkers.x, found.walkers.energy, found.walkers.grad, found.walkers.log_w)
    for tensor in (found.z, found.proposed, *walkers, *found.walkers.memory, *found.chain):
        assert not tensor.requires_grad
    assert all(p.grad is None for p in (*base.parameters(), *energy.parameters()))


def test_a_proposal_does_not_depend_on_the_others():
    """Batch statistics would couple them: one row alone would be an error, or its own mean."""
    base = decoder()
    proposed = refine(base, Descent(1e-9), bowl, 6, 1, seeded()).proposed
    z = torch.randn(6, 2, generator=seeded())
    for i in range(6):
        torch.testing.assert_close(proposed[i : i + 1], base.decode(z[i : i + 1]).detach())
    # Nor, exactly, where the others are far away.
    z[1:] += 100
    torch.testing.assert_close(proposed[0], base.decode(z).detach()[0], rtol=1e-12, atol=1e-12)
    assert (base.decode(z)[1:] - proposed[1:]).abs().min() > 1e-3


@pytest.mark.parametrize("settings", METHODS, ids=lambda m: type(m).__name__)
def test_statistics_move_once_in_a_step_and_never_in_samples(settings):
    method, data = built(settings)
    norm = [layer for layer in method.modules() if isinstance(layer, torch.nn.BatchNorm1d)]
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.sample(bowl, Batch(data), None, 30, seeded())
    refine(method.base, ULA(0.1), bowl, 30, 2, seeded())
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    loss, _, _ = method.step(bowl, Batch(data), None, seeded())
    assert len(norm) == 1
    tracked = next(key for key in before if key.endswith("num_batches_tracked"))
    now = method.state_dict()
    assert now[tracked] == before[tracked] + 1
    changed = {key for key in now if not torch.equal(now[key], before[key])}
    assert {key.rsplit(".")[-1] for key in changed} == {
        "num_batches_tracked",
        "running_mean",
        "running_var",
    }
    assert not any(layer.training for layer in method.base.modules())
    assert loss.requires_grad


def test_training_mode_does_not_couple_the_proposals():
    """Whoever calls train() on a method does not switch batch statistics on."""
    method, data = built(METHODS[0])
    expected = method.sample(bowl, Batch(data), None, 5, seeded()).x
    method.train()
    assert torch.equal(method.sample(bowl, Batch(data), None, 5, seeded()).x, expected)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
@pytest.mark.parametrize("settings", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("walkers", [0, 7])
def test_evaluations_are_as_many_as_promised(settings, kernel, walkers):
    method, data = built(settings, kernel, walkers=walkers)
    counting = Counting(bowl)
    method.step(counting, Batch(data), None, seeded())
    n = walkers or 10
    # Two more forward passes give the loss; they have no input gradient.
    assert counting.walkers == method.gradients(10) + 10 + n
    assert method.gradients(10) == n * (1 + 4 * kernel.gradients)


@pytest.mark.parametrize("settings", METHODS, ids=lambda m: type(m).__name__)
def test_the_number_of_walkers_need_not_be_that_of_the_data(settings):
    method, data = built(settings, walkers=25)
    seen = []

    def energy(x):
        seen.append(len(x))
        return bowl(x)

    _, _, info = method.step(energy, Batch(data), None, seeded())
    assert seen == [25] * 5 + [10, 25]
    for name, value in info.items():
        assert value.shape == (), name
        assert value.isfinite(), name
        assert not value.requires_grad, name


@pytest.mark.parametrize("settings", METHODS, ids=lambda m: type(m).__name__)
def test_samples_take_the_steps_that_are_asked_for(settings):
    """Under U = |x|^2 / 2, K steps of Descent multiply a proposal by (1 - step)^K."""
    z = torch.randn(8, 2, generator=seeded(4))
    for changes, asked, steps in (({}, 0, 4), ({"sample_steps": 9}, 0, 9), ({}, 2, 2)):
        method, data = built(settings, Descent(0.1), **changes)
        found = method.sample(bowl, Batch(data), None, 8, seeded(4), steps=asked)
        expected = 0.9**steps * method.base.decode(z).detach()
        torch.testing.assert_close(found.x, expected)
        torch.testing.assert_close(found.energy, bowl(expected))
    # The steps asked for go before those of the settings; noise is the only start there is.
    method, data = built(settings, Descent(0.1), sample_steps=9)
    found = method.sample(bowl, Batch(data), None, 8, seeded(4), steps=1, from_noise=True)
    torch.testing.assert_close(found.x, 0.9 * method.base.decode(z).detach())


@pytest.mark.parametrize("settings", METHODS, ids=lambda m: type(m).__name__)
def test_samples_repeat_and_do_not_show_the_data(settings):
    method, data = built(settings)
    a, b, c = (method.sample(bowl, Batch(data), None, 16, seeded(s)).x for s in (4, 4, 5))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    d = method.sample(bowl, Batch(torch.full((2, 3), 77.0)), None, 16, seeded(4)).x
    assert torch.equal(a, d)


def test_samples_are_drawn_some_at_a_time():
    """Of the right law and number in all: by the noise alone where a step forgets the start."""
    base, target, seen = decoder(), Gaussian(3, loc=2.0), []

    def energy(x):
        seen.append(len(x))
        return target(x)

    found = ancestral_samples(base, ULA(1.0), energy, 2500, 1, seeded())
    assert seen == [1000, 1000, 1000, 1000, 500, 500]
    assert len(found) == 2500
    assert len(found.x.unique(dim=0)) == 2500, "parts have noise of their own"
    assert_mean(found.x.flatten(), 2.0, "mean")
    assert_mean((found.x.flatten() - 2).square(), 2.0, "variance of the noise of one step")
    torch.testing.assert_close(found.energy, target(found.x))
    assert len(ancestral_samples(base, ULA(1.0), target, 1001, 1, seeded())) == 1001


@pytest.mark.parametrize("settings", METHODS, ids=lambda m: type(m).__name__)
def test_positions_are_not_rounded_where_products_are_in_bfloat16(settings):
    """In bfloat16 a step of 2e-6 would move nothing."""
    method, data = built(settings, ULA(1e-6))
    method, data = method.float(), data.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = refine(method.base, ULA(1e-6), bowl, 200, 1, seeded())
        loss, _, info = method.step(bowl, Batch(data), None, seeded())
        drawn = method.sample(bowl, Batch(data), None, 3, seeded())
    for tensor in (found.z, found.proposed, found.walkers.x, found.walkers.grad, drawn.x, loss):
        assert tensor.dtype == torch.float32
    moved = found.walkers.x - found.proposed
    assert_mean(moved.square().flatten().double(), 2e-6, "variance of the noise")
    assert info["displacement"] > 0
    assert all(value.isfinite() for value in info.values())
