"""Claims of the short-run, anatomy and thesis literature on 8x8 digits.

Every test prints its numbers: `pytest -m slow tests/claims -s`.
"""

from dataclasses import replace

import pytest
import torch
from digits_pilot import Setting, chain, digits, quality, samples, trained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

HEALTHY = {5: Setting(5, 0.15), 10: Setting(10, 0.10), 25: Setting(25, 0.05), 50: Setting(50, 0.03)}
CONVERGED = Setting(10, 0.03, start="replay"), Setting(10, 0.03, start="data")


def test_travel_is_constant_in_the_number_of_steps():
    """R2: steps x gradient adapts to the way from the start to the data (Nijkamp 2019, Table 2)."""
    travel = {k: trained(setting).last("travel") for k, setting in HEALTHY.items()}
    distance = trained(HEALTHY[50]).last("distance")
    print("travel", travel, "distance", distance)
    middle = sum(travel.values()) / len(travel)
    for k, value in travel.items():
        assert abs(value / middle - 1) < 0.1, (k, travel)
        assert 0.7 < value / distance < 1.0, (k, value, distance)


def test_quality_improves_with_steps_and_saturates():
    """R3."""
    fd = {k: quality(samples(trained(setting))) for k, setting in HEALTHY.items()}
    print("classifier-FID by steps", fd)
    assert fd[5] > fd[10] > fd[25]
    assert abs(fd[50] / fd[25] - 1) < 0.2


@pytest.mark.parametrize("k", [5, 10, 50])
def test_noise_is_dispensable(k):
    """R6: short-run learning needs no proper MCMC noise (thesis, claim 4); means of three seeds."""
    setting = HEALTHY[k]
    with_noise = [quality(samples(trained(replace(setting, seed=s)))) for s in range(3)]
    without = [quality(samples(trained(replace(setting, noise=0, seed=s)))) for s in range(3)]
    print(f"K={k}: classifier-FID with noise {with_noise}, without {without}")
    assert abs(sum(without) / sum(with_noise) - 1) < 0.1


SHORT = pytest.mark.xfail(reason="does not hold at K = 5: measured 37.6 / 25.2 = 1.5", strict=True)


@pytest.mark.parametrize("k", [pytest.param(5, marks=SHORT), 10, 25, 50])
def test_short_run_models_worsen_when_run_longer(k):
    """R7, first half: what is learnt is the K-step sampler, not the density."""
    result = trained(HEALTHY[k])
    short, longer = quality(samples(result)), quality(samples(result, longer=10))
    print(f"K={k}: classifier-FID {short:.1f}, after 10 K steps {longer:.1f}")
    assert longer >= 1.8 * short


def test_short_run_models_lose_the_data():
    """R7, second half: 2,000 steps from test data go far where learning did not converge."""
    x = digits().test

    def displacement(setting):
        moved = chain(trained(setting), x, 2000) - x
        return moved.flatten(1).norm(dim=1).mean().item()

    short = {k: displacement(setting) for k, setting in HEALTHY.items()}
    converged = [displacement(setting) for setting in CONVERGED]
    print("displacement: short-run", short, "persistent and data start", converged)
    for k, value in short.items():
        assert value >= 5 * converged[0], (k, value, converged)


@pytest.mark.parametrize("learning_rate", [1e-4, 1e-3])
def test_spectral_norm_caps_travel(learning_rate):
    """R8: a slope of at most one cannot cover 8.2 in K x step = 5, and can in 15 and more."""
    short = trained(Setting(5, 0.03, learning_rate, spectral_norm=True))
    wide = trained(Setting(5, 0.03, learning_rate, spectral_norm=True, step_size=3.0))
    many = trained(Setting(20, 0.03, learning_rate, spectral_norm=True))
    fd = [quality(samples(result)) for result in (short, wide, many)]
    travel = [result.last("travel") for result in (short, wide, many)]
    print(f"lr {learning_rate}: K x step 5, 15, 20: classifier-FID {fd}, travel {travel}")
    assert not any(result.diverged for result in (short, wide, many))
    assert travel[0] <= 5
    assert fd[0] > 100
    assert fd[1] < 70
    assert fd[2] < 70


def test_a_negative_gap_steepens_the_energy():
    """R13: expansion and contraction: d_t and v_(t+1) - v_t are negatively correlated."""
    settings = [*HEALTHY.values(), *CONVERGED, Setting(20, 0.03, 1e-3, spectral_norm=True)]
    for setting in settings:
        rows = trained(setting).rows[-1000:]
        d = torch.tensor([row["energy_gap"] for row in rows[:-1]])
        v = torch.tensor([row["gradient_mean"] for row in rows])
        correlation = torch.corrcoef(torch.stack([d, v[1:] - v[:-1]]))[0, 1].item()
        print(f"{setting.start} K={setting.steps}: corr(d, change of v) = {correlation:.2f}")
        assert correlation < 0


def test_interpolation_stays_good():
    """R14: z = rho z1 + sqrt(1 - rho^2) z2 is sampled as well as its ends, for the same noise."""
    result = trained(HEALTHY[25])
    rng = torch.Generator().manual_seed(0)
    ends = [torch.rand((1000, *digits().event_shape), generator=rng) * 2 - 1 for _ in range(2)]
    path = {}
    for rho in (0.0, 0.25, 0.5, 0.75, 1.0):
        z = rho * ends[0] + (1 - rho**2) ** 0.5 * ends[1]
        path[rho] = chain(result, z, result.setting.steps)
    assert torch.equal(path[1.0], chain(result, ends[0], result.setting.steps))
    assert torch.equal(path[0.0], chain(result, ends[1], result.setting.steps))
    fd = {rho: quality(x) for rho, x in path.items()}
    print("classifier-FID along the path", fd)
    assert sum(fd.values()) / len(fd) < 1.5 * (fd[0.0] + fd[1.0]) / 2
