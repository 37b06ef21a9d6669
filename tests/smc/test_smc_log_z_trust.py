"""When an estimate is given, and when it is refused."""

import math

import pytest
import torch
from scipy import stats

from boltzwalk.smc.intervals import (
    DirectionResult,
    Interval,
    combine_directions,
    refusal_reason,
    student_t_interval,
)


def walked(estimate=0.0, half_width=0.1, share=0.5):
    return DirectionResult(Interval(estimate, half_width), (estimate,) * 8, share)


def test_the_interval_is_that_of_student_at_97_percent(rng):
    """Against scipy, where the estimates hardly differ, so that Z and log Z are one scale."""
    z = 1 + 1e-6 * torch.randn(8, generator=rng)
    estimate, half_width = student_t_interval(z.log() - 40)
    low, high = stats.t.interval(0.97, 7, float(z.mean()), stats.sem(z.numpy()))
    assert estimate == pytest.approx(math.log(float(z.mean())) - 40, abs=1e-12)
    assert half_width == pytest.approx((high - low) / 2, rel=1e-4)


def test_it_covers_skewed_estimates(rng):
    """Of log-normal estimates with a log-spread of a half: 95 % in at least 95 %."""
    log_z = 0.5 * torch.randn(4000, 8, generator=rng) - 0.125
    intervals = [student_t_interval(row) for row in log_z]
    covered = sum(abs(estimate) <= half_width for estimate, half_width in intervals)
    assert covered / 4000 > 0.95


def test_a_sandwich_spans_both_and_leans_on_the_better():
    found = combine_directions(Interval(-1.0, 0.4), Interval(0.0, 0.2))
    assert found.estimate == pytest.approx(-0.2)
    assert found.estimate - found.half_width == pytest.approx(-1.4)
    assert combine_directions(Interval(1.0, 0.3), None) == Interval(1.0, 0.3)
    assert combine_directions(Interval(1.0, 0.0), Interval(1.0, 0.0)) == Interval(1.0, 0.0)


def test_what_agrees_is_trusted():
    assert refusal_reason(walked(), None, 1.0) == ""
    assert refusal_reason(walked(), walked(0.2), 1.0) == ""
    assert refusal_reason(walked(share=1.0), walked(share=0.01), 1.0) == ""


@pytest.mark.parametrize(
    ("forward", "reverse", "words"),
    [
        (walked(share=0.02), None, "weights collapsed .* fell to 2.00%"),
        (walked(half_width=1.5), None, "replicates disagree: the interval is ± 1.5 nats"),
        (walked(half_width=math.inf), None, "replicates disagree"),
        (walked(half_width=math.nan), None, "replicates disagree"),
        (walked(), walked(half_width=2.0), "reverse estimate does not confirm"),
        (walked(), walked(half_width=math.nan), "reverse estimate does not confirm"),
        (walked(), walked(0.5), "contradict each other: they are 0.5 nats apart, where 0.28"),
        (walked(), walked(-0.5), "contradict each other"),
        (walked(), walked(math.nan), "contradict each other"),
    ],
)
def test_what_cannot_be_trusted_is_refused(forward, reverse, words):
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(refusal_reason(forward, reverse, 1.0))


def test_the_tolerance_is_an_argument():
    assert refusal_reason(walked(half_width=1.5), None, 2.0) == ""
    assert "tolerance 0.05" in refusal_reason(walked(), None, 0.05)
