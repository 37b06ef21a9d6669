"""Commands run in float32, whatever the default."""

import pytest
import torch


@pytest.fixture(autouse=True)
def float32(float64):
    torch.set_default_dtype(torch.float32)
