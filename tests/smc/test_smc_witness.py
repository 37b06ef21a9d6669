"""A witness follows an energy, unbiased, and says how sure it is."""

import math

import pytest
import torch
from torch import nn

from boltzwalk.energies.composed import GaussianReference
from boltzwalk.kernels import HMC, MALA, ULA, KineticLangevin
from boltzwalk.smc.resampling import resample_below
from boltzwalk.smc.witness import Witness
from boltzwalk.walkers import log_mean_weight
from statistics_helpers import assert_mean


class Shifted(nn.Module):
    """c + k |x - a|^2 / 2, of which everything may change: as an update of parameters does."""

    def __init__(self):
        super().__init__()
        self.k, self.a, self.c = 0.0, 0.0, 0.0

    def forward(self, x):
        return self.c + self.k * (x - self.a).square().sum(1) / 2


def log_z(inner, temperature):
    """Of 1/2 |x|^2 + k/2 |x - a|^2 + c in two dimensions, by completing the square."""
    k, a = inner.k, inner.a
    rest = k / (1 + k) * a**2 / 2 * 2 + inner.c
    return math.log(2 * math.pi * temperature / (1 + k)) - rest / temperature


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("kernel", [ULA, MALA, HMC])
def test_its_mean_weight_is_unbiased(kernel, temperature, rng):
    """E[exp(log Z)] is Z after ten updates, over 600 replicates of 32 walkers that resample."""
    kernel, inner = kernel(0.2, temperature=temperature), Shifted()
    witness = Witness(walkers=600 * 32, replicates=600, threshold=0.7)
    energy, resampled = GaussianReference(inner, 1.0), 0
    seen = witness.init(kernel, energy, torch.zeros(1, 2), rng)
    assert float(log_mean_weight(seen.log_w)) == pytest.approx(log_z(inner, temperature))
    for i in range(1, 11):
        inner.k, inner.a, inner.c = 0.15 * i, 0.1 * i, -0.3 * i
        before = seen
        seen, info = witness.step(kernel, energy, seen, rng)
        resampled += len(before) - len(seen.x.unique(dim=0)) > 0
    assert resampled > 0
    ratios = log_mean_weight(seen.log_w.reshape(600, 32)) - log_z(inner, temperature)
    assert_mean(ratios.exp(), 1.0, "Z over its true value")
    mean = float(ratios.exp().mean().log()) + log_z(inner, temperature)
    assert float(info["witness_log_z"]) == pytest.approx(mean)


def test_what_it_says_comes_from_its_replicates(rng):
    inner, witness = Shifted(), Witness(walkers=40, replicates=4, steps=0, threshold=0.01)
    energy = GaussianReference(inner, 1.0)
    seen = witness.init(MALA(0.1), energy, torch.zeros(1, 2), rng)
    inner.k = 2.0
    seen, info = witness.step(MALA(0.1), energy, seen, rng)
    torch.testing.assert_close(seen.log_w, math.log(2 * math.pi) - seen.x.square().sum(1))
    blocks = seen.log_w.reshape(4, 10)
    means = log_mean_weight(blocks)
    torch.testing.assert_close(info["witness_log_z"], torch.logsumexp(means, 0) - math.log(4))
    share = [torch.softmax(b, 0).square().sum().reciprocal() / 10 for b in blocks]
    torch.testing.assert_close(info["witness_ess"], min(share))
    resampled, count = resample_below(seen, 1.0, rng, replicates=4)
    assert count == 4
    torch.testing.assert_close(log_mean_weight(resampled.log_w.reshape(4, 10)), means)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Witness(walkers=100), "multiple of the 8 replicates, got 100"),
        (lambda: Witness(walkers=-8), "multiple of the 8 replicates"),
        (lambda: Witness(replicates=1), "replicates must be >= 2"),
        (lambda: Witness(steps=-1), "steps must be >= 0"),
        (lambda: Witness(threshold=0.0), r"threshold must be in \(0, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize("kernel", [ULA(0.1, box=(-1.0, 1.0)), KineticLangevin(0.1, 1.0)])
def test_a_kernel_without_weights_is_refused(rng, kernel):
    with pytest.raises(ValueError, match="weighted walkers need a kernel"):
        Witness(8).init(kernel, GaussianReference(Shifted(), 1.0), torch.zeros(1, 2), rng)


def test_walkers_without_any_weight_end_the_run_in_full_sight(rng):
    inner, witness = Shifted(), Witness(walkers=16, replicates=2)
    energy = GaussianReference(inner, 1.0)
    seen = witness.init(MALA(0.1), energy, torch.zeros(1, 2), rng)
    inner.c = math.nan
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        witness.step(MALA(0.1), energy, seen, rng)
