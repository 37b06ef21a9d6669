"""Hostile inputs: read or refused in one message, in bounded time and memory."""

import os

import pytest
import torch
from fuzz import MAKERS, main

NUMBER = int(os.environ.get("BOLTZWALK_INPUTS", "1000"))
"""How many inputs the slow target reads."""


@pytest.fixture(autouse=True)
def _as_a_user():
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "numbers", [range(len(MAKERS)), pytest.param(range(NUMBER), marks=pytest.mark.slow)]
)
def test_no_input_ends_in_a_traceback(tmp_path, numbers):
    counts, faults = main(tmp_path, numbers)
    assert not faults, "\n".join(faults)
    assert sum(counts.values()) == len(numbers)
    print(counts)
