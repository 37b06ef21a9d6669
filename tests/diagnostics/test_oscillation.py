"""Correlations against closed forms and numpy; the signs of their lags."""

import warnings

import numpy as np
import pytest
import torch

from boltzwalk.diagnostics.oscillation import (
    autocorrelation,
    cross_correlation,
    oscillation,
    partial_autocorrelation,
    recent,
)
from boltzwalk.training.folder import Trace


def autoregressive(coefficients, n, seed=0):
    """x_t = a_1 x_{t-1} + a_2 x_{t-2} + noise, after its start is forgotten."""
    x = np.zeros(n + 500)
    noise = np.random.default_rng(seed).standard_normal(len(x))
    for t in range(len(coefficients), len(x)):
        x[t] = noise[t] + sum(a * x[t - j] for j, a in enumerate(coefficients, 1))
    return x[500:]


@pytest.mark.parametrize("phi", [0.7, -0.6])
def test_first_order_autoregression(phi):
    n = 40_000
    x = autoregressive([phi], n)
    k = np.arange(7)
    # Bartlett: the variance of an estimate is at most (1 + phi²) / (1 - phi²) / n
    error = np.sqrt((1 + phi**2) / (1 - phi**2) / n)
    np.testing.assert_allclose(autocorrelation(x, 6), phi**k, atol=5 * error)
    pacf = partial_autocorrelation(x, 6)
    assert pacf[0] == 1
    assert pacf[1] == pytest.approx(phi, abs=5 * error)
    assert np.abs(pacf[2:]).max() < 5 / np.sqrt(n)


def test_second_order_autoregression():
    a, b, n = 0.5, -0.3, 40_000
    x = autoregressive([a, b], n)
    rho = [1, a / (1 - b)]  # Yule-Walker
    for _ in range(4):
        rho.append(a * rho[-1] + b * rho[-2])
    np.testing.assert_allclose(autocorrelation(x, 5), rho, atol=5 * 1.5 / np.sqrt(n))
    pacf = partial_autocorrelation(x, 6)
    assert pacf[1] == pytest.approx(a / (1 - b), abs=5 / np.sqrt(n))
    assert pacf[2] == pytest.approx(b, abs=5 / np.sqrt(n))
    assert np.abs(pacf[3:]).max() < 5 / np.sqrt(n)


def test_against_numpy():
    x = np.random.default_rng(1).gamma(2, size=300).cumsum()
    centred = x - x.mean()
    full = np.correlate(centred, centred, "full")[len(x) - 1 :]
    np.testing.assert_allclose(autocorrelation(x, 20), full[:21] / full[0], rtol=1e-12)


def test_partial_autocorrelation_is_the_last_coefficient_of_yule_walker():
    rho = autocorrelation(autoregressive([0.4, 0.3, -0.2], 500), 8)
    pacf = partial_autocorrelation(autoregressive([0.4, 0.3, -0.2], 500), 8)
    for k in range(1, 9):
        toeplitz = rho[np.abs(np.subtract.outer(np.arange(k), np.arange(k)))]
        assert pacf[k] == pytest.approx(np.linalg.solve(toeplitz, rho[1 : k + 1])[-1], rel=1e-9)


def test_cross_correlation_is_that_of_the_published_code():
    rng = np.random.default_rng(2)
    d, v = rng.standard_normal(400) + 0.3, rng.gamma(2, size=400)
    n, most = len(d), 15
    scaled = d / np.sqrt((d * d).sum() / (n - 1))
    standardised = (v - v.mean()) / v.std(ddof=1)
    published = np.correlate(scaled, standardised, "full") / (n - 1)
    middle = (len(published) - 1) // 2
    np.testing.assert_allclose(
        cross_correlation(d, v, most), published[middle - most : middle + most + 1], atol=1e-12
    )


@pytest.mark.parametrize("shift", [3, -3])
def test_a_later_gap_has_a_positive_lag(shift):
    x = np.random.default_rng(3).standard_normal(1000)
    d, v = np.roll(x, shift), x  # d_{t+3} = v_t
    cross = cross_correlation(d, v, 5)
    assert cross.argmax() - 5 == shift
    assert cross.max() == pytest.approx(1, abs=0.02)


def test_what_follows_a_gap():
    d = np.random.default_rng(4).standard_normal(600)
    v = 5 - 0.1 * np.concatenate([[0], d[:-1].cumsum()])  # v_{t+1} - v_t = -0.1 d_t
    result = oscillation(Trace(d, v))
    assert result.follows == pytest.approx(-1)
    noisy = v + np.random.default_rng(5).standard_normal(600)
    expected = np.corrcoef(d[300:-1], np.diff(noisy[300:]))[0, 1]
    assert oscillation(Trace(d, noisy)).follows == pytest.approx(expected)


@pytest.mark.parametrize(
    ("phi", "shift", "kind"),
    [(-0.4, 0, "strong"), (0, 0, "weak"), (0.5, 0, "weak"), (-0.4, -9, "none"), (0, 9, "none")],
)
def test_kinds(phi, shift, kind):
    d = autoregressive([phi], 1000) + shift
    result = oscillation(Trace(d, np.ones(1000)))
    assert result.kind == kind
    assert result.updates == 500
    assert result.error == pytest.approx(500**-0.5)
    assert result.positive == (d[500:] > 0).mean()
    assert result.acf1 == autocorrelation(d[500:])[1]


def test_a_few_values_are_never_strong():
    d = autoregressive([-0.25], 40)
    result = oscillation(Trace(d, d))
    assert -2 * result.error < result.acf1 < -0.1
    assert result.kind == "weak"


def test_two_standard_errors_are_strong_and_one_is_not():
    for phi, n, strong in ((-0.37, 40, False), (-0.9, 40, True)):
        d = autoregressive([phi], n)
        result = oscillation(Trace(d, d))
        assert result.acf1 < -result.error < -0.1
        assert (result.acf1 < -2 * result.error) == strong
        assert result.kind == ("strong" if strong else "weak")


def test_a_small_autocorrelation_is_not_strong_however_sure_it_is():
    d = autoregressive([-0.07], 20_000)
    result = oscillation(Trace(d, d), window=10_000)
    assert -0.1 < result.acf1 < -4 * result.error
    assert result.kind == "weak"


def test_only_the_window_counts():
    d = np.concatenate([np.full(3000, 1e9), autoregressive([0.5], 2500)])
    result = oscillation(Trace(d, d))
    assert result.updates == 2000
    assert result.acf1 == autocorrelation(d[-2000:])[1]
    assert oscillation(Trace(d, d), window=100).updates == 100
    assert len(recent(np.arange(101))) == 51


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(50),
        np.full(50, 0.1),
        np.array([]),
        np.array([1.0]),
        np.r_[np.ones(49), np.nan],
        np.r_[np.ones(49), np.inf, -np.inf],
    ],
)
def test_nothing_to_correlate_is_nan_without_a_warning(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(autocorrelation(x)).all()
        assert np.isnan(partial_autocorrelation(x)).all()
        assert np.isnan(cross_correlation(x, x)).all()
        result = oscillation(Trace(x, x))
    assert result.kind == "none"
    assert np.isnan(result.follows)


def test_lags_beyond_a_series_are_nan_and_scales_do_not_matter():
    x = np.array([1.0, -2.0, 3.0])
    assert np.isfinite(autocorrelation(x, 5)).tolist() == [True] * 3 + [False] * 3
    assert np.isfinite(cross_correlation(x, x, 3)).tolist() == [False] + [True] * 5 + [False]
    for scale in (1e-200, 1e200):
        np.testing.assert_allclose(autocorrelation(x * scale, 2), autocorrelation(x, 2))
        np.testing.assert_allclose(cross_correlation(x * scale, x, 2), cross_correlation(x, x, 2))


def test_tensors_are_taken_as_well():
    x = np.random.default_rng(6).standard_normal(60)
    tensor = torch.tensor(x, requires_grad=True)
    assert (autocorrelation(tensor) == autocorrelation(x)).all()
    assert (partial_autocorrelation(tensor) == partial_autocorrelation(x)).all()
    assert (cross_correlation(tensor, tensor) == cross_correlation(x, x)).all()
    assert (autocorrelation(x[::-1]) == autocorrelation(x[::-1].copy())).all()


def test_what_is_refused():
    x = np.ones(5)
    with pytest.raises(ValueError, match="one axis"):
        recent(np.ones((5, 1)))
    with pytest.raises(ValueError, match="window must be >= 1"):
        oscillation(Trace(x, x), window=0)
    with pytest.raises(ValueError, match="lags must be >= 1"):
        oscillation(Trace(x, x), lags=0)
    with pytest.raises(ValueError, match="of one length"):
        cross_correlation(x, x[1:])
