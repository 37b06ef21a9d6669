"""Rows from elsewhere in the units of a model: there and back, and the same by every road."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from boltzwalk.data import Digits, Modes, Table, Toy
from boltzwalk.data.dataset import Dataset
from boltzwalk.data.external import (
    grey_to_model,
    load_external_rows,
    model_to_grey,
    resize_round_trip,
)
from boltzwalk.data.images import image_dataset
from boltzwalk.data.splits import LabelledRows
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.networks import Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.settings import Settings, resolve_auto
from boltzwalk.training.pictures import write_samples
from boltzwalk.training.run import start

LEVELS = torch.arange(256, dtype=torch.uint8)


def of_greys(grey, levels=256, dequantise=False):
    """Images of these grey levels."""
    part = LabelledRows(grey)
    return image_dataset(
        (part, part, LabelledRows(grey[:0])),
        levels=levels,
        dequantise=dequantise,
        seed=0,
        source="test",
    )


@pytest.fixture
def digits():
    return Digits().load()


# Grey levels.


@pytest.mark.parametrize("dequantise", [False, True])
@pytest.mark.parametrize("levels", [256, 17])
def test_grey_levels_go_there_and_back(levels, dequantise):
    data = of_greys(torch.zeros(3, 1, 16, 16, dtype=torch.uint8), levels, dequantise)
    pictures = LEVELS.reshape(1, 1, 16, 16)
    x = grey_to_model(pictures, data)
    assert x.dtype == torch.float32
    assert torch.equal(model_to_grey(x, data), pictures)
    ends = 1 - 1 / levels if dequantise else 1.0
    assert float(x.min()) == pytest.approx(-ends)
    assert float(x.max()) == pytest.approx(ends)


@pytest.mark.parametrize("dequantise", [False, True])
def test_images_of_256_levels_are_their_own(dequantise):
    grey = LEVELS.reshape(1, 1, 16, 16)
    data = of_greys(grey, 256, dequantise)
    torch.testing.assert_close(grey_to_model(grey, data), data.train)
    assert torch.equal(model_to_grey(data.train, data), grey)
    # Noise within its cell is rounded away: the mean of a level is itself.
    assert int((model_to_grey(data.validation, data).int() - grey.int()).abs().max()) <= 1


def test_the_levels_of_digits_are_spread_over_256(digits):
    grey = model_to_grey(digits.train, digits)
    assert sorted(grey.unique().tolist()) == [round(k * 255 / 16) for k in range(17)]
    back = grey_to_model(grey, digits)
    assert float((back - digits.train).abs().max()) < 0.5 / 255 * 2 + 1e-6


def test_what_is_beyond_the_range_has_the_level_at_its_end(digits):
    x = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0]).reshape(5, 1, 1, 1)
    assert model_to_grey(x, digits).flatten().tolist() == [0, 0, 128, 255, 255]


# Sizes.


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_size_is_left_as_it_is(channels):
    grey = torch.randint(256, (4, channels, 8, 8), dtype=torch.uint8)
    assert resize_round_trip(grey, 8, channels, (channels, 8, 8)) is grey


@pytest.mark.parametrize(
    ("shape", "size", "channels", "event"),
    [
        ((1, 28, 28), 32, 3, (1, 28, 28)),
        ((3, 32, 32), 28, 1, (3, 32, 32)),
        ((1, 8, 8), 32, 3, (3, 16, 16)),
        ((3, 8, 8), 8, 3, (1, 8, 8)),
        ((1, 8, 8), 8, 3, (1, 8, 8)),
    ],
)
def test_a_picture_of_one_grey_keeps_it_on_every_way(shape, size, channels, event):
    grey = torch.full((2, *shape), 77, dtype=torch.uint8)
    result = resize_round_trip(grey, size, channels, event)
    assert result.shape == (2, *event)
    assert result.dtype == torch.uint8
    assert bool((result == 77).all())


def test_colours_are_not_mixed_up_with_places():
    grey = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    grey[0, 0, 0, 0] = 200  # red, at the top left
    grey[0, 2, 3, 0] = 100  # blue, at the bottom left
    result = resize_round_trip(grey, 8, 3, (3, 8, 8))  # larger: each pixel is about four
    assert result[0, 0].argmax() in (0, 1, 8, 9)
    assert result[0, 2].argmax() in (48, 49, 56, 57)
    assert int(result[0, 1].max()) == 0


def test_a_way_by_fewer_pixels_blurs():
    grey = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    grey[0, 0, ::2] = 255
    same = resize_round_trip(grey, 8, 3, (1, 8, 8))
    assert torch.equal(same, grey)  # by colours and back
    assert float(resize_round_trip(grey, 4, 1, (1, 8, 8)).float().std()) < 0.5 * float(
        grey.float().std()
    )


# Tables.


@pytest.fixture
def table(tmp_path):
    values = np.random.default_rng(0).normal(size=(80, 3)) * [1, 10, 100] + [0, 50, -200]
    values[:, 2] += 90 * values[:, 0]
    np.savetxt(tmp_path / "t.csv", values, "%.8f", ",", header="a,b,c", comments="")
    return tmp_path / "t.csv", values


@pytest.mark.parametrize("whitening", ["none", "standard", "pca"])
def test_rows_of_a_table_come_back_to_its_units(table, rng, whitening):
    path, values = table
    data = Table(str(path), whitening=whitening).load()
    x = load_external_rows(path, data, rng)
    torch.testing.assert_close(
        data.to_original(x).double(), torch.from_numpy(values), rtol=1e-4, atol=1e-3
    )
    everything = torch.cat([data.train, data.validation, data.test])
    assert torch.allclose(x.sum(0), everything.sum(0), atol=1e-2)  # the same rows, shuffled


def test_a_model_of_some_columns_takes_these(table, rng):
    path, values = table
    data = Table(str(path), columns=("c", "a"), whitening="none").load()
    x = load_external_rows(path, data, rng)
    torch.testing.assert_close(x, torch.from_numpy(values[:, [2, 0]]).float())


def test_columns_without_names_are_taken_as_they_come(table, tmp_path, rng):
    """A model of an array, whose columns are numbered, and a table with names; and otherwise."""
    path, values = table
    np.save(tmp_path / "t.npy", values)
    unnamed = Table(str(tmp_path / "t.npy"), whitening="none").load()
    expected = torch.from_numpy(values).float()
    torch.testing.assert_close(load_external_rows(path, unnamed, rng), expected)
    named = Table(str(path), whitening="none").load()
    torch.testing.assert_close(load_external_rows(tmp_path / "t.npy", named, rng), expected)
    np.savetxt(tmp_path / "bare.csv", values, "%.8f", ",")
    for data in (unnamed, named):
        torch.testing.assert_close(load_external_rows(tmp_path / "bare.csv", data, rng), expected)
    np.savetxt(tmp_path / "two.csv", values[:, :2], "%.8f", ",")
    with pytest.raises(ValueError, match="must have 3 columns, those of the data, got 2"):
        load_external_rows(tmp_path / "two.csv", unnamed, rng)
    toy = Toy("rings", n=50).load()  # which has no names at all
    assert load_external_rows(tmp_path / "two.csv", toy, rng).shape == (80, 2)


def test_rows_of_a_dequantised_table_are_spread_over_their_cells(tmp_path, rng):
    whole = np.random.default_rng(0).integers(0, 9, (60, 2)).astype(float)
    np.savetxt(tmp_path / "t.csv", whole, "%g", ",", header="a,b", comments="")
    data = Table(str(tmp_path / "t.csv"), dequantise=True).load()
    result = data.to_original(load_external_rows(tmp_path / "t.csv", data, rng)) - torch.from_numpy(
        whole
    )
    assert float(result.abs().max()) <= 0.5 + 1e-4
    assert float(result.std()) == pytest.approx(12**-0.5, rel=0.2)


# Images.


def trained(data):
    method = Contrastive(NoiseStart(scale=0.5), ULA(1e-4), steps=1)
    network = NetworkEnergy(Multilayer((4,)))
    return start(resolve_auto(Settings(data, network, method, batch=8, threads=1, device="cpu")))


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_samples_that_were_written_are_read_as_they_were(tmp_path, rng, suffix):
    sets = [Modes(3, rows=40), Digits()] if suffix == ".npz" else [Modes(3, rows=40)]
    for data in sets:
        run = trained(data)
        path = tmp_path / f"{type(data).__name__}{suffix}"
        write_samples(run.model(), path, 12, seed=5)
        x = run.model().draw(12, generator(5, "sample", 0, "cpu")).x
        torch.testing.assert_close(
            load_external_rows(path, run.dataset, rng), x, rtol=1e-5, atol=1e-5
        )


def test_pictures_are_the_same_in_a_folder_in_an_array_and_as_numbers(tmp_path, digits, rng):
    grey = model_to_grey(digits.test[:5], digits)[:, 0].numpy()
    (tmp_path / "folder").mkdir()
    for i, picture in enumerate(grey):
        Image.fromarray(picture).save(tmp_path / "folder" / f"{i}.png")
    np.save(tmp_path / "grey.npy", grey)
    np.savez(tmp_path / "grey.npz", pictures=grey)
    np.savez(tmp_path / "two.npz", x=np.zeros(3), original=grey)
    expected = grey_to_model(torch.from_numpy(grey)[:, None], digits)
    for name in ("folder", "grey.npy", "grey.npz", "two.npz"):
        assert torch.equal(load_external_rows(tmp_path / name, digits, rng), expected), name
    np.save(tmp_path / "numbers.npy", digits.to_original(digits.test[:5]).numpy())
    result = load_external_rows(tmp_path / "numbers.npy", digits, rng)
    torch.testing.assert_close(result, digits.test[:5])
    assert result.dtype == torch.float32


def test_pictures_of_another_size_are_scaled_and_those_of_numbers_refused(tmp_path, digits, rng):
    np.save(tmp_path / "large.npy", np.full((2, 20, 30, 3), 255, dtype=np.uint8))
    result = load_external_rows(tmp_path / "large.npy", digits, rng)
    assert result.shape == (2, 1, 8, 8)
    torch.testing.assert_close(result, torch.ones(2, 1, 8, 8))
    wide = np.full((16, 48), 255, dtype=np.uint8)
    wide[:, 12:36] = 0  # what is over at both sides is cut off
    (tmp_path / "wide").mkdir()
    Image.fromarray(wide).save(tmp_path / "wide" / "a.png")
    np.save(tmp_path / "wide.npy", wide[None])
    for name in ("wide", "wide.npy"):
        result = load_external_rows(tmp_path / name, digits, rng)
        torch.testing.assert_close(result, -torch.ones(1, 1, 8, 8), atol=0.01, rtol=0)
    np.save(tmp_path / "numbers.npy", np.zeros((2, 1, 9, 9)))
    with pytest.raises(ValueError, match=r"shape \(N, 1, 8, 8\) in original units, or uint8"):
        load_external_rows(tmp_path / "numbers.npy", digits, rng)


def test_pictures_that_are_not_square_are_given_as_numbers(tmp_path, rng):
    x = torch.zeros(6, 1, 4, 6)
    data = Dataset(x, x[:2], x[:0])
    np.save(tmp_path / "x.npy", np.ones((3, 1, 4, 6), dtype=np.float32))
    assert torch.equal(load_external_rows(tmp_path / "x.npy", data, rng), torch.ones(3, 1, 4, 6))
    np.save(tmp_path / "grey.npy", np.ones((3, 4, 6), dtype=np.uint8))
    with pytest.raises(ValueError, match="square images only, and the model has 4x6"):
        load_external_rows(tmp_path / "grey.npy", data, rng)


def test_images_of_dequantised_data_are_spread_over_their_cells(tmp_path, rng):
    data = Digits(dequantise=True).load()
    np.save(tmp_path / "x.npy", np.full((50, 1, 8, 8), 8.0))
    result = load_external_rows(tmp_path / "x.npy", data, rng)
    assert float(result.abs().max()) <= data.quantum / 2
    assert float(result.std()) == pytest.approx(float(data.quantum) / 12**0.5, rel=0.05)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_row(tmp_path, digits, rng, wrong):
    x = np.zeros((4, 1, 8, 8))
    x[2, 0, 3, 3] = wrong
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match="nan or inf in 1 rows, the first is row 2"):
        load_external_rows(tmp_path / "x.npy", digits, rng)


def test_what_is_not_there_or_empty_is_refused(tmp_path, digits, rng):
    with pytest.raises(FileNotFoundError, match="found nothing"):
        load_external_rows(tmp_path / "none", digits, rng)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="must hold image files"):
        load_external_rows(tmp_path / "empty", digits, rng)
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(ValueError, match=r"must be a complete \.npy or \.npz file"):
        load_external_rows(tmp_path / "text.npy", digits, rng)
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(ValueError, match="which are a, b"):
        load_external_rows(tmp_path / "two.npz", digits, rng)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"must be a complete \.npy or \.npz file"):
        load_external_rows(tmp_path / "cut.npz", digits, rng)
    with pytest.raises(ValueError, match="path must name a file, got the folder"):
        load_external_rows(tmp_path / "empty", Modes(3, rows=40).load(), rng)


# Noise.


def test_noise_is_uniform_over_each_column(rng):
    x = torch.tensor([[0.0, -5.0], [1.0, 5.0]])
    noise = Dataset(x, x, x).noise(20_000, rng)
    assert noise.dtype == torch.float32
    for column, (low, high) in zip(noise.T, ((0, 1), (-5, 5)), strict=True):
        assert low <= float(column.min()) < float(column.max()) <= high
        width = high - low
        error = width / 12**0.5 / len(noise) ** 0.5
        assert float(column.mean()) == pytest.approx((low + high) / 2, abs=5 * error)
        assert float(column.std()) == pytest.approx(width / 12**0.5, rel=0.02)
    assert abs(float(torch.corrcoef(noise.T)[0, 1])) < 5 / len(noise) ** 0.5


def test_noise_of_images_has_the_range_of_all_pixels(rng):
    x = torch.zeros(2, 1, 2, 2)
    x[0, 0, 0, 0], x[1, 0, 1, 1] = -1.0, 3.0
    noise = Dataset(x, x, x).noise(2000, rng)
    assert noise.shape == (2000, 1, 2, 2)
    assert float(noise.amin((0, 1, 2, 3))) == pytest.approx(-1, abs=0.01)
    assert bool((noise.amax(0) > 2.9).all())  # also where the data are always nought
    same = Dataset(x, x, x).noise(5, torch.Generator().manual_seed(1))
    again = Dataset(x, x, x).noise(5, torch.Generator().manual_seed(1))
    assert torch.equal(same, again)
    constant = replace(Dataset(x, x, x), train=torch.full((3, 1, 2, 2), 2.0))
    assert bool((constant.noise(3, rng) == 2).all())
