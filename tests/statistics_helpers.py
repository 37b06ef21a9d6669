"""Statistical assertions whose rate of false alarm is known, and oracles for them."""

import math

import torch
from torch import Tensor

BOUND = 5.0  # standard errors; the two-sided false-alarm rate is 5.7e-7 for each comparison


def assert_mean(samples: Tensor, expected: float, what: str) -> None:
    """Samples of shape (N,) are independent and have the given mean, at 5 standard errors."""
    n = len(samples)
    error = samples.mean().item() - expected
    unit = samples.std().item() / math.sqrt(n)
    assert abs(error) < BOUND * unit, (
        f"{what}: mean {samples.mean().item():.5f}, expected {expected:.5f}, "
        f"off by {error / unit:+.1f} standard errors (n={n})"
    )


class TemperedGumbel:
    r"""Exact samples and moments of exp(-U / T) for the Gumbel product U(x) = Σ x + exp(-x).

    With w = exp(-x) the density is that of a Gamma variable of shape and rate 1 / T, so that
    E[w] = 1, Var[w] = T, E[x] = log(1 / T) - ψ(1 / T) and Var[x] = ψ'(1 / T).
    """

    def __init__(self, dim: int, temperature: float = 1.0) -> None:
        self.dim, self.temperature = dim, temperature
        rate = torch.tensor(1 / temperature, dtype=torch.float64)
        self.mean = (rate.log() - torch.digamma(rate)).item()
        self.variance = torch.polygamma(1, rate).item()

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        rate = torch.full((n, self.dim), 1 / self.temperature)
        return -torch.log(torch._standard_gamma(rate, generator=rng) * self.temperature)

    def assert_samples(self, x: Tensor) -> None:
        """Every coordinate has the right location, spread and tail."""
        for i in range(self.dim):
            c = x[:, i]
            assert_mean(c, self.mean, f"E[x_{i}]")
            assert_mean((c - self.mean).square(), self.variance, f"Var[x_{i}]")
            assert_mean(torch.exp(-c), 1.0, f"E[exp(-x_{i})]")
            assert_mean((torch.exp(-c) - 1).square(), self.temperature, f"Var[exp(-x_{i})]")


class Counting:
    """An energy that counts the walkers it evaluates; without a closed form of the gradient."""

    def __init__(self, energy) -> None:
        self.energy, self.walkers = energy, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.walkers += len(x)
        return self.energy(x)


def assert_same_walkers(a, b) -> None:
    """Two populations agree in every field, up to rounding."""
    for name in ("x", "energy", "grad", "log_w"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), equal_nan=True)
    assert len(a.memory) == len(b.memory)
    for s, t in zip(a.memory, b.memory, strict=True):
        torch.testing.assert_close(s, t)
