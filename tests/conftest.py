"""What every test starts from: a default type, one thread, a seeded generator, no data folder."""

import os
from pathlib import Path

import pytest
import torch

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
