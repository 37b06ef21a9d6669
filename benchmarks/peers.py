"""The implementations that are compared, each behind one function.

``prepare(implementation, case, algorithm)`` returns a job: a chain (or an update) that can be run
again and again, and how many gradients it takes, summed over the chains. The algorithms are "ULA",
"MALA", "HMC" and "training", a short-run update with Adam. A library that has no such algorithm
raises :class:`NotOfferedError`, and one that is not installed ImportError.

Everything heavy is imported by the function that needs it: each implementation runs in a process of
its own and must not pay for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from cases import CASES, MEANS, SCALE, Case, plain_energy
from torch import Tensor

if TYPE_CHECKING:
    from jax import Array

__all__ = ["ALGORITHMS", "IMPLEMENTATIONS", "OURS", "Job", "NotOfferedError", "prepare"]

ALGORITHMS = ("ULA", "MALA", "HMC", "training")
OURS = ("boltzwalk fp32", "boltzwalk bf16")
IMPLEMENTATIONS = (*OURS, "hand-written", "TorchEBM", "blackjax")
LEARNING_RATE = 1e-4


class NotOfferedError(Exception):
    """The implementation has no such algorithm."""


class Job(NamedTuple):
    """A unit of work.

    Attributes:
        run: Does it.
        gradients: How many energy gradients it takes, summed over the chains.
    """

    run: Callable[[], object]
    gradients: int


def prepare(implementation: str, case_name: str, algorithm: str, training_steps: int) -> Job:
    """Builds a job; compiling and warming up are left to its first run.

    Arguments:
        implementation: One of :data:`IMPLEMENTATIONS`.
        case_name: One of :data:`~cases.CASES`.
        algorithm: One of :data:`ALGORITHMS`.
        training_steps: The number of Langevin steps K of an update.

    Raises:
        NotOfferedError: If the library has no such algorithm.
        ImportError: If it is not installed.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    case = CASES[case_name]
    if algorithm == "training" and not case.is_network:
        raise NotOfferedError("a mixture has no parameters")
    if implementation == "hand-written":
        return _hand_written(case, algorithm, training_steps)
    if implementation == "TorchEBM":
        return _torchebm(case, algorithm, training_steps)
    if implementation == "blackjax":
        return _blackjax(case, algorithm)
    return _boltzwalk(case_name, algorithm, training_steps, implementation.endswith("bf16"))


def _start(case: Case) -> Tensor:
    """Where the chains start."""
    return torch.rand(case.chains, *case.event_shape) * 2 - 1


def _boltzwalk(case_name: str, algorithm: str, training_steps: int, bfloat16: bool) -> Job:
    """Our own kernels, as a training run drives them."""
    from boltzwalk.energies.analytic import GaussianMixture
    from boltzwalk.kernels import HMC, MALA, ULA, run_chain
    from boltzwalk.method import Batch
    from boltzwalk.methods.contrastive import Contrastive
    from boltzwalk.methods.starts import NoiseStart
    from boltzwalk.networks import Multilayer
    from boltzwalk.networks.published import jarzynski_mnist_network, short_run_network
    from boltzwalk.training.loop import train_loop
    from boltzwalk.training.process import keep_freed_memory
    from boltzwalk.walkers import walkers_at

    keep_freed_memory()
    case = CASES[case_name]
    if bfloat16 and not case.is_network:
        raise NotOfferedError("a closed form is not computed in bfloat16")
    energy: Any = {
        "mixture": lambda: GaussianMixture(MEANS, SCALE),
        "dense": lambda: Multilayer((128, 128)).build((2,)),
        "mnist": lambda: jarzynski_mnist_network().build((1, 28, 28)),
        "cifar": lambda: short_run_network(64).build((3, 32, 32)),
    }[case_name]()
    if case.is_network:
        plain = plain_energy(case)
        assert sum(p.numel() for p in energy.parameters()) == sum(
            p.numel() for p in plain.parameters()
        )
    rng = torch.Generator().manual_seed(0)
    x = _start(case)
    if algorithm == "training":
        method = Contrastive(NoiseStart(), ULA(case.step_size), training_steps)
        updates = train_loop(
            energy,
            method,
            lambda rng: Batch(x),
            torch.optim.Adam(energy.parameters(), lr=LEARNING_RATE),
            state=None,
            updates=10**9,
            bfloat16=bfloat16,
        )
        return Job(lambda: next(updates), case.chains * training_steps)
    kernels: dict[str, ULA | MALA | HMC] = {
        "ULA": ULA(case.step_size),
        "MALA": MALA(case.step_size),
        "HMC": HMC(case.leapfrog_time, case.leapfrog_steps),
    }
    kernel = kernels[algorithm]
    steps = case.proposals if algorithm == "HMC" else case.steps
    walkers = walkers_at(energy, x)

    def chain() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            run_chain(kernel, energy, walkers, steps, rng)

    return Job(chain, case.chains * steps * kernel.gradients)


def _hand_written(case: Case, algorithm: str, training_steps: int) -> Job:
    """A loop of the structure that published scripts have, with their default layout and memory."""
    if algorithm not in ("ULA", "training"):
        raise NotOfferedError("published scripts run Langevin dynamics only")
    energy, start = plain_energy(case), _start(case)
    noise = (2 * case.step_size) ** 0.5

    def chain(x: Tensor, steps: int) -> Tensor:
        x = x.clone().requires_grad_(True)
        for _ in range(steps):
            gradient = torch.autograd.grad(energy(x).sum(), [x], retain_graph=True)[0]
            x.data += -case.step_size * gradient + noise * torch.randn_like(x)
        return x.detach()

    if algorithm == "ULA":
        return Job(lambda: chain(start, case.steps), case.chains * case.steps)
    optimizer = torch.optim.Adam(energy.parameters(), lr=LEARNING_RATE)

    def update() -> None:
        negative = chain(torch.rand_like(start) * 2 - 1, training_steps)
        loss = energy(start).mean() - energy(negative).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Job(update, case.chains * training_steps)


def _torchebm(case: Case, algorithm: str, training_steps: int) -> Job:
    """TorchEBM's samplers and its contrastive divergence, with default options."""
    from torchebm.core import BaseModel
    from torchebm.losses import ContrastiveDivergence
    from torchebm.samplers import HamiltonianMonteCarlo, LangevinDynamics

    if algorithm == "MALA":
        raise NotOfferedError("TorchEBM has no MALA")
    flat = algorithm == "HMC"  # its HMC takes vectors only

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.energy = plain_energy(case)

        def forward(self, x: Tensor) -> Tensor:
            u: Tensor = self.energy(x.reshape(-1, *case.event_shape) if flat else x)
            return u

    model, start = Model(), _start(case)
    if algorithm == "HMC":
        hmc = HamiltonianMonteCarlo(model, case.leapfrog_time, case.leapfrog_steps)
        vectors = start.flatten(1)
        leapfrog_steps = case.chains * case.proposals * case.leapfrog_steps
        # It computes the gradient anew at both ends of a leapfrog step.
        return Job(lambda: hmc.sample(x=vectors, n_steps=case.proposals), 2 * leapfrog_steps)
    langevin = LangevinDynamics(model, step_size=case.step_size, noise_scale=1.0)
    if algorithm == "ULA":
        return Job(lambda: langevin.sample(x=start, n_steps=case.steps), case.chains * case.steps)
    divergence = ContrastiveDivergence(
        model, langevin, k_steps=training_steps, persistent=False, energy_reg_weight=0.0
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def update() -> None:
        loss, _ = divergence(start)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Job(update, case.chains * training_steps)


def _blackjax(case: Case, algorithm: str) -> Job:
    """The kernels of blackjax, vmapped over the chains, scanned over the steps and jitted."""
    import blackjax
    import jax
    import jax.numpy as jnp

    if algorithm == "training":
        raise NotOfferedError("blackjax samples only")
    log_density = _jax_log_density(case)
    dim = int(torch.Size(case.event_shape).numel())
    start = jnp.asarray(_start(case).flatten(1).numpy())
    steps = case.proposals if algorithm == "HMC" else case.steps
    if algorithm == "HMC":
        hmc = blackjax.hmc(log_density, case.leapfrog_time, jnp.ones(dim), case.leapfrog_steps)
        state, step = jax.vmap(hmc.init)(start), jax.vmap(lambda key, s: hmc.step(key, s)[0])
    elif algorithm == "MALA":
        mala = blackjax.mala(log_density, case.step_size)
        state, step = jax.vmap(mala.init)(start), jax.vmap(lambda key, s: mala.step(key, s)[0])
    else:
        sgld = blackjax.sgld(lambda x, _: jax.grad(log_density)(x))
        state = start
        step = jax.vmap(lambda key, x: sgld.step(key, x, None, case.step_size))

    @jax.jit
    def chain(key: Array, state: object) -> object:
        def one(state: object, key: Array) -> tuple[object, None]:
            return step(jax.random.split(key, case.chains), state), None

        return jax.lax.scan(one, state, jax.random.split(key, steps))[0]

    key = jax.random.key(0)
    gradients = steps * case.leapfrog_steps if algorithm == "HMC" else steps
    return Job(lambda: jax.block_until_ready(chain(key, state)), case.chains * gradients)


def _jax_log_density(case: Case) -> Callable[[Array], Array]:
    """The log-density of one flat event, as jax users write it: channels last."""
    import jax
    import jax.numpy as jnp

    if not case.is_network:
        means = jnp.asarray(MEANS)
        return lambda x: jax.nn.logsumexp(-jnp.square(x - means).sum(-1) / (2 * SCALE**2))
    rng = torch.Generator().manual_seed(0)

    def draw(fan_in: int, *shape: int) -> Array:
        return jnp.asarray((torch.randn(shape, generator=rng) / fan_in**0.5).numpy())

    def activate(h: Array) -> Array:
        return jax.nn.silu(h) if case.activation == "silu" else jax.nn.leaky_relu(h, 0.2)

    inputs, side = case.event_shape[0], case.event_shape[-1]
    kernels = []
    for channels, kernel, stride, padding in case.convolutions:
        kernels.append(draw(inputs * kernel**2, kernel, kernel, inputs, channels))
        inputs, side = channels, (side + 2 * padding - kernel) // stride + 1
    widths = [inputs * side * side if case.convolutions else inputs, *case.hidden, 1]
    matrices = [draw(a, a, b) for a, b in pairwise(widths)]
    biases = [jnp.zeros(row[0]) for row in case.convolutions], [jnp.zeros(b) for b in widths[1:]]

    def log_density(x: Array) -> Array:
        h = x
        if case.convolutions:
            h = jnp.moveaxis(x.reshape(case.event_shape), 0, -1)[None]
        rows = zip(kernels, biases[0], case.convolutions, strict=True)
        for kernel, bias, (_, _, stride, padding) in rows:
            h = jax.lax.conv_general_dilated(
                h,
                kernel,
                (stride, stride),
                [(padding, padding)] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            h = activate(h + bias)
        h = h.reshape(-1)
        for matrix, bias in zip(matrices[:-1], biases[1][:-1], strict=True):
            h = activate(h @ matrix + bias)
        return -(h @ matrices[-1] + biases[1][-1])[0]

    return log_density
