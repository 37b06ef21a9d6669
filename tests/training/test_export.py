"""Samples leave a run in the units the data came in, and nothing of the user's is overwritten."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from boltzwalk.data import Digits, Table
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import DataStart, NoiseStart
from boltzwalk.model import Model
from boltzwalk.networks import Convolutional, Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.settings import Settings, resolve_auto
from boltzwalk.training.pictures import write_samples
from boltzwalk.training.run import start

COLUMNS = ("a", "b,c", 'd "e"')
CENTRES = np.array([0.0, 5000.0, -2e-4])
SPREADS = np.array([1.0, 30.0, 1e-5])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model of no update on a table whose columns have units as different as can be."""
    path = tmp_path_factory.mktemp("data") / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        rows = np.random.default_rng(0).normal(CENTRES, SPREADS, (200, 3))
        writer.writerows([[repr(float(value)) for value in row] for row in rows])
    return begun(Table(str(path), whitening="pca"), Multilayer((4,)), DataStart())


def begun(data, network, walkers):
    method = Contrastive(walkers, ULA(1e-3), steps=2)
    settings = Settings(data, NetworkEnergy(network), method, batch=8, device="cpu", threads=1)
    return start(resolve_auto(settings)).model()


@pytest.fixture(scope="module")
def images():
    return begun(Digits(), Convolutional(width=2, layers=((1, 3, 2, 1),)), NoiseStart())


def expected(model, n, seed=0):
    return model.draw(n, generator(seed, "sample", 0, "cpu"))


def read_csv(path):
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, np.array(rows, dtype=np.float64)


def test_a_csv_comes_back_in_original_units(model, tmp_path):
    said = write_samples(model, tmp_path / "a.csv", 120, seed=3)
    header, rows = read_csv(tmp_path / "a.csv")
    assert tuple(header) == COLUMNS
    original = model.data.to_original(expected(model, 120, 3).x).detach().numpy()
    # As many digits as the model resolves: the rounding of float32 at one deviation.
    scale = np.sqrt((model.data.scale.double().numpy() ** 2).sum(0))
    assert (np.abs(rows - original) <= scale * 2.0**-24).all()
    # The walkers start at the data and barely move: their means are those of the columns.
    assert (np.abs(rows.mean(0) - CENTRES) < 5 * SPREADS / np.sqrt(120)).all()
    assert said == [
        "120 samples, 2 steps each, seed 3",
        f"samples  {tmp_path / 'a.csv'}",
        f"picture  {tmp_path / 'a_picture.png'}",
    ]


def test_a_csv_can_be_loaded_as_data(model, tmp_path):
    write_samples(model, tmp_path / "a.csv", 20)
    assert Table(str(tmp_path / "a.csv")).load().columns == COLUMNS


def test_an_npz_holds_both_units_and_the_energy(model, tmp_path):
    write_samples(model, tmp_path / "a.npz", 9)
    walkers = expected(model, 9)
    with np.load(tmp_path / "a.npz") as file:
        assert set(file.files) == {"x", "original", "energy"}
        np.testing.assert_array_equal(file["x"], walkers.x.detach().numpy())
        np.testing.assert_array_equal(file["energy"], walkers.energy.detach().numpy())
        original = model.data.to_original(walkers.x).detach().numpy()
        np.testing.assert_array_equal(file["original"], original)


@pytest.mark.parametrize("ending", ["npz", "csv"])
def test_the_picture_overwrites_no_file_of_the_user(model, tmp_path, ending):
    (tmp_path / "a.png").write_bytes(b"mine")
    write_samples(model, tmp_path / f"a.{ending}", 5)
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", f"a.{ending}", "a_picture.png"}
    with Image.open(tmp_path / "a_picture.png") as image:
        assert image.format == "PNG"


def test_a_png_is_the_picture_alone(images, tmp_path):
    said = write_samples(images, tmp_path / "a.png", 4, steps=3)
    assert said == ["4 samples, 3 steps each, seed 0", f"picture  {tmp_path / 'a.png'}"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.size[0] == image.size[1]  # two rows of two images


def test_the_seed_determines_the_file(model, tmp_path):
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        write_samples(model, tmp_path / f"{name}.csv", 5, seed=seed)
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("name", ["a.txt", "a", "a.PNG.gz", "a.npy"])
def test_other_endings_are_refused(model, tmp_path, name):
    with pytest.raises(ValueError, match=r"out must end in \.npz, \.csv or \.png, got "):
        write_samples(model, tmp_path / name, 5)
    assert not any(tmp_path.iterdir())


def test_a_csv_of_images_is_refused(images, tmp_path):
    with pytest.raises(ValueError, match=r"holds tables, got images for 'a\.csv'; write \.npz"):
        write_samples(images, tmp_path / "a.csv", 5)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_samples_that_are_not_finite_are_refused(model, tmp_path, monkeypatch, bad):
    draw = Model.draw

    def broken(*arguments, **options):
        walkers = draw(*arguments, **options)
        x = walkers.x.detach().clone()
        x[1, 2] = bad
        return replace(walkers, x=x)

    monkeypatch.setattr(Model, "draw", broken)
    with pytest.raises(ValueError, match=r"samples must be finite, 25% are not; try fewer --steps"):
        write_samples(model, tmp_path / "a.npz", 4)
    assert not any(tmp_path.iterdir())


def test_columns_without_names_give_no_header(model, tmp_path):
    nameless = replace(model, data=replace(model.data, columns=()))
    write_samples(nameless, tmp_path / "a.csv", 5)
    assert torch.from_numpy(np.loadtxt(tmp_path / "a.csv", delimiter=",")).shape == (5, 3)
