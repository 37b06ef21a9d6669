"""How often the interval of log Z covers the truth for one column, counted over 100 seeds.

python -m pytest -m slow tests/claims/test_claims_log_z_column.py -s
"""

import math

import pytest
import torch

from boltzwalk.smc.log_z import estimate_log_z

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SEEDS = 100


def normal(x):
    return x.square().sum(1) / 2


def mixture(x):
    narrow = math.log(0.8 / 0.2) - x.square().sum(1) / 0.08
    return -torch.logaddexp(narrow, math.log(0.2) - (x - 3).square().sum(1) / 2)


def mixture_samples(n, rng):
    narrow, z = torch.rand(n, 1, generator=rng) < 0.8, torch.randn(n, 1, generator=rng)
    return torch.where(narrow, 0.2 * z, 3 + z)


@pytest.mark.parametrize(
    ("energy", "sample"),
    [(normal, lambda n, rng: torch.randn(n, 1, generator=rng)), (mixture, mixture_samples)],
    ids=["normal", "skewed mixture"],
)
def test_one_column_is_never_refused_and_covered(energy, sample):
    """Both have log Z = log(2π) / 2."""
    covered = refused = 0
    for seed in range(SEEDS):
        rng = torch.Generator().manual_seed(seed)
        found = estimate_log_z(energy, sample(1000, rng), rng)
        refused += bool(found.refusal)
        covered += found.low <= math.log(2 * math.pi) / 2 <= found.high
    print(f"\n{covered} of {SEEDS} cover, {refused} refused")
    assert refused == 0
    assert covered >= 93
