"""Each rule on evidence, at its limit; and the evidence itself against SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from boltzwalk.diagnostics import evidence
from boltzwalk.diagnostics.verdict import TOO_SHORT, verdict
from boltzwalk.kernels.chain import relative_scale
from boltzwalk.training.evidence import energy_distance_coefficient, rank_above
from boltzwalk.training.folder import Trace

NOTHING = Trace(np.zeros(0), np.zeros(0))
SOUND = {
    "update": 400,
    "energy_gap": 0.1,
    "gradient_mean": 1.0,
    "temperature": 1.0,
    "acceptance": 0.8,
    "walker_scale": 1.0,
    "data_distinct": 1.0,
    "validation_rank": 0.52,
    "validation_rows": 100.0,
    "energy_excess": 0.1,
    "samples_finite": 1.0,
    "sample_distance": 0.05,
    "sample_floor": 0.0,
    "sample_scale": 1.0,
    "sample_variety": 1.0,
}


def log(**changes):
    """A log of 40 rows with these values, and the trace of as many updates."""
    rng = np.random.default_rng(0)
    rows = [SOUND | {"update": u} | changes for u in range(10, 401, 10)]
    return rows, Trace(rng.normal(0, 0.1, 400), rng.normal(1, 0.01, 400))


def test_a_log_with_sound_evidence_is_healthy():
    assert verdict(*log()).label == "healthy"


@pytest.mark.parametrize(
    ("changes", "label", "words"),
    [
        ({"acceptance": 0.049}, "frozen", "4.9% of the proposals are accepted (limit 5%)"),
        ({"acceptance": 0.051}, "healthy", ""),
        ({"energy_gap": -6e11, "acceptance": 0.0}, "exploded", "6e+11 times the temperature"),
        ({"energy_gap": 301.0}, "exploded", "301 times the temperature (limit 300)"),
        ({"energy_gap": 299.0}, "healthy", ""),
        ({"energy_gap": 301.0, "temperature": 0.01}, "healthy", ""),  # a short-run sampler
        ({"sample_scale": 10.1}, "exploded", "samples are 10.1 times as far"),
        ({"sample_scale": 1.28}, "samples wrong", "1.28 times the scale"),
        ({"sample_scale": 1.28, "sample_scale_error": 0.06}, "samples wrong", "1.28 times"),
        # A few rows far away decide the scale: twice its error is granted.
        ({"sample_scale": 1.5, "sample_scale_error": 0.11}, "healthy", ""),
        ({"sample_scale": 1.6, "sample_scale_error": 0.11}, "samples wrong", "1.6 times"),
        ({"sample_scale": 0.5, "sample_scale_error": 0.11}, "samples wrong", "0.5 times"),
        ({"sample_scale": 12.0, "sample_scale_error": 0.11}, "samples wrong", "12 times"),
        ({"sample_scale": 14.0, "sample_scale_error": 0.11}, "exploded", "14 times as far"),
        ({"sample_scale": 0.71}, "samples wrong", "0.71 times the scale"),
        ({"sample_distance": 0.161}, "samples wrong", "0.16 (limit 0.16"),
        ({"sample_distance": 0.159}, "healthy", ""),
        ({"samples_finite": 0.9, "sample_distance": 0.0}, "samples wrong", "10% of the samples"),
        ({"sample_variety": 0.009}, "collapsed", "0.009 of that of the data"),
        ({"sample_variety": 1e-9, "sample_scale_error": 0.45, "sample_scale": 0.2}, "healthy", ""),
        (
            {"sample_variety": 1e-9, "sample_scale_error": 0.45, "sample_distance": 0.7},
            "collapsed",
            "1e-09 of that of the data",
        ),
        ({"data_distinct": 0.02}, "collapsed", "2.0% of the training rows are distinct"),
        ({"validation_rank": 0.66}, "overfitted", "in 66% of the pairs"),
        ({"validation_rank": 0.65}, "healthy", ""),
        ({"validation_rank": 0.8, "validation_rows": 5.0}, "healthy", ""),  # may be chance
        # Where the likelihood is learnt it decides, not the energies of training rows.
        ({"validation_rank": 0.99, "nll": 9.4}, "healthy", ""),
        ({"validation_rank": 0.99, "nll_validation": 9.4}, "healthy", ""),
        (
            {"nll_validation": 9.4, "likelihood_gain": -1.0, "likelihood_gain_half_width": 0.9},
            "overfitted",
            "1 ± 0.9 nats less likely than under a Gaussian",
        ),
        (
            {"nll_validation": 9.4, "likelihood_gain": -1.0, "likelihood_gain_half_width": 1.1},
            "healthy",
            "",
        ),
    ],
)
def test_every_rule_at_its_limit(changes, label, words):
    result = verdict(*log(**changes))
    assert result.label == label, result
    assert words in result.reason


def test_walkers_that_leave_have_exploded_and_those_that_start_far_have_not():
    rows, trace = log()
    rows = [row | {"walker_scale": 20.0} for row in rows]
    assert verdict(rows, trace).label == "healthy"
    rows[0]["walker_scale"] = 1.0
    assert "walkers are 20 times as far" in verdict(rows, trace).reason


def test_a_log_of_version_0_1_0_still_gets_a_verdict():
    old = {"update", "energy_gap", "gradient_mean", "temperature"}
    rows, trace = log()
    assert verdict([{k: row[k] for k in old} for row in rows], trace).label == "healthy"
    short = verdict(
        [{k: row[k] for k in old} for row in rows[:15]], Trace(*(s[:150] for s in trace))
    )
    assert short.label == TOO_SHORT
    assert "where no samples are judged" in short.reason


def test_a_run_under_a_hundred_updates_is_too_short_but_an_explosion_speaks():
    rows, trace = log()
    until = Trace(*(series[:90] for series in trace))
    assert verdict(rows[:9], until).label == TOO_SHORT
    assert verdict(rows[:9], until, least=0).label == "healthy"
    broken = [row | {"acceptance": 0.0, "energy_gap": 1e9} for row in rows[:9]]
    assert verdict(broken, until).label == "exploded"


def test_identical_batches_are_named_where_no_samples_are():
    rows = [{k: v for k, v in row.items() if not k.startswith("sample")} for row in log()[0]]
    rows = [row | {"walker_scale": 1e19} for row in rows]
    result = verdict(rows, log()[1])
    assert (result.label, "all rows of a batch are the same" in result.reason) == (
        "collapsed",
        True,
    )


def test_the_newest_value_counts():
    assert evidence.latest([{"a": 1.0}, {"b": 2.0}], "a") == 1.0
    assert math.isnan(evidence.latest([], "a"))


def test_rank_is_that_of_mann_and_whitney(rng):
    u, v = torch.randn(40, generator=rng), torch.randn(30, generator=rng).round() + 0.5
    u[:5] = v[:5]
    expected = mannwhitneyu(v.numpy(), u.numpy()).statistic / (40 * 30)
    assert rank_above(v, u) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(rank_above(torch.tensor([math.inf]), u))


def test_the_energy_coefficient_of_normals_is_known(rng):
    """In one dimension E|x - y| of normals with difference N(m, s²) is the folded normal's mean."""

    def folded(m, s):
        phi = math.erf(m / s / 2**0.5)
        return s * math.sqrt(2 / math.pi) * math.exp(-(m**2) / (2 * s * s)) + m * phi

    x, y = torch.randn(2000, 1, generator=rng).double(), torch.randn(2000, 1, generator=rng) + 1.0
    expected = 1 - folded(0, 2**0.5) / folded(1, 2**0.5)
    assert energy_distance_coefficient(x, y.double()) == pytest.approx(expected, abs=0.02)
    assert energy_distance_coefficient(x[:1000], x[1000:]) < 0.005


def test_relative_scale_of_walkers_at_the_mean_and_far_away():
    data = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    assert float(relative_scale(data, data)) == pytest.approx(1)
    assert float(relative_scale(data, data.mean(0, keepdim=True))) == 0
    assert float(relative_scale(data, data + 1000)) == pytest.approx(
        1000 / (8 / 3) ** 0.5, rel=1e-3
    )
    assert math.isfinite(float(relative_scale(torch.ones(3, 2), torch.zeros(3, 2))))
