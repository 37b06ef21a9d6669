"""Units of tables survive both ways: offsets, scales and digits that float32 does not have."""

import io
import math

import numpy as np
import pandas
import pytest
import torch
from torch import nn

import boltzwalk as bw
from boltzwalk.data import Dataset, Table
from boltzwalk.data.affine import log_volume, to_model, to_original
from boltzwalk.data.readable import readable_rows
from boltzwalk.data.whitening import fit_whitening, moments

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(400, 2))
NAMES = ("a", "b")

COLUMNS = {
    "seconds": 1_600_000_060 + 10 * NORMAL[:, 0],
    "nanoseconds": 1.6e18 + 1e6 * NORMAL[:, 0],
    "tiny": 1e-300 * NORMAL[:, 0],
    "huge": 1e300 * NORMAL[:, 0],
    "identifiers": 2.0**31 + np.arange(400) % 97,
    "negative": -3e12 + NORMAL[:, 0],
}


def table(name):
    return np.column_stack([COLUMNS[name], NORMAL[:, 1]])


@pytest.mark.parametrize("whitening", ["standard", "pca"])
@pytest.mark.parametrize("name", COLUMNS)
def test_units_come_back_to_the_rounding_of_the_model(name, whitening, tmp_path):
    y = table(name)
    np.save(tmp_path / "t.npy", y)
    for data in (
        Dataset.of(y, whitening=whitening, split=(1, 0, 0)),
        Table(str(tmp_path / "t.npy"), whitening=whitening, split=(1, 0, 0)).load(),
    ):
        back = data.to_original(data.train)
        assert back.dtype == torch.float64
        unit = np.abs(y[:, 0]).max()
        spread = np.std(y[:, 0] / unit)
        # Four roundings of float32 at four deviations, and one of float64 at the offset.
        error = np.abs(back[:, 0].numpy() / unit - y[:, 0] / unit).max()
        assert error < 4 * 4 * 2.0**-24 * spread + 2.0**-52
        # The mean of a column is rounded at its offset, as its values are.
        rounding = 1e-5 + np.spacing(unit) / unit / spread
        assert data.train.double().mean(0).abs().max() < rounding
        one = data.train.double().var(0, correction=0)
        assert (one - 1).abs().max() < (rounding if whitening == "standard" else 0.25)


@pytest.mark.parametrize("name", COLUMNS)
def test_moments_are_those_of_numpy_in_extended_precision(name):
    y = table(name).astype(np.longdouble)
    mean, sd = moments(torch.from_numpy(table(name)))
    for column in range(2):
        unit = np.abs(y[:, column]).max()
        scaled = y[:, column] / unit
        assert float(mean[column] / float(unit)) == pytest.approx(float(scaled.mean()), rel=1e-12)
        assert float(sd[column] / float(unit)) == pytest.approx(float(scaled.std()), rel=1e-6)


@pytest.mark.parametrize("name", ["seconds", "nanoseconds", "negative", "tiny"])
def test_without_whitening_a_column_that_float32_cannot_resolve_is_refused(name, tmp_path):
    frame = pandas.DataFrame(table(name), columns=[name, "b"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=rf" {name}; write data.whitening=standard"):
        Table(str(tmp_path / "t.csv"), whitening="none").load()
    with pytest.raises(ValueError, match=rf" {name}; write data.whitening=standard"):
        Dataset.of(frame)


def test_the_bound_of_that_refusal():
    for spread, resolved in ((2.0**-19, True), (2.0**-21, False)):
        x = 1 + spread * torch.tensor([-1.0, 1.0]).double().repeat(50)[:, None]
        if resolved:
            fit_whitening(x, "none", ("a",))
        else:
            with pytest.raises(ValueError, match="tell the rows of a column apart"):
                fit_whitening(x, "none", ("a",))


def test_one_row_at_zero_does_not_hide_time_stamps():
    stamps = table("seconds")
    stamps[0, 0] = 0.0
    with pytest.raises(ValueError, match="column0; write"):
        Dataset.of(stamps)


def test_a_constant_column_is_one_within_rounding_too(tmp_path):
    y = NORMAL.copy()
    y[:, 0] = 0.1 + np.spacing(0.1) * (np.arange(400) % 3)
    np.save(tmp_path / "t.npy", y)
    for whitening in ("standard", "pca"):
        with pytest.raises(ValueError, match="column0 has one value only, but for rounding"):
            Table(str(tmp_path / "t.npy"), whitening=whitening).load()
    data = Dataset.of(y, whitening="standard")
    assert float(data.scale[0]) == 1  # a constant column stays constant, and finite
    assert data.train[:, 0].abs().max() < 1e-6


def test_values_beyond_float32_are_taken_where_they_are_whitened(tmp_path):
    np.save(tmp_path / "t.npy", table("huge"))
    path = str(tmp_path / "t.npy")
    assert Table(path, whitening="standard").load().train.abs().max() < 6
    with pytest.raises(ValueError, match=r"column0.*finite float32.*in row 0 .*whitening=standard"):
        Table(path, whitening="none").load()


@pytest.mark.parametrize("whitening", ["standard", "pca"])
def test_the_volume_of_units_apart_by_600_orders(whitening):
    y = np.column_stack([COLUMNS["huge"], COLUMNS["tiny"] + 0, NORMAL[:, 1]])
    y[:, 1] = 1e-300 * NORMAL[:, 1][::-1]
    plain = np.column_stack([NORMAL[:, 0], NORMAL[:, 1][::-1], NORMAL[:, 1]])
    one, other = (Dataset.of(rows, whitening=whitening, tails="keep") for rows in (y, plain))
    # The units differ by factors of 1e300 and 1e-300, whose logarithms cancel.
    assert one.log_volume == pytest.approx(other.log_volume, abs=1e-9)
    torch.testing.assert_close(one.train, other.train, rtol=0, atol=1e-5)


def test_the_log_density_does_not_depend_on_the_units():
    scale = torch.tensor([[2.0, 1e200], [0.5, -3e200]], dtype=torch.float64)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    y = to_original(x, torch.zeros(2).double(), scale)
    torch.testing.assert_close(to_model(y, torch.zeros(2).double(), scale), x)
    expected = math.log(abs(2.0 * -3 - 0.5)) + 200 * math.log(10)
    assert log_volume(scale, 2) == pytest.approx(expected, rel=1e-12)


class Normal(nn.Module):
    """U = |x|^2 / 2, with a parameter that does nothing."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))
        self.log_z = math.log(2 * math.pi)

    def forward(self, x):
        return x.square().flatten(1).sum(1) / 2 + 0 * self.unused


@pytest.fixture(scope="module")
def stamped():
    """A model of time stamps and another column, its energy that of the standard normal."""
    data = Dataset.of(table("seconds"), whitening="standard")
    method = bw.methods.Contrastive(steps=1)
    return bw.train(Normal(), data, method, updates=1, quiet=True)


def test_scores_flag_as_many_time_stamps_as_asked(stamped):
    fresh = np.random.default_rng(1).normal(size=(2000, 2))
    fresh[:, 0] = 1_600_000_060 + 10 * fresh[:, 0]
    scores = stamped.score(torch.from_numpy(fresh), false_alarm=0.1)
    rate = float(scores.anomaly.double().mean())
    low, high = scores.false_alarms.low, scores.false_alarms.high
    assert low - 0.02 < rate < high + 0.02
    assert not stamped.score(torch.tensor([[1_600_000_060.0, 0.0]], dtype=torch.float64)).anomaly
    assert stamped.score([[1_600_000_160.0, 0.0]]).anomaly  # a list of Python's numbers is float64


def test_the_log_density_of_time_stamps_is_that_of_scipy(stamped):
    from scipy.stats import norm

    y = table("seconds")[:20]
    shift, scale = stamped.data.shift.numpy(), stamped.data.scale.numpy()
    expected = norm.logpdf(y, shift, scale).sum(1)
    np.testing.assert_allclose(stamped.log_prob(torch.from_numpy(y)), expected, atol=1e-4)


def test_rows_in_float32_that_lost_their_digits_are_refused(stamped):
    y = torch.from_numpy(table("seconds")).float()
    for use in (stamped.score, stamped.energy, lambda rows: bw.complete(stamped, rows)):
        with pytest.raises(ValueError, match=r"rows must be in float64.*'column0'.*x\.double"):
            use(y)
    with pytest.raises(ValueError, match=r"column0; write data\.whitening=standard"):
        Dataset.of(y, whitening="standard")


def test_samples_and_completions_have_the_digits_of_time_stamps(stamped):
    x = stamped.sample(200)
    assert x.dtype == torch.float64
    assert len(x[:, 0].unique()) == 200
    assert 3 < float(x[:, 0].std()) < 15
    rows = torch.tensor([[math.nan, 0.0]] * 50, dtype=torch.float64)
    filled = bw.complete(stamped, rows)[:, 0, 0]
    assert filled.dtype == torch.float64
    assert len(filled.unique()) == 50


def test_a_row_too_far_for_float32_is_named(stamped):
    with pytest.raises(ValueError, match="got row 1 too far from the data"):
        stamped.energy(torch.tensor([[1.6e9, 0.0], [1.6e9, 1e300]], dtype=torch.float64))


def test_readable_rows_have_the_digits_of_the_model_and_no_more():
    data = Dataset.of(table("seconds"), whitening="standard", split=(1, 0, 0))
    values = readable_rows(data, data.train)
    np.testing.assert_allclose(values, table("seconds"), rtol=0, atol=1e-5)
    text = io.StringIO()
    pandas.DataFrame(values).to_csv(text, header=False, index=False)
    assert max(len(line) for line in text.getvalue().splitlines()) < 34
    plain = Dataset.of([[8.1, 0.3], [2.5, 1.7]], split=(1, 0, 0))
    assert readable_rows(plain, plain.train).tolist() == [[8.1, 0.3], [2.5, 1.7]]


def test_two_tables_apart_by_less_than_float32_have_different_digests():
    y = table("seconds")
    one, other = (
        Dataset.of(y + np.array([offset, 0.0]), whitening="standard") for offset in (0.0, 16.0)
    )
    assert not torch.equal(one.shift, other.shift)
    assert one.digest != other.digest
    assert not one.has_digest("")


@pytest.mark.parametrize("labels", [None, np.arange(400) % 3])
def test_data_of_a_version_with_units_in_float32_are_known_by_their_digest(labels):
    import hashlib

    y = NORMAL * [3.0, 0.2] + [5.0, -1.0]
    data = Dataset.of(y, labels, whitening="standard", split=(1, 0, 0))
    x = torch.from_numpy(y).float()
    shift, scale = x.double().mean(0).float(), x.double().std(0, correction=0).float()
    digest = hashlib.sha256()
    for part in ((x - shift) / scale, shift, scale, *([] if labels is None else [labels])):
        digest.update(np.ascontiguousarray(part).tobytes())
    assert data.has_digest(digest.hexdigest())
    assert data.sample().has_digest(digest.hexdigest())
