"""What an update of variational teaching costs: against the sum of its parts, and a plain loop.

    python benchmarks/cooperation.py

The parts are K steps of the kernel, one update of the energy and one of the VAE, each timed alone
in the process of the update. The plain loop is a process of its own, with the structure of the
published codes and default layers: eager, the parameters' gradients filled at every step of every
walker, one optimizer a network. The networks are those of `vae_teaching_mnist`, of the same shapes.
Processes take turns; medians over the rounds, of ratios within one round.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from cases import Case, plain_energy
from machine import describe
from torch import nn
from turns import answer, take_turns

from boltzwalk.bases import published as published
from boltzwalk.bases import vae_loss
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import Descent, run_chain
from boltzwalk.method import Batch
from boltzwalk.methods.variational import Variational
from boltzwalk.networks import batch_statistics
from boltzwalk.networks.published import short_run_network
from boltzwalk.training.process import keep_freed_memory
from boltzwalk.walkers import walkers_at

ROUNDS, EACH, STEPS, CHAINS, EVENT, LATENT = 5, 3, 15, 64, (1, 28, 28), 32
STEP, GAMMA, RATE = 0.005, 0.5, 1e-5
CASE = Case(
    "short-run network of width 16",
    EVENT,
    CHAINS,
    STEP,
    STEPS,
    convolutions=((16, 3, 1, 1), (32, 4, 2, 1), (64, 4, 2, 1), (128, 4, 2, 1)),
    activation="leaky_relu",
)


class PlainAutoencoder(nn.Module):
    """The VAE as a script would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(32, 64, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(64, 64, 3, 2, 1), nn.LeakyReLU(0.2)),
            nn.Flatten(),
        )
        self.mean, self.log_variance = nn.Linear(1024, LATENT), nn.Linear(1024, LATENT)
        self.decoder = nn.Sequential(
            *(nn.Linear(LATENT, 3136), nn.Unflatten(1, (64, 7, 7))),
            *(nn.BatchNorm2d(64), nn.LeakyReLU(0.2)),
            *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.2)),
            *(nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the loss of a batch."""
        features = self.encoder(x)
        mean, log_variance = self.mean(features), self.log_variance(features)
        made = self.decoder(mean + torch.exp(log_variance / 2) * torch.randn_like(mean))
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return ((made - x).flatten(1).square().sum(1) + GAMMA * kl).mean()


def plain_updates() -> dict[str, Callable[[], object]]:
    """Returns the update as a script would write it."""
    energy, vae = plain_energy(CASE), PlainAutoencoder()
    of_energy, of_vae = (torch.optim.Adam(net.parameters(), RATE) for net in (energy, vae))
    data = torch.rand(CHAINS, *EVENT) * 2 - 1

    def update() -> None:
        vae.eval()
        x = vae.decoder(torch.randn(CHAINS, LATENT)).detach()
        vae.train()
        for _ in range(STEPS):
            x.requires_grad_()
            energy(x).sum().backward()
            x = (x - STEP * x.grad).detach()
        of_energy.zero_grad()
        (energy(data).mean() - energy(x).mean()).backward()
        of_energy.step()
        of_vae.zero_grad()
        vae(x).backward()
        of_vae.step()

    return {"update": update}


def our_updates(bfloat16: bool) -> dict[str, Callable[[], object]]:
    """Returns the update of the method, and its parts."""
    keep_freed_memory()
    rng = torch.Generator().manual_seed(0)
    data = torch.rand(CHAINS, *EVENT, generator=rng) * 2 - 1
    energy = NetworkEnergy(short_run_network(width=16)).build(EVENT, 0)
    settings = Variational(published.mnist_small_vae(), Descent(STEP), STEPS, CHAINS, gamma=GAMMA)
    method = settings.build(EVENT, 0, Batch(data))
    groups = [{"params": list(energy.parameters())}, *method.parameter_groups()]
    optimizer = torch.optim.Adam(groups, RATE)

    def learn(loss: Callable[[], torch.Tensor]) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            value = loss()
        value.backward()
        optimizer.step()

    def teach() -> torch.Tensor:
        with batch_statistics(method.base, rng):
            return vae_loss(method.base, walkers, GAMMA, rng)[0]

    @torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)
    def chains() -> torch.Tensor:
        with torch.no_grad():
            x = method.base.decode(method.base.latents(CHAINS, rng))
        return run_chain(settings.kernel, energy, walkers_at(energy, x), STEPS, rng)[0].x

    walkers = chains()
    return {
        "update": lambda: learn(lambda: method.step(energy, Batch(data), None, rng)[0]),
        "chains": chains,
        "energy": lambda: learn(lambda: energy(data).mean() - energy(walkers).mean()),
        "vae": lambda: learn(teach),
    }


KINDS = {
    "plain loop": plain_updates,
    "fp32": lambda: our_updates(bfloat16=False),
    "bf16": lambda: our_updates(bfloat16=True),
}


def main() -> None:
    """Prints the ratios."""
    rounds = take_turns(__file__, tuple(KINDS), ROUNDS)
    print(describe(ROUNDS))
    print(f"{'':<8}{'an update':>12}{'/ sum of parts':>16}{'plain loop / it':>17}")
    for kind in ("fp32", "bf16"):
        cost = statistics.median(r[kind]["update"] for r in rounds)
        parts = statistics.median(
            r[kind]["update"] / sum(v for k, v in r[kind].items() if k != "update") for r in rounds
        )
        faster = statistics.median(r["plain loop"]["update"] / r[kind]["update"] for r in rounds)
        print(f"{kind:<8}{1e3 * cost:>9.0f} ms{parts:>16.2f}{faster:>17.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer(KINDS[sys.argv[1]](), EACH) if len(sys.argv) > 1 else main()
