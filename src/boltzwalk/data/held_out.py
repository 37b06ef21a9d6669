"""Held-out rows of dequantised data, which get their noise once."""

from __future__ import annotations

import dataclasses

import torch

from .dataset import Dataset

__all__ = ["dequantise_held_out"]


def dequantise_held_out(data: Dataset, seed: int) -> Dataset:
    """Gives validation and test rows their noise, the same for the same seed.

    Arguments:
        data: Splits whose rows lie at the centres of their cells.
        seed: Determines the noise.
    """
    rng = torch.Generator().manual_seed(seed)
    return dataclasses.replace(
        data,
        validation=data.dequantised(data.validation, rng),
        test=data.dequantised(data.test, rng),
    )
