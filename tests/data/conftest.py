import os
from pathlib import Path

import pytest

BESIDE_THE_REPOSITORY = Path(__file__).parents[3] / "shared" / "data"
REAL = Path(os.environ.get("BOLTZWALK_DATA") or BESIDE_THE_REPOSITORY)


@pytest.fixture(autouse=True)
def float64():
    """Data are float32 whatever the default: this takes the place of the float64 of other tests."""


@pytest.fixture
def real_data():
    """The folder of the real sets."""
    if not (REAL / "MNIST").is_dir():
        pytest.skip(f"no data in {REAL}; name their folder with BOLTZWALK_DATA")
    return str(REAL)


@pytest.fixture(autouse=True)
def _empty_root(monkeypatch, tmp_path):
    """No test sees a user's data unless it names them."""
    monkeypatch.setenv("BOLTZWALK_DATA", str(tmp_path / "nothing"))


@pytest.fixture
def no_network(monkeypatch):
    """Every download fails at once, as where there is no network."""

    def refuse(request, timeout):
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
