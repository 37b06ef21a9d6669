"""What an update of variational teaching costs: against the sum of its parts, and a plain loop.

    python benchmarks/cooperation.py

The parts are K steps of the kernel, one update of the energy and one of the VAE, each timed alone.
The plain loop has the structure of the published codes: eager, with the parameters' gradients
filled at every step of every walker. All take turns in one process; medians over the rounds, of
ratios within one round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from machine import describe
from torch import nn

from boltzwalk.bases import learning, published, vae_loss
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.published import short_run
from boltzwalk.kernels import Descent, run
from boltzwalk.methods.variational import Variational
from boltzwalk.train.process import keep_freed_memory
from boltzwalk.walkers import evaluate

ROUNDS, STEPS, CHAINS, EVENT = 5, 15, 64, (1, 28, 28)
STEP = 0.005


def seconds(work: Callable[[], object]) -> float:
    """The processor time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def plain(energy: nn.Module, vae: nn.Module, data: torch.Tensor, rng: torch.Generator) -> None:
    """One update as a script would write it."""
    x = vae.decode(vae.latents(CHAINS, rng)).detach()
    for _ in range(STEPS):
        x.requires_grad_()
        energy(x).sum().backward()
        x = (x - STEP * x.grad).detach()
    energy.zero_grad()
    (energy(data).mean() - energy(x).mean()).backward()
    with learning(vae, rng):
        vae_loss(vae, x, 0.5, rng)[0].backward()


def main() -> None:
    """Prints both ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    rng = torch.Generator().manual_seed(0)
    data = torch.rand(CHAINS, *EVENT, generator=rng) * 2 - 1
    energy = NetworkEnergy(short_run(width=16)).build(EVENT, 0)
    settings = Variational(published.mnist_small(), Descent(STEP), STEPS, CHAINS, gamma=0.5)
    method = settings.build(EVENT, 0, data)
    groups = [{"params": list(energy.parameters())}, *method.groups()]
    optimizer = torch.optim.Adam(groups, 1e-5)

    def update() -> None:
        loss, _, _ = method.step(energy, data, None, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def chains() -> torch.Tensor:
        with torch.no_grad():
            x = method.base.decode(method.base.latents(CHAINS, rng))
        return run(settings.kernel, energy, evaluate(energy, x), STEPS, rng)[0].x

    def energy_update() -> None:
        optimizer.zero_grad()
        (energy(data).mean() - energy(walkers).mean()).backward()
        optimizer.step()

    def base_update() -> None:
        optimizer.zero_grad()
        with learning(method.base, rng):
            vae_loss(method.base, walkers, 0.5, rng)[0].backward()
        optimizer.step()

    def plain_update() -> None:
        plain(energy, method.base, data, rng)
        optimizer.step()
        optimizer.zero_grad()

    walkers = chains()
    print(describe(ROUNDS))
    parts, loops = [], []
    for turn in range(ROUNDS + 1):
        whole = seconds(update)
        apart = seconds(chains) + seconds(energy_update) + seconds(base_update)
        by_hand = seconds(plain_update)
        if turn:  # the first one warms up
            parts.append(whole / apart)
            loops.append(by_hand / whole)
    print(f"update / sum of its parts   {statistics.median(parts):.2f}")
    print(f"plain loop / update         {statistics.median(loops):.2f}")


if __name__ == "__main__":
    main()
