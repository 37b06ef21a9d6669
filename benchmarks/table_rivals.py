"""Densities and anomaly scores of other libraries, chosen by validation rows.

Each function of `DENSITIES` takes training and validation rows, shape (N, D), and returns the log
density of new rows and a line on the choice. Columns come with a variance of about 1.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
import zuko
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

__all__ = ["DENSITIES", "DETECTORS"]

LogDensity = Callable[[np.ndarray], np.ndarray]

COMPONENTS = (1, 2, 3, 5, 10, 20)
BANDWIDTHS = np.geomspace(0.05, 2.0, 16)
PATIENCE, SECONDS = 20, 30.0


def gaussian(train: np.ndarray, validation: np.ndarray) -> tuple[LogDensity, str]:
    """A Gaussian with the covariance of Ledoit and Wolf."""
    fitted = LedoitWolf().fit(train)
    density = multivariate_normal(fitted.location_, fitted.covariance_)
    return (lambda x: np.atleast_1d(density.logpdf(x))), f"shrinkage {fitted.shrinkage_:.3f}"


def mixture(train: np.ndarray, validation: np.ndarray) -> tuple[LogDensity, str]:
    """scikit-learn's GaussianMixture; components, covariances and their floor by validation."""
    results: dict[tuple[int, str, float], tuple[float, GaussianMixture]] = {}

    def score(k: int, kind: str, floor: float) -> float:
        fitted = GaussianMixture(k, covariance_type=kind, reg_covar=floor, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.fit(train)
        results[k, kind, floor] = float(fitted.score(validation)), fitted
        return results[k, kind, floor][0]

    sizes = [k for k in COMPONENTS if k <= len(train) // 4]
    best = max(sizes, key=lambda k: score(k, "full", 1e-2))
    for floor in (1e-4, 1e-3, 1e-1):
        score(best, "full", floor)
    for k in sizes[-2:]:
        score(k, "diag", 1e-2)
    chosen = max(results, key=lambda choice: results[choice][0])
    k, kind, floor = chosen
    return results[chosen][1].score_samples, f"{k} {kind}, {floor:g}"


def kernel_density(train: np.ndarray, validation: np.ndarray) -> tuple[LogDensity, str]:
    """A Gaussian kernel at each training row, its covariance that of all rows, scaled."""
    factor = np.linalg.cholesky(LedoitWolf().fit(train).covariance_)
    volume = np.log(np.diag(factor)).sum()
    centres = np.linalg.solve(factor, train.T).T
    dim = train.shape[1]

    def at(bandwidth: float) -> LogDensity:
        def log_density(x: np.ndarray) -> np.ndarray:
            z, out = np.linalg.solve(factor, x.T).T, []
            for part in np.array_split(z, 1 + len(z) * len(centres) // 2**22):
                squares = (part**2).sum(1)[:, None] - 2 * part @ centres.T + (centres**2).sum(1)
                out.append(logsumexp(-squares.clip(0) / (2 * bandwidth**2), axis=1))
            norm = dim * np.log(bandwidth * np.sqrt(2 * np.pi)) + np.log(len(centres)) + volume
            return np.concatenate(out) - norm

        return log_density

    best = max(BANDWIDTHS, key=lambda bandwidth: at(bandwidth)(validation).mean())
    return at(best), f"bandwidth {best:.3f}"


def flow(train: np.ndarray, validation: np.ndarray) -> tuple[LogDensity, str]:
    """Zuko's neural spline flow on whitened rows; the best epoch by validation."""
    factor = np.linalg.cholesky(LedoitWolf().fit(train).covariance_)
    volume, mean = float(np.log(np.diag(factor)).sum()), train.mean(0)

    def white(x: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.linalg.solve(factor, (x - mean).T).T, dtype=torch.float32)

    x, held = white(train), white(validation)
    torch.manual_seed(0)
    net = zuko.flows.NSF(train.shape[1], transforms=3, hidden_features=(64, 64), passes=2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    began, score, waited, epochs = time.process_time(), -np.inf, 0, 0
    while waited < PATIENCE and time.process_time() - began < SECONDS:
        for rows in torch.randperm(len(x)).split(128):
            loss = -net().log_prob(x[rows]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
        with torch.no_grad():
            current = float(net().log_prob(held).mean())
        waited, epochs = waited + 1, epochs + 1
        if current > score:
            kept, score, waited = copy.deepcopy(net.state_dict()), current, 0
    net.load_state_dict(kept)

    def log_density(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net().log_prob(white(rows)).double().numpy() - volume

    return log_density, f"epoch {epochs - waited}"


DENSITIES = {
    "Gaussian": gaussian,
    "GaussianMixture": mixture,
    "KernelDensity": kernel_density,
    "zuko flow": flow,
}


def forest(train: np.ndarray) -> LogDensity:
    """IsolationForest; a higher score is more ordinary, as of a log density."""
    return IsolationForest(n_estimators=200, random_state=0).fit(train).score_samples


def neighbours(train: np.ndarray) -> LogDensity:
    """LocalOutlierFactor of new rows."""
    return LocalOutlierFactor(n_neighbors=20, novelty=True).fit(train).score_samples


def support(train: np.ndarray) -> LogDensity:
    """OneClassSVM with its default kernel."""
    return OneClassSVM(nu=0.1).fit(train).decision_function


DETECTORS = {
    "IsolationForest": forest,
    "LocalOutlierFactor": neighbours,
    "OneClassSVM": support,
}
