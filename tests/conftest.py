"""What every test starts from: float64, one thread, a seeded generator."""

import pytest
import torch

torch.set_num_threads(1)  # small tensors: threads only fight over the cores


@pytest.fixture(autouse=True)
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)
