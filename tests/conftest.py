"""What every test starts from: a default type, one thread, a seeded generator, no data folder."""

import os
from pathlib import Path

import pytest
import torch

from boltzwalk import api
from boltzwalk.durable import write_atomically
from boltzwalk.reporting import page
from boltzwalk.training import run_pictures

torch.set_num_threads(1)  # small tensors: threads only fight over the cores

FLOAT32 = {
    "claims",
    "cli",
    "data",
    "end_to_end",
    "estimators",
    "evaluation",
    "reporting",
    "study",
    "training",
    "test_docs.py",
}
"""Where things run as a user runs them. Mathematics is tested in float64."""

REAL = Path(os.environ.get("BOLTZWALK_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(autouse=True)
def float64(request):
    """The default type of the test's folder."""
    before = torch.get_default_dtype()
    single = FLOAT32 & set(request.path.parts)
    torch.set_default_dtype(torch.float32 if single else torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def real_data():
    """The folder of the real sets."""
    if not (REAL / "MNIST").is_dir():
        pytest.skip(f"no data in {REAL}; name their folder with BOLTZWALK_DATA")
    return str(REAL)


@pytest.fixture(autouse=True)
def _empty_root(monkeypatch, tmp_path):
    """No test sees a user's data unless it names them."""
    monkeypatch.setenv("BOLTZWALK_DATA", str(tmp_path.parent / "nothing"))


@pytest.fixture
def no_network(monkeypatch):
    """Every download fails at once, as where there is no network."""

    def refuse(request, timeout):
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


UNDRAWN = {"api", "cli", "completion", "evaluation", "study", "training"}
"""Folders whose tests train many short runs: pages and pictures are most of the time of such a run,
so that only tests marked `pictures` draw them there."""


def _plain_picture(model, folder):
    for path in (run_pictures.picture_path(folder, model.update), folder / "samples.png"):
        write_atomically(path, b"a picture")


def _plain_page(model, folder, numbers=None, training=None, out=None):
    path = out or folder / "report.html"
    write_atomically(path, b"a page")
    return path


@pytest.fixture(autouse=True)
def _undrawn(request, monkeypatch):
    """Files in the place of pages and pictures, unless a test is marked `pictures`."""
    if UNDRAWN & set(request.path.parts) and not request.node.get_closest_marker("pictures"):
        monkeypatch.setattr(run_pictures, "draw_picture", _plain_picture)
        monkeypatch.setattr(page, "write_report", _plain_page)
        monkeypatch.setattr(api, "write_report", _plain_page)
