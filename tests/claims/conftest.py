"""Claims are about float32 training, as it is done."""

import pytest
import torch


@pytest.fixture(autouse=True)
def float32(float64):
    torch.set_default_dtype(torch.float32)
