"""The tables of UCI: sizes, whitening, noise, and the likelihood of a standard normal."""

import gzip
import math

import pytest
import torch
from torch.distributions import Normal

from boltzwalk.data import Uci
from boltzwalk.data.uci import SOURCES

SIZES = {"red_wine": (1599, 11), "white_wine": (4898, 11), "parkinsons": (5875, 15)}
each = pytest.mark.parametrize("name", list(SIZES))


def nll(x):
    return float(-Normal(0.0, 1.0).log_prob(x.double()).sum(1).mean())


@each
def test_a_standard_normal_has_the_anchor_of_whitened_rows(name, real_data):
    rows, d = SIZES[name]
    anchor = d / 2 * (1 + math.log(2 * math.pi))
    assert anchor == pytest.approx({11: 15.61, 15: 21.28}[d], abs=0.01)
    published = Uci(name, real_data, protocol="published").load()
    parts = (published.train, published.validation, published.test)
    assert tuple(map(len, parts)) == SOURCES[name].split
    assert sum(map(len, parts)) == rows
    assert nll(torch.cat(parts)) == pytest.approx(anchor, abs=1e-4)
    clean = Uci(name, real_data).load()
    assert clean.train.shape == published.train.shape
    assert nll(clean.train) == pytest.approx(anchor, abs=1e-4)  # at the centres of their cells
    covariance = clean.train.double().T.cov(correction=0)
    torch.testing.assert_close(covariance, torch.eye(d).double(), rtol=0, atol=1e-4)
    # Rows that were not looked at are not exactly white.
    assert abs(nll(clean.test) - anchor) > 1e-3


def test_clean_noise_stays_within_a_step(real_data):
    """Alcohol of red wine is in steps of 0.1 per cent, with few exceptions."""
    data = Uci("red_wine", real_data).load()
    rows = data.dequantised(data.train, torch.Generator().manual_seed(0))
    at = data.columns.index("alcohol")
    off = (data.to_original(rows.double()) - data.to_original(data.train.double()))[:, at]
    assert float(off.abs().max()) < 0.0501
    assert float(off.std()) == pytest.approx(0.1 / math.sqrt(12), rel=0.05)


def test_published_noise_is_twice_as_wide(tmp_path):
    """Of columns with values near multiples of 1000 whose median gap is 1: U(-1, 1)."""
    rng = torch.Generator().manual_seed(0)
    values = 1000 * torch.randint(0, 10, (1599, 11), generator=rng)
    values[:10] = 1000 * torch.arange(10)[:, None] + 1
    names = ";".join([*(f"c{i}" for i in range(11)), "quality"])
    lines = "\n".join(";".join([*map(str, row), "5"]) for row in values.tolist())
    (tmp_path / "UCI").mkdir()
    path = tmp_path / "UCI" / "winequality-red.csv.gz"
    path.write_bytes(gzip.compress(f"{names}\n{lines}\n".encode()))
    data = Uci("red_wine", str(tmp_path), protocol="published").load()
    x = torch.cat([data.train, data.validation, data.test]).double()
    y = data.to_original(x)
    noise = y - 1000 * (y / 1000).round()
    assert bool((noise.abs() > 1.01).sum(0).le(10).all())
    noise = noise[(noise.abs() <= 1.01).all(1)]
    assert len(noise) >= 1589
    assert float(noise.max()) > 0.99
    assert float(noise.min()) < -0.99
    assert float(noise.std()) == pytest.approx(1 / math.sqrt(3), rel=0.02)
    # Rows and columns come in another order.
    result = (y / 1000).round().long()
    back = [int(name.removeprefix("c")) for name in data.columns]
    assert back != list(range(11))
    assert not bool((result == (values / 1000).round().long()[:, back]).all())
    same = [sorted(part.tolist()) for part in (result, (values / 1000).round().long()[:, back])]
    assert same[0] == same[1]


@each
def test_splits_and_noise_depend_on_the_seed_alone(name, real_data):
    for protocol in ("clean", "published"):
        a, b, c = (Uci(name, real_data, protocol, seed).load().test for seed in (1, 1, 2))
        assert bool((a == b).all())
        assert not bool((a == c).all())


def test_no_column_of_parkinsons_determines_another(real_data):
    data = Uci("parkinsons", real_data).load()
    y = data.to_original(data.train.double())
    correlation = y.T.corrcoef() - torch.eye(15)
    assert float(correlation.abs().max()) < 0.98


def test_a_missing_folder_says_where_to_look(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"winequality-red\.csv\.gz must be in .*UCI"):
        Uci("red_wine", str(tmp_path)).load()


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="red_wine, white_wine, parkinsons"):
        Uci("rose_wine")
    with pytest.raises(ValueError, match="clean or published"):
        Uci(protocol="dirty")
