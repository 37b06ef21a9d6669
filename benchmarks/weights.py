"""What weights cost: an update with weighted walkers against one with persistent ones, and log Z.

    python benchmarks/weights.py                # everything, about three minutes
    python benchmarks/weights.py --quick        # one round

The two methods take turns in one process, with the same network, data, walkers and Langevin steps;
what is printed are medians over the rounds, of CPU time and of the ratio within one round. A third
column is the update as the published code computes it: both log-densities of every move anew, four
forward passes and three input gradients a step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from machine import describe
from torch import Tensor, nn

from boltzwalk.data import Modes
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.analytic import Gaussian
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.kernels import ULA
from boltzwalk.method import Batch
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.methods.starts import ReplayStart
from boltzwalk.networks import Multilayer
from boltzwalk.networks.published import jarzynski_mnist_network
from boltzwalk.rng import generator
from boltzwalk.smc.log_z import estimate_log_z
from boltzwalk.training.loop import train_loop
from boltzwalk.training.process import keep_freed_memory


class Case(NamedTuple):
    """One comparison: an energy, as many rows of data as walkers, and K Langevin steps."""

    name: str
    energy: NetworkEnergy | MixtureEnergy
    data: Tensor
    step_size: float
    steps: int


def cases() -> Iterator[Case]:
    """The comparisons."""
    dense = NetworkEnergy(Multilayer((128, 128)), reference_scale=1.0, zero_start=True)
    images = NetworkEnergy(jarzynski_mnist_network(), reference_scale=1.0, zero_start=True)
    for steps in (1, 10):
        yield Case("2-128-128-1, 1,024 walkers", dense, torch.randn(1024, 2), 0.01, steps)
        yield Case("MNIST net, 128 walkers", images, torch.randn(128, 1, 28, 28), 1e-3, steps)
    yield Case("mixture in d = 50, 10,000 walkers", MixtureEnergy(), Modes().load().train, 0.1, 1)


def methods(case: Case) -> dict[str, Callable[[], object]]:
    """The updates that are compared, each ready to be made again and again."""
    n, kernel = len(case.data), ULA(case.step_size)
    weighted = Jarzynski(ExactStart(n), kernel, case.steps)
    persistent = Contrastive(ReplayStart(n), kernel, case.steps)
    jobs: dict[str, Callable[[], object]] = {
        "weighted": _updates(case, weighted),
        "persistent": _updates(case, persistent),
    }
    jobs["published"] = _published(case)
    return jobs


def _updates(case: Case, method: Jarzynski | Contrastive) -> Callable[[], object]:
    energy = case.energy.build(case.data.shape[1:], 0)
    state = method.init(energy, Batch(case.data), generator(0, "init"))
    optimizer = torch.optim.SGD(energy.parameters(), 1e-4)
    updates = train_loop(
        energy, method, lambda rng: Batch(case.data), optimizer, state=state, updates=10**9
    )
    return lambda: next(updates)


def _published(case: Case) -> Callable[[], object]:
    """The update with every term computed where the formula has it."""
    energy = case.energy.build(case.data.shape[1:], 0)
    optimizer = torch.optim.SGD(energy.parameters(), 1e-4)
    h, noise = case.step_size, (2 * case.step_size) ** 0.5
    x, log_w = torch.randn_like(case.data), torch.zeros(len(case.data))

    def gradient(at: Tensor) -> Tensor:
        at = at.detach().requires_grad_()
        return torch.autograd.grad(energy(at).sum(), at)[0]

    def log_alpha(a: Tensor, b: Tensor) -> Tensor:
        g = gradient(a)
        dot, square = ((b - a) * g).flatten(1).sum(1), g.square().flatten(1).sum(1)
        return energy(a).detach() + dot / 2 + h / 4 * square

    def update() -> None:
        nonlocal x, log_w
        share = torch.softmax(log_w, 0)
        optimizer.zero_grad()
        (energy(case.data).mean() - share @ energy(x)).backward()
        moves = []
        for _ in range(case.steps):
            y = x - h * gradient(x) + noise * torch.randn_like(x)
            log_w = log_w + log_alpha(x, y)
            moves.append((y, x))
            x = y
        nn.utils.clip_grad_norm_(energy.parameters(), 1e9)
        optimizer.step()
        for y, before in moves:
            log_w = log_w - log_alpha(y, before)

    return update


def compare(case: Case, rounds: int, seconds: float) -> None:
    """Lets the methods take turns and prints what they cost."""
    jobs = methods(case)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        for _ in range(3):
            job()
    for _ in range(rounds):
        for name, job in jobs.items():
            began, count = time.process_time(), 0
            while time.process_time() - began < seconds:
                job()
                count += 1
            times[name].append((time.process_time() - began) / count)
    persistent = times["persistent"]
    cells = [f"{1000 * statistics.median(times[name]):9.2f} ms" for name in jobs]
    ratios = [
        statistics.median(a / b for a, b in zip(times[name], persistent, strict=True))
        for name in ("weighted", "published")
    ]
    print(
        f"{case.name:<36}{case.steps:>4}"
        + "".join(cells)
        + f"{ratios[0]:10.2f}x{ratios[1]:10.2f}x",
        flush=True,
    )


def gaussian_log_z(rounds: int) -> None:
    """Prints log Z of a Gaussian in 100 dimensions; the reference does not know its scales."""
    target = Gaussian(100, scale=tuple(torch.linspace(0.3, 1.0, 100).tolist()))
    errors, times, widths = [], [], []
    for seed in range(rounds):
        rng = torch.Generator().manual_seed(seed)
        began = time.process_time()
        found = estimate_log_z(target, torch.randn(1000, 100, generator=rng), rng)
        times.append(time.process_time() - began)
        errors.append(found.estimate - target.log_z)
        widths.append((found.high - found.low) / 2)
    print(
        f"\nlog Z of a Gaussian in d = 100, scales 0.3 to 1, from a standard normal: error "
        f"{', '.join(f'{e:+.3f}' for e in errors)} nats (half-widths "
        f"{', '.join(f'{w:.3f}' for w in widths)}), {statistics.median(times):.1f} CPU seconds"
    )


def main() -> None:
    """Parses the command line and prints everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--quick", action="store_true", help="one short round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    rounds = 1 if arguments.quick else arguments.rounds
    print(describe(rounds))
    print(
        f"\n{'CPU time of one update':<36}{'K':>4}{'weighted':>12}{'persistent':>12}"
        f"{'published':>12}{'weighted':>11}{'published':>11}"
    )
    for case in cases():
        compare(case, rounds, 0.3 if arguments.quick else 1.0)
    gaussian_log_z(rounds)
    print(f"\nload {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
