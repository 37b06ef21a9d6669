"""Random damages of all files of a run and a study: told, refused or harmless, never unnoticed."""

import os

import pytest
import torch
from damages import main

NUMBER = int(os.environ.get("BOLTZWALK_DAMAGES", "1000"))
"""How many damages the slow target makes."""


@pytest.fixture(autouse=True)
def _as_a_user():
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
def test_no_damage_goes_unnoticed(tmp_path):
    """0 tracebacks, 0 hangs, and 0 samples that differ without a word."""
    counts, faults = main(tmp_path, range(NUMBER))
    assert not faults, "\n".join(faults)
    assert sum(counts.values()) == NUMBER
    print(counts)
