"""The contract that all kernels keep, whatever they do."""

import dataclasses
import inspect
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from boltzwalk import kernels
from boltzwalk.energies.analytic import Gaussian, GumbelProduct
from boltzwalk.kernels import (
    HMC,
    MALA,
    ULA,
    AdamDescent,
    Descent,
    Independence,
    Kernel,
    KineticLangevin,
    NormalProposals,
    Transport,
    run_chain,
)
from boltzwalk.walkers import walkers_at
from statistics_helpers import Counting, assert_same_walkers

KERNELS = [
    ULA(0.3),
    ULA(0.3, 0.5, gradient_clip=0.4, box=(-1.5, 2.0)),
    MALA(0.6),
    HMC(0.9, 1),
    HMC(0.6, 4, 0.8),
    KineticLangevin(0.3, 1.0),
    KineticLangevin(0.3, 1.0, substeps=3),
    Descent(0.1),
    Descent(0.1, 0.7),
    AdamDescent(0.1),
    Independence(Gaussian(3, 0.5, 1.5)),
    NormalProposals(),
    Transport(0.1),
    Transport(0.1, sphere=False),
]
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: repr(k)[:40])


class NoHostSync(TorchDispatchMode):
    """Refuses to read a number back from the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(function), "a step waits for the device"
        assert "nonzero" not in str(function), "a step waits for the device"
        return function(*args, **(kwargs or {}))


def start(rng, n=60, dtype=torch.float64):
    energy = GumbelProduct(3)
    x = energy.sample(n, rng).to(dtype)
    return energy, walkers_at(energy, x, torch.linspace(-1, 1, n, dtype=dtype))


def everything(walkers):
    return [walkers.x, walkers.energy, walkers.grad, walkers.log_w, *walkers.memory]


def test_every_kernel_is_here():
    classes = [getattr(kernels, name) for name in kernels.__all__]
    kinds = {c for c in classes if dataclasses.is_dataclass(c) and hasattr(c, "step")}
    assert {type(kernel) for kernel in KERNELS} == kinds


@every_kernel
def test_names_and_immutability(kernel):
    assert isinstance(kernel, Kernel)
    assert list(inspect.signature(kernel.step).parameters) == ["energy", "walkers", "rng"]
    field = dataclasses.fields(kernel)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kernel, field, getattr(kernel, field))
    assert dataclasses.replace(kernel) == kernel
    assert repr(kernel).startswith(type(kernel).__name__ + "(")
    assert kernel.temperature >= 0


@every_kernel
def test_the_cache_is_fresh(kernel, rng):
    """After every step the cached energy and gradient are those of the positions."""
    energy, walkers = start(rng)
    for _ in range(4):
        before = walkers.x
        walkers, info = kernel.step(energy, walkers, rng)
        assert info.accepted.any()
        assert not kernel.invariant or not info.accepted.all()
        assert torch.equal((walkers.x != before).any(1), info.accepted)
        fresh = walkers_at(energy, walkers.x, walkers.log_w, walkers.memory)
        assert_same_walkers(walkers, fresh)


@every_kernel
def test_log_weights_are_carried_along(kernel, rng):
    energy, walkers = start(rng)
    moved, _ = kernel.step(energy, walkers, rng)
    assert torch.equal(moved.log_w, walkers.log_w)


@every_kernel
def test_steps_are_pure(kernel, rng):
    energy, walkers = start(rng)
    walkers, _ = kernel.step(energy, walkers, rng)
    before = [field.clone() for field in everything(walkers)]
    a, _ = kernel.step(energy, walkers, torch.Generator().manual_seed(1))
    b, _ = kernel.step(energy, walkers, torch.Generator().manual_seed(1))
    for field, copy in zip(everything(walkers), before, strict=True):
        assert torch.equal(field, copy)
    for s, t in zip(everything(a), everything(b), strict=True):
        assert torch.equal(s, t)
        assert not s.requires_grad


@every_kernel
def test_gradients_are_counted(kernel, rng):
    energy, walkers = start(rng)
    counting = Counting(energy)
    for _ in range(3):
        walkers, _ = kernel.step(counting, walkers, rng)
    assert counting.walkers == 3 * len(walkers) * kernel.gradients


@every_kernel
def test_memory_belongs_to_its_walker(kernel, rng):
    """Picking walkers and moving them commute, in the moments before any noise is drawn."""
    energy, walkers = start(rng)
    walkers, _ = kernel.step(energy, walkers, rng)
    order = torch.randperm(len(walkers), generator=rng)
    picked = walkers[order]
    assert [f.shape[0] for f in picked.memory] == [len(walkers)] * len(walkers.memory)
    for field, whole in zip(picked.memory, walkers.memory, strict=True):
        assert torch.equal(field, whole[order])
    if kernel.temperature == 0:
        assert_same_walkers(
            kernel.step(energy, picked, rng)[0], kernel.step(energy, walkers, rng)[0][order]
        )


@every_kernel
def test_a_step_never_waits_for_the_device(kernel, rng):
    energy, walkers = start(rng)
    with NoHostSync():
        run_chain(kernel, energy, walkers, 3, rng, check=False)


@every_kernel
def test_single_precision_stays_single(kernel, rng):
    torch.set_default_dtype(torch.float32)
    energy, walkers = start(rng, dtype=torch.float32)
    for _ in range(2):
        walkers, info = kernel.step(energy, walkers, rng)
    assert {field.dtype for field in [*everything(walkers), info.acceptance]} == {torch.float32}
    assert info.accepted.dtype == torch.bool


@every_kernel
def test_a_constant_in_the_energy_changes_nothing(kernel, rng):
    energy, walkers = start(rng)

    def shifted(x):
        return energy(x) + 100.0

    a, first = run_chain(kernel, energy, walkers, 3, torch.Generator().manual_seed(1))
    again = walkers_at(shifted, walkers.x, walkers.log_w)
    b, second = run_chain(kernel, shifted, again, 3, torch.Generator().manual_seed(1))
    torch.testing.assert_close(a.x, b.x)
    torch.testing.assert_close(first.acceptance, second.acceptance)


@pytest.mark.parametrize(
    ("cold", "warm"),
    [
        (lambda t: ULA(0.2, t), lambda t: ULA(0.2 * t)),
        (lambda t: MALA(0.6, t), lambda t: MALA(0.6 * t)),
        (lambda t: HMC(0.7, 3, t), lambda t: HMC(0.7 * math.sqrt(t), 3)),
        (lambda t: KineticLangevin(0.3, 1.0, 0.8, t), lambda t: KineticLangevin(0.3, 1.0, 0.8 * t)),
        (lambda t: Independence(Gaussian(3), t), lambda t: Independence(Gaussian(3))),
        (lambda t: NormalProposals(t), lambda t: NormalProposals()),
    ],
)
def test_a_temperature_is_a_scaled_energy(cold, warm, rng):
    """A kernel at T on U is the kernel at 1 on U / T with its step rescaled, draw for draw."""
    t, energy = 0.35, GumbelProduct(3)

    def scaled(x):
        return energy(x) / t

    x = energy.sample(60, rng)
    a, b = walkers_at(energy, x), walkers_at(scaled, x)
    for seed in range(4):
        a, first = cold(t).step(energy, a, torch.Generator().manual_seed(seed))
        b, second = warm(t).step(scaled, b, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(a.x, b.x)
        torch.testing.assert_close(first.acceptance, second.acceptance)
    assert (a.x != x).any()


@pytest.mark.parametrize(
    "kernel",
    [
        ULA(0.1, 1e-30),
        MALA(0.1, 1e-30),
        Descent(0.1),
        HMC(0.1, 7, 1e-30),
        KineticLangevin(0.02, friction=0.7, inverse_mass=1.3, temperature=1e-30, substeps=200),
    ],
    ids=lambda kernel: type(kernel).__name__,
)
def test_drift_is_how_far_a_constant_gradient_carries_a_walker(kernel, rng):
    """Without noise and from rest, against a gradient of size 5."""
    slope = torch.tensor([3.0, 4.0])
    start = walkers_at(lambda x: x @ slope, torch.zeros(1, 2))
    moved, _ = kernel.step(lambda x: x @ slope, start, rng)
    assert moved.x.norm().item() == pytest.approx(5 * kernel.drift, rel=1e-3)
