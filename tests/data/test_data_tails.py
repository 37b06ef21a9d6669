"""Heavy tails and outliers: the map, its volume, and the columns that need it."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from boltzwalk.data import Dataset
from boltzwalk.data.tails import compress, expand, fit_tails, log_slope

N = 4000
RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": (RNG.normal(size=N), False),
    "uniform": (RNG.uniform(size=N), False),
    "exponential": (RNG.exponential(size=N), False),
    "lognormal": (RNG.lognormal(sigma=1.0, size=N), False),
    "two values": (np.arange(N) % 20 == 0, False),
    "mostly zero": (np.where(np.arange(N) % 10 == 0, RNG.exponential(size=N), 0), False),
    "two clusters": (RNG.normal(size=N) + 15 * (np.arange(N) % 3 == 0), False),
    "constant": (np.full(N, 3.0), False),
    "cauchy": (RNG.standard_cauchy(size=N), True),
    "wide lognormal": (RNG.lognormal(sigma=2.5, size=N), True),
    "one outlier": (np.append(RNG.normal(size=N - 1), 1e6), True),
    "a percent of outliers": (np.where(np.arange(N) % 100 == 0, -1e4, RNG.normal(size=N)), True),
    "zeros and an outlier": (
        np.append(np.where(np.arange(N - 1) % 10 == 0, RNG.exponential(size=N - 1), 0), 1e6),
        True,
    ),
    "an outlier of 1e300": (np.append(RNG.normal(size=N - 1), 1e300), True),
}


def column(name):
    return torch.from_numpy(COLUMNS[name][0].astype(np.float64))[:, None]


@pytest.mark.parametrize("name", COLUMNS)
def test_the_columns_that_need_it(name):
    assert (fit_tails(column(name)) is not None) == COLUMNS[name][1]


def test_centre_knee_and_length_are_those_of_the_quartiles_of_numpy():
    y = COLUMNS["cauchy"][0]
    low, middle, high = np.quantile(y, (0.25, 0.5, 0.75))
    length = (high - low) / 1.349
    expected = [middle, 5 * length, length]
    np.testing.assert_allclose(fit_tails(column("cauchy"))[:, 0], expected, rtol=1e-12)
    moved = fit_tails(1e6 + 1e-3 * column("cauchy"))[:, 0]
    np.testing.assert_allclose(moved[0], 1e6 + 1e-3 * middle, rtol=1e-12)
    np.testing.assert_allclose(moved[1:], 1e-3 * np.array(expected[1:]), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, (_, heavy) in COLUMNS.items() if heavy])
def test_the_map_and_back(name):
    y = column(name)
    tails = fit_tails(y)
    v = compress(y, tails)
    np.testing.assert_allclose(expand(v, tails), y, rtol=1e-12, atol=0)
    inside = (y - tails[0]).abs() <= tails[1]
    assert torch.equal(v[inside], y[inside])
    order = y.flatten().argsort()
    assert (v.flatten()[order].diff() >= 0).all()


def test_the_slope_is_the_derivative_and_the_density_has_mass_one():
    tails = torch.tensor([[0.5], [2.0], [0.5]]).double()
    v = torch.linspace(-6, 7, 50).double()[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(expand(v, tails).sum(), v)
    np.testing.assert_allclose(log_slope(v.detach(), tails), slope.flatten().log(), atol=1e-12)

    def density(y):
        """Of y where v is normal."""
        w = compress(torch.tensor([[y]]).double(), tails)
        return stats.norm.pdf(float(w)) * np.exp(-float(log_slope(w, tails)))

    mass = sum(quad(density, a, b)[0] for a, b in ((-30, -1.5), (-1.5, 2.5), (2.5, 30)))
    expected = stats.norm.cdf(compress(torch.tensor([[-30.0], [30.0]]).double(), tails)).flatten()
    assert mass == pytest.approx(expected[1] - expected[0], abs=1e-8)


@pytest.mark.parametrize("whitening", ["standard", "pca"])
def test_one_row_does_not_squash_the_others(whitening):
    rng = np.random.default_rng(3)
    y = rng.normal(size=(1000, 3))
    y[17, 1] = 1e6
    data = Dataset.of(y, whitening=whitening, split=(1, 0, 0))
    bulk = np.quantile(data.train.numpy(), (0.25, 0.75), axis=0)
    assert ((bulk[1] - bulk[0]) / 1.349 > 0.7).all()
    assert float(data.train.abs().max()) < 25
    np.testing.assert_allclose(data.to_original(data.train), y, rtol=1e-4, atol=1e-5)
    assert [note for note in data.notes if "column1 (1 of 1,000 training rows)" in note]
    kept = Dataset.of(y, whitening=whitening, split=(1, 0, 0), tails="keep")
    assert kept.tails is None
    assert not kept.notes


def test_the_log_jacobian_is_that_of_autograd():
    rng = np.random.default_rng(4)
    y = np.column_stack([rng.standard_cauchy(500), rng.normal(size=500)])
    data = Dataset.of(y, whitening="pca", split=(1, 0, 0))
    assert data.tails is not None
    order = torch.from_numpy(np.abs(y[:, 0]).argsort())
    x = data.train[torch.cat([order[:10], order[-10:]])].double()
    jacobian = [
        torch.autograd.functional.jacobian(lambda row: data.to_original(row[None])[0], row)
        for row in x
    ]
    expected = torch.stack(jacobian).det().abs().log()
    torch.testing.assert_close(data.log_jacobian(x), expected, rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match=r"write data\.log_jacobian\(x\)"):
        _ = data.log_volume


def test_without_tails_the_volume_is_one_for_all_rows():
    data = Dataset.of(RNG.normal(size=(50, 2)) * [3.0, 0.5], whitening="standard")
    torch.testing.assert_close(
        data.log_jacobian(data.train), torch.full((40,), data.log_volume).double()
    )


def test_scale_takes_the_quartiles_alone():
    rng = np.random.default_rng(5)
    y = rng.normal(size=(800, 2))
    y[3, 0] = 1e12
    data = Dataset.of(y, whitening="standard", tails="scale", split=(1, 0, 0))
    low, middle, high = np.quantile(y[:, 0], (0.25, 0.5, 0.75))
    assert data.tails is None
    assert float(data.shift[0]) == pytest.approx(middle, abs=1e-12)
    assert float(data.scale[0]) == pytest.approx((high - low) / 1.349, rel=1e-12)
    assert float(data.scale[1]) == pytest.approx(y[:, 1].std(), rel=1e-12)
    np.testing.assert_allclose(data.to_original(data.train), y, rtol=1e-6, atol=1e-6)
    assert "column0 (1 of 800 training rows): their unit" in data.notes[0]
    with pytest.raises(ValueError, match=r"needs columns that are scaled one by one"):
        Dataset.of(y, whitening="pca", tails="scale")
