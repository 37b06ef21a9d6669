r"""Exact samples and log Z of an untrained energy, from which weighted walkers start."""

from __future__ import annotations

import torch
from torch import Tensor

from ..energy import Energy
from .composed import FittedReference, GaussianReference

__all__ = ["exact_samples"]


@torch.no_grad()
def exact_samples(
    energy: Energy, n: int, like: Tensor, rng: torch.Generator, temperature: float = 1.0
) -> tuple[Tensor, float]:
    r"""Returns n exact samples of :math:`e^{-U/T} / Z`, and :math:`\log Z`.

    Available for energies with ``sample(n, rng)`` and ``log_z``, and for a Gaussian reference with
    a network that is still a constant c: for :math:`U(x) = |x|^2 / 2 s^2 + c`,

    .. math:: \log Z = \frac d2 \log 2 \pi s^2 T - \frac cT .

    Arguments:
        energy: The energy :math:`U`.
        n: The number of samples.
        like: Rows with the event shape, dtype and device of the samples, shape (M, \*event).
        rng: The random generator.
        temperature: The temperature :math:`T`.

    Raises:
        ValueError: If log Z is not known.

    Example:
        >>> energy = GaussianReference(lambda x: 0 * x.sum(1), scale=1.0)
        >>> rng = torch.Generator().manual_seed(0)
        >>> x, log_z = exact_samples(energy, 5, torch.zeros(1, 2), rng)
        >>> x.shape, round(log_z, 4)
        (torch.Size([5, 2]), 1.8379)
    """
    sample, known = getattr(energy, "sample", None), getattr(energy, "log_z", None)
    if sample is not None and known is not None and temperature == 1:
        return sample(n, rng).to(like), float(known)
    if isinstance(energy, GaussianReference | FittedReference):
        rows = max(n, 16)  # any network is constant on one sample
        x, log_z = energy.sample_reference(rows, rng, temperature, like)
        constant = energy.energy(x)
        if bool((constant == constant[0]).all()) and bool(constant[0].isfinite()):
            return x[:n], log_z - float(constant[0]) / temperature
    if sample is not None and known is not None:
        raise ValueError(
            f"log Z of this energy is known at temperature 1, got {temperature}; write "
            "kernel.temperature=1"
        )
    raise ValueError(
        "exact weights need a start whose log Z is known, got an energy that has none: write "
        "energy.reference_scale=1.0 energy.zero_start=true, which starts at a Gaussian"
    )
