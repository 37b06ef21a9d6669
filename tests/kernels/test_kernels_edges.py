"""What must not pass silently, and the shapes at the edge."""

import math

import pytest
import torch

from boltzwalk.energies.analytic import Gaussian, GumbelProduct
from boltzwalk.kernels import (
    HMC,
    MALA,
    ULA,
    AdamDescent,
    Descent,
    Independence,
    KineticLangevin,
    noise_temperature,
    require_weighable,
)
from boltzwalk.walkers import walkers_at

EXACT = [MALA(0.5), HMC(0.8, 3), Independence(Gaussian(1, 0.0, 1.5))]


def outside(value):
    """A Gaussian in (-1, 1); outside, the energy is the given value."""
    return lambda x: torch.where(x[:, 0].abs() < 1, x.square().sum(-1) / 2, value)


def logarithm(x):
    """A Gaussian with walls; beyond them, the energy is nan."""
    return (x.square() / 2 - torch.log(1 - x.abs())).sum(-1)


def kinked(x):
    """Finite everywhere, but autograd's gradient beyond 1 is 0 / 0."""
    return x.square().sum(-1) / 2 + torch.sqrt((1 - x[:, 0]) * (x[:, 0] < 1))


@pytest.mark.parametrize("kernel", EXACT)
@pytest.mark.parametrize(
    "energy", [outside(math.inf), outside(math.nan), outside(-math.inf), logarithm]
)
def test_a_move_out_of_the_support_is_rejected(kernel, energy, rng):
    walkers, refused = walkers_at(energy, torch.zeros(300, 1)), 0
    for _ in range(15):
        walkers, info = kernel.step(energy, walkers, rng)
        refused += (info.acceptance == 0).sum()
        assert ((info.acceptance >= 0) & (info.acceptance <= 1)).all()
    assert refused > 0
    assert walkers.energy.isfinite().all()
    assert walkers.grad.isfinite().all()
    assert (walkers.x.abs() < 1).all()
    assert walkers.x.std() > 0.1


@pytest.mark.parametrize("kernel", EXACT)
def test_a_gradient_that_is_not_finite_is_rejected(kernel, rng):
    """Its energy is finite, but no step could leave it again."""
    assert walkers_at(kinked, torch.full((1, 1), 1.5)).energy.isfinite().all()
    assert walkers_at(kinked, torch.full((1, 1), 1.5)).grad.isnan().all()
    walkers = walkers_at(kinked, torch.full((300, 1), 0.9))
    for _ in range(15):
        walkers, _ = kernel.step(kinked, walkers, rng)
    assert walkers.grad.isfinite().all()
    assert walkers.x.isfinite().all()
    assert walkers.x.max() <= 1


def test_a_diverged_trajectory_is_rejected(rng):
    def energy(x):
        return x.pow(4).sum(-1)

    start = walkers_at(energy, torch.ones(50, 2))
    walkers, info = HMC(5.0, 20).step(energy, start, rng)
    assert not info.accepted.any()
    assert torch.equal(info.acceptance, torch.zeros(50))
    assert torch.equal(walkers.x, start.x)
    assert torch.equal(walkers.grad, start.grad)


def test_a_diverged_unadjusted_chain_is_in_full_sight(rng):
    def energy(x):
        return x.pow(4).sum(-1)

    walkers = walkers_at(energy, torch.full((5, 1), 10.0))
    for _ in range(10):
        walkers, _ = ULA(1.0).step(energy, walkers, rng)
    assert not walkers.energy.isfinite().any()


@pytest.mark.parametrize("shape", [(), (3,), (1, 4, 4)])
@pytest.mark.parametrize(
    "kernel",
    [
        ULA(0.1, gradient_clip=1.0, box=(-2.0, 2.0)),
        MALA(0.2),
        HMC(0.3, 2),
        KineticLangevin(0.3, 1.0),
        Descent(0.1, 0.5),
        AdamDescent(0.1),
    ],
)
@pytest.mark.parametrize("n", [0, 1, 16])
def test_any_event_shape_and_number_of_walkers(kernel, shape, n, rng):
    def energy(x):
        return x.reshape(len(x), math.prod(x.shape[1:])).square().sum(1) / 2

    walkers = walkers_at(energy, torch.ones(n, *shape))
    for _ in range(2):
        walkers, info = kernel.step(energy, walkers, rng)
    assert walkers.x.shape == walkers.grad.shape == (n, *shape)
    assert info.acceptance.shape == info.accepted.shape == walkers.energy.shape == (n,)
    assert n == 0 or (walkers.x != 1).any()


@pytest.mark.parametrize("kernel", [ULA(0.1), MALA(0.1), HMC(0.1), KineticLangevin(0.1, 1.0)])
def test_an_energy_of_shape_n_1_is_refused(kernel, rng):
    walkers = walkers_at(GumbelProduct(3), torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"shape \(N,\) = \(5,\), got \(5, 1\)"):
        kernel.step(lambda x: x.square().sum(-1, keepdim=True), walkers, rng)


@pytest.mark.parametrize("value", [0.0, -0.1, math.nan, math.inf])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: ULA(v), "step_size"),
        (lambda v: ULA(0.1, v), "temperature"),
        (lambda v: ULA(0.1, gradient_clip=v), "gradient_clip"),
        (lambda v: MALA(v), "step_size"),
        (lambda v: MALA(0.1, v), "temperature"),
        (lambda v: HMC(v), "step_size"),
        (lambda v: HMC(0.1, 1, v), "temperature"),
        (lambda v: KineticLangevin(v, 1.0), "step_size"),
        (lambda v: KineticLangevin(0.1, v), "friction"),
        (lambda v: KineticLangevin(0.1, 1.0, v), "inverse_mass"),
        (lambda v: KineticLangevin(0.1, 1.0, 1.0, v), "temperature"),
        (lambda v: Descent(v), "step_size"),
        (lambda v: AdamDescent(v), "step_size"),
        (lambda v: AdamDescent(0.1, epsilon=v), "epsilon"),
        (lambda v: Independence(Gaussian(1), v), "temperature"),
        (lambda v: noise_temperature(v, 0.1), "step_size"),
        (lambda v: noise_temperature(0.1, v), "noise"),
    ],
)
def test_hyper_parameters_are_positive(make, name, value):
    with pytest.raises(ValueError, match=rf"finite {name} > 0, got {value}; write "):
        make(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HMC(0.1, 0), "leapfrog_steps >= 1, got 0; write leapfrog_steps=1"),
        (lambda: KineticLangevin(0.1, 1.0, substeps=0), "substeps >= 1, got 0; write substeps=1"),
        (lambda: ULA(0.1, box=(1.0, 1.0)), r"low < high, got \(1.0, 1.0\); write box="),
        (lambda: Descent(0.1, 1.0), "0 <= momentum < 1, got 1.0; write momentum="),
        (lambda: Descent(0.1, -0.1), "0 <= momentum < 1, got -0.1; write momentum="),
        (lambda: AdamDescent(0.1, beta1=1.0), "0 <= beta1 < 1, got 1.0; write beta1="),
        (lambda: AdamDescent(0.1, beta2=1.0), "0 <= beta2 < 1, got 1.0; write beta2="),
    ],
)
def test_impossible_hyper_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_foreign_velocity_is_refused(rng):
    energy = GumbelProduct(2)
    walkers = walkers_at(energy, torch.zeros(3, 2), memory=(torch.zeros(3, 2), torch.zeros(3, 2)))
    with pytest.raises(ValueError, match=r"one velocity of shape \(3, 2\), got .*; write"):
        KineticLangevin(0.1, 1.0).step(energy, walkers, rng)


@pytest.mark.parametrize("kernel", [ULA(0.1), *EXACT])
def test_exact_weights_are_allowed(kernel):
    assert kernel.weighable
    require_weighable(kernel)


@pytest.mark.parametrize(
    "kernel",
    [
        ULA(0.1, gradient_clip=1.0),
        ULA(0.1, box=(-1.0, 1.0)),
        KineticLangevin(0.1, 1.0),
        Descent(0.1),
        AdamDescent(0.1),
    ],
)
def test_wrong_weights_are_refused(kernel):
    assert not kernel.weighable
    assert not kernel.invariant
    with pytest.raises(ValueError, match=r"weighted walkers need .* got \w+\(.*; write MALA"):
        require_weighable(kernel)
