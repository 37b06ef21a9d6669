"""Latent Langevin steps per second of a generalized model, against a loop of published structure.

    python benchmarks/latent.py

The loop has the structure of the published code: default layers, layout and memory, spectral
normalisation at every call, and `backward`, which fills the gradients of all parameters as well.
Ours are chains as `boltzwalk sample` runs them, on frozen copies. Both take turns in one process;
medians over the rounds, of ratios within one round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from machine import describe
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from boltzwalk.bases import published as bases
from boltzwalk.bases.frozen import frozen
from boltzwalk.bases.latent import LatentEnergy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies import published as energies
from boltzwalk.kernels import ULA, run
from boltzwalk.recipes import RECIPES
from boltzwalk.train.process import keep_freed_memory
from boltzwalk.walkers import evaluate

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
        *(spectral_norm(nn.Conv2d(1, 16, 4, 2, 1)), nn.LeakyReLU(0.1)),
        *(spectral_norm(nn.Conv2d(16, 32, 4, 2, 1)), nn.LeakyReLU(0.1)),
        *(nn.Flatten(), spectral_norm(nn.Linear(1568, 1)), nn.Flatten(0)),
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
        run(ULA(STEP), energy, evaluate(energy, z), steps, rng, diagnose=False)


def seconds(work: Callable[[], object]) -> float:
    """The processor time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(
    title: str,
    plain: tuple[nn.Module, nn.Module],
    pair: tuple[nn.Module, nn.Module],
    latent: int,
    steps: int,
) -> None:
    """Prints the rates of one pair of networks."""
    counts = [sum(p.numel() for p in network.parameters()) for network in (*plain, *pair)]
    assert counts[:2] == counts[2:], counts
    fast, z = (frozen(pair[0]), frozen(pair[1])), torch.randn(CHAINS, latent)
    ways: dict[str, Callable[[], None]] = {
        "plain loop": lambda: plain_chain(*plain, z, steps),
        "fp32": lambda: ours(fast, z, steps, False),
        "bf16": lambda: ours(fast, z, steps, True),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, work in ways.items():
            spent = seconds(work) / steps
            if turn:  # the first one warms up
                took[name].append(spent)
    print(f"{title}: {counts[0]:,} and {counts[1]:,} parameters, {CHAINS} chains")
    for name, spent in took.items():
        ratio = statistics.median(a / b for a, b in zip(took["plain loop"], spent, strict=True))
        print(f"  {name:<12}{1 / statistics.median(spent):8.2f} steps/s{ratio:8.2f} x")


def main() -> None:
    """Measures both pairs."""
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    print(describe(ROUNDS))
    settings = RECIPES["gebm_mnist"]()
    event = (1, 28, 28)
    pair = (bases.mnist_small().generator().build(event, 0), settings.energy.build(event, 0))
    measure("gebm_mnist", plain_mnist(), pair, 32, 20)
    event = (3, 32, 32)
    critic = NetworkEnergy(energies.spectral_gan()).build(event, 0)
    pair = (bases.spectral_gan().build(event, 0), critic)
    measure("SNGAN ConvNet", plain_convnet(), pair, 100, 2)


if __name__ == "__main__":
    main()
