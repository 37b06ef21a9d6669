"""The page is one whole file, and its numbers are those of the run."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from boltzwalk.data import Digits, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.networks import Multilayer
from boltzwalk.reporting.page import write_report
from boltzwalk.reporting.summary import summarise
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import read_rows
from boltzwalk.training.pictures import image_grid
from boltzwalk.training.run import open_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    settings = resolve_auto(
        Settings(
            data=Digits(),
            energy=NetworkEnergy(Multilayer((16,))),
            method=Contrastive(kernel=ULA(1.0, 5e-5), steps=5),
            updates=20,
            threads=1,
            output=Output(log_every=5, picture_every=0),
        )
    )
    path = tmp_path_factory.mktemp("runs") / "a<b"  # names are escaped
    for _ in execute(settings, path):
        pass
    return path


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_no_network_and_escapes(folder):
    opened = open_model(folder)
    path = write_report(opened, folder, summarise(opened, folder))
    text = path.read_text()
    tags = Tags()
    tags.feed(text)
    sources = [attrs["src"] for _, attrs in tags.found if "src" in attrs]
    assert len(sources) == 5  # samples, data, neighbours, chains from noise and from data
    assert [tag for tag, _ in tags.found].count("svg") >= 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://", re.sub(r"base64,[^\"]*", "", text))
    assert "a&lt;b" in text
    assert "a<b" not in text
    assert "step_size: 1.0" in text


def test_the_numbers_are_those_of_the_run(folder):
    numbers = {number.name: number for number in summarise(open_model(folder), folder)}
    last = read_rows(folder / "log.jsonl")[-1]
    assert numbers["travel"].text == f"{last['travel']:.3g} of {last['distance']:.3g}"
    assert numbers["temperature"].text == "5e-05"
    assert numbers["cost"].meaning.startswith(f"{20 * 64 * 6:,} gradient")
    assert {"class entropy", "class coverage", "classifier-FID"} <= numbers.keys()


def test_points_in_the_plane_have_no_classes(tmp_path, folder):
    settings = replace(open_model(folder).settings, data=Toy("rings", n=200), updates=5)
    for _ in execute(settings, tmp_path / "toy"):
        pass
    names = {number.name for number in summarise(open_model(tmp_path / "toy"), tmp_path / "toy")}
    assert "class entropy" not in names
    assert "travel" in names


def test_a_grid_shows_every_image_in_its_place():
    x = torch.linspace(-1, 1, 6)[:, None, None, None].expand(6, 1, 2, 2)
    grid = image_grid(x, columns=3)
    assert grid.shape == (5, 8, 1)
    for i in range(6):
        row, column = divmod(i, 3)
        cell = grid[row * 3 : row * 3 + 2, column * 3 : column * 3 + 2]
        assert (cell == round((i / 5) * 255)).all(), i
    assert (grid[2] == 128).all()
    assert (grid[:, 2] == 128).all()


def test_colours_and_range_of_a_grid():
    x = torch.stack([torch.full((2, 2), v) for v in (-9.0, 0.0, 9.0)])[None]
    assert image_grid(x)[0, 0].tolist() == [0, 128, 255]
