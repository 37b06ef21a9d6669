"""Latent Langevin steps per second of a generalized model, against a loop of published structure.

    python benchmarks/latent.py

The loop has the structure of the published code: default layers, layout and memory, spectral
normalisation at every call, and `backward`, which fills the gradients of all parameters as well.
Ours are chains as `boltzwalk sample` runs them, on frozen copies. Processes take turns; medians
over the rounds, of ratios within one round.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from machine import describe
from torch import Tensor, nn
from torch.nn.utils import spectral_norm
from turns import answer, take_turns

from boltzwalk.bases import published as bases
from boltzwalk.bases.latent import LatentEnergy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA, run_chain
from boltzwalk.networks import published as energies
from boltzwalk.networks.fusion import fuse_for_inference
from boltzwalk.recipes import RECIPES
from boltzwalk.training.process import keep_freed_memory
from boltzwalk.walkers import walkers_at

ROUNDS, CHAINS, STEP = 5, 64, 1e-4


def plain_convnet() -> tuple[nn.Module, nn.Module]:
    """The SNGAN ConvNet pair for 3 x 32 x 32, in default layers."""
    generator: list[nn.Module] = [nn.Linear(100, 8192), nn.Unflatten(1, (512, 4, 4))]
    generator += [nn.BatchNorm2d(512), nn.ReLU()]
    for inputs in (512, 256, 128):
        generator.append(nn.ConvTranspose2d(inputs, inputs // 2, 4, 2, 1))
        generator += [nn.BatchNorm2d(inputs // 2), nn.ReLU()]
    generator += [nn.ConvTranspose2d(64, 3, 3, 1, 1), nn.Tanh()]
    critic: list[nn.Module] = [spectral_norm(nn.Conv2d(3, 64, 3, 1, 1)), nn.LeakyReLU(0.1)]
    for inputs in (64, 128, 256):
        critic += [spectral_norm(nn.Conv2d(inputs, 2 * inputs, 4, 2, 1)), nn.LeakyReLU(0.1)]
        critic += [spectral_norm(nn.Conv2d(2 * inputs, 2 * inputs, 3, 1, 1)), nn.LeakyReLU(0.1)]
    critic += [nn.Flatten(), nn.Linear(8192, 1), nn.Flatten(0)]
    return nn.Sequential(*generator).eval(), nn.Sequential(*critic).eval()


def plain_mnist() -> tuple[nn.Module, nn.Module]:
    """The pair of `gebm_mnist`, in default layers."""
    generator = nn.Sequential(
        *(nn.Linear(32, 3136), nn.Unflatten(1, (64, 7, 7)), nn.BatchNorm2d(64), nn.LeakyReLU(0.2)),
        *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.2)),
        *(nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh()),
    )
    critic = nn.Sequential(
        *(spectral_norm(nn.Conv2d(1, 32, 4, 2, 1)), nn.LeakyReLU(0.1)),
        *(spectral_norm(nn.Conv2d(32, 64, 4, 2, 1)), nn.LeakyReLU(0.1)),
        *(nn.Flatten(), spectral_norm(nn.Linear(3136, 1)), nn.Flatten(0)),
    )
    return generator.eval(), critic.eval()


def plain_chain(generator: nn.Module, critic: nn.Module, z: Tensor, steps: int) -> None:
    """A chain as a script would write it."""
    for _ in range(steps):
        z = z.detach().requires_grad_()
        (z.square().sum(1) / 2 + critic(generator(z))).sum().backward()
        assert z.grad is not None
        z = z - STEP * z.grad + (2 * STEP) ** 0.5 * torch.randn(z.shape)


def ours(pair: tuple[nn.Module, nn.Module], z: Tensor, steps: int, bfloat16: bool) -> None:
    """A chain as samples are drawn."""
    energy, rng = LatentEnergy(*pair), torch.Generator().manual_seed(0)  # type: ignore[arg-type]
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        run_chain(ULA(STEP), energy, walkers_at(energy, z), steps, rng, diagnose=False)


class Pair(NamedTuple):
    """A base and an energy, in default layers and in ours."""

    title: str
    plain: Callable[[], tuple[nn.Module, nn.Module]]
    ours: Callable[[], tuple[nn.Module, nn.Module]]
    latent: int
    steps: int


def our_mnist() -> tuple[nn.Module, nn.Module]:
    """The pair of `gebm_mnist`."""
    event = (1, 28, 28)
    energy = RECIPES["gebm_mnist"]().energy.build(event, 0)
    return bases.mnist_small_vae().generator().build(event, 0), energy


def our_convnet() -> tuple[nn.Module, nn.Module]:
    """The SNGAN ConvNet pair for 3 x 32 x 32."""
    event = (3, 32, 32)
    energy = NetworkEnergy(energies.spectral_gan_network()).build(event, 0)
    return bases.spectral_gan_generator().build(event, 0), energy


PAIRS = {
    "mnist": Pair("gebm_mnist", plain_mnist, our_mnist, 32, 20),
    "convnet": Pair("SNGAN ConvNet", plain_convnet, our_convnet, 100, 2),
}
WAYS = ("plain loop", "fp32", "bf16")


def pieces(way: str) -> dict[str, Callable[[], object]]:
    """Returns a chain of each pair."""
    torch.manual_seed(0)
    if way != "plain loop":
        keep_freed_memory()
    found: dict[str, Callable[[], object]] = {}
    for name, pair in PAIRS.items():
        z = torch.randn(CHAINS, pair.latent)
        if way == "plain loop":
            found[name] = partial(plain_chain, *pair.plain(), z, pair.steps)
        else:
            base, energy = pair.ours()
            found[name] = partial(
                ours,
                (fuse_for_inference(base), fuse_for_inference(energy)),
                z,
                pair.steps,
                way == "bf16",
            )
    return found


def main() -> None:
    """Prints the rates of both pairs."""
    rounds = take_turns(__file__, WAYS, ROUNDS)
    print(describe(ROUNDS))
    for name, pair in PAIRS.items():
        counts = [sum(p.numel() for p in net.parameters()) for net in (*pair.plain(), *pair.ours())]
        assert counts[:2] == counts[2:], counts
        print(f"{pair.title}: {counts[0]:,} and {counts[1]:,} parameters, {CHAINS} chains")
        for way in WAYS:
            rate = pair.steps / statistics.median(r[way][name] for r in rounds)
            ratio = statistics.median(r["plain loop"][name] / r[way][name] for r in rounds)
            print(f"  {way:<12}{rate:8.2f} steps/s{ratio:8.2f} x")


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer(pieces(sys.argv[1])) if len(sys.argv) > 1 else main()
