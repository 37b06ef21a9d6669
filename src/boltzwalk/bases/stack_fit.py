r"""Experts of a stack of densities, fitted to rows, and the weights of experts."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .marginals import fit_marginals, to_normal
from .mixtures import Mixture, fit_mixture, mixture_exponents, shrunk_covariance

__all__ = ["Expert", "Fits", "cross_validated_weights", "kernel_log_densities"]

FOLDS, FEW_ROWS = 5, 1000
"""The folds of cross-validation, and the rows from which one fold is enough."""

SMALLEST = 1e-3
"""The weight below which an expert is left out; a single Gaussian always stays."""


class Expert(NamedTuple):
    """An expert of the stack.

    Attributes:
        normal: Whether its columns were made almost normal.
        components: The components of a mixture; 0 for kernels.
        bandwidth: The width of the kernels, in units of the covariance of all rows.
    """

    normal: bool
    components: int
    bandwidth: float = 0.0


def cross_validated_weights(x: Tensor, experts: list[Expert], rng: torch.Generator) -> Tensor:
    """Returns the weights of experts, shape (J,), 0 for those that are left out.

    Arguments:
        x: The rows, float64, shape (N, D).
        experts: The experts, with a single Gaussian of the columns as they are.
        rng: Determines the folds and the starts of EM.
    """
    seed = rng.initial_seed()
    folds = _folds(x, rng)
    log_p = []
    for fold in folds if len(x) < FEW_ROWS else folds[:1]:
        inside = torch.ones(len(x), dtype=torch.bool, device=x.device)
        inside[fold] = False
        fits = Fits(x[inside], seed)
        log_p.append(torch.stack([fits.log_density(e, x[fold]) for e in experts], 1))
    weights = _stacked_weights(torch.cat(log_p))
    plainest = experts.index(Expert(normal=False, components=1))
    weights[plainest] = weights[plainest].clamp_min(SMALLEST)
    weights = torch.where(weights >= SMALLEST, weights, 0)
    return weights / weights.sum()


def _folds(x: Tensor, rng: torch.Generator) -> list[Tensor]:
    """The rows of each fold; equal rows are in one, or narrow kernels would win by the copies."""
    order = torch.randperm(len(x), generator=rng, device=rng.device).to(x.device)
    folds = order.tensor_split(min(FOLDS, len(x)))
    groups = x.unique(dim=0, return_inverse=True)[1]
    if int(groups.max()) == len(x) - 1:
        return list(folds)
    fold_of_row = torch.empty_like(order)
    for number, fold in enumerate(folds):
        fold_of_row[fold] = number
    rows = torch.arange(len(x), device=x.device)
    first = torch.full_like(rows, len(x)).scatter_reduce(0, groups, rows, "amin")
    fold_of_row = fold_of_row[first[groups]]
    parts = [(fold_of_row == number).nonzero().flatten() for number in range(len(folds))]
    return [part for part in parts if 0 < len(part) < len(x)] or list(folds)


class Fits:
    """Experts that are fitted to rows when they are asked for.

    Arguments:
        x: The rows, float64, shape (N, D).
        seed: The seed of k-means.
    """

    def __init__(self, x: Tensor, seed: int) -> None:
        self.x, self.seed = x, seed
        self.marginals = fit_marginals(x)
        self.z, _ = to_normal(x, self.marginals)
        self.centre = self.z.mean(0)
        factor = torch.linalg.cholesky(shrunk_covariance(self.z))
        eye = torch.eye(len(factor), dtype=x.dtype, device=x.device)
        self.whiten = torch.linalg.solve_triangular(factor, eye, upper=False)
        self.white = (self.z - self.centre) @ self.whiten.T
        self.mixtures: dict[Expert, Mixture] = {}

    def mixture(self, expert: Expert) -> Mixture:
        """The mixture of an expert."""
        if expert not in self.mixtures:
            rows = self.z if expert.normal else self.x
            self.mixtures[expert] = fit_mixture(rows, expert.components, self.seed)
        return self.mixtures[expert]

    def log_density(self, expert: Expert, x: Tensor) -> Tensor:
        """The log-density of rows under an expert."""
        z, log_volume = to_normal(x, self.marginals) if expert.normal else (x, 0.0)
        if expert.components:
            return torch.logsumexp(mixture_exponents(z, self.mixture(expert)), 1) + log_volume
        white, width = (z - self.centre) @ self.whiten.T, x.new_tensor([expert.bandwidth])
        log_p = kernel_log_densities(white, self.white, width)[:, 0]
        result: Tensor = log_p + log_volume + self.whiten.diagonal().log().sum()
        return result


def kernel_log_densities(x: Tensor, centres: Tensor, bandwidths: Tensor) -> Tensor:
    """The log-density of rows under kernels of each width, shape (N, H)."""
    squares = x.square().sum(1)[:, None] - 2 * x @ centres.T + centres.square().sum(1)
    squares = squares.clamp_min(0)
    sums = [torch.logsumexp(-squares / (2 * width**2), 1) for width in bandwidths]
    constants = x.shape[1] * (bandwidths.log() + math.log(2 * math.pi) / 2) + math.log(len(centres))
    return torch.stack(sums, 1) - constants


def _stacked_weights(log_p: Tensor, iterations: int = 300) -> Tensor:
    """The weights of experts, shape (J,), under which rows are likeliest, by EM."""
    rows, experts = log_p.shape
    weights = log_p.new_full((experts,), 1 / experts)
    for _ in range(iterations):
        share = torch.softmax(log_p + weights.log(), 1).sum(0)
        weights = (share + SMALLEST) / (rows + SMALLEST * experts)
    return weights
