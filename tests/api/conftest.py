"""A user's file with one class of each kind, rows, and small runs."""

import sys

import jaxtyping
import pytest
import torch

import boltzwalk as bw
from boltzwalk.references import import_file

TOYS = '''
"""One class of each kind, as a user writes them."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

import boltzwalk as bw
from boltzwalk.kernel import accept
from boltzwalk.walkers import walkers_at


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1) + x.square().sum(-1) / 8


def net_for(event_shape, width=4):
    return nn.Sequential(nn.Linear(event_shape[0], width), nn.SiLU(), nn.Linear(width, 1),
                         nn.Flatten(0))


class Column(Net):
    def forward(self, x):
        return self.layers(x)


class Normal(nn.Module):
    """U = sum ((x - m) / s)^2 / 2, whose log Z is exact."""

    def __init__(self, dim=2):
        super().__init__()
        self.mean = nn.Parameter(torch.full((dim,), 0.5))
        self.log_std = nn.Parameter(torch.full((dim,), -0.25))

    @property
    def log_z(self):
        return float(self.log_std.detach().sum() + len(self.mean) * np.log(2 * np.pi) / 2)

    def forward(self, x):
        return (((x - self.mean) / self.log_std.exp()).square() / 2).sum(-1)


@dataclass(frozen=True)
class RandomWalk:
    scale: float = 0.3
    temperature: float = 1.0

    gradients = 1
    drift = float("nan")
    invariant = True
    weighable = True

    def step(self, energy, walkers, rng):
        noise = torch.randn(walkers.x.shape, generator=rng)
        proposal = walkers_at(energy, walkers.x + self.scale * noise, walkers.log_w)
        return accept(walkers, proposal, (walkers.energy - proposal.energy) / self.temperature, rng)


@dataclass(frozen=True)
class ScoreMatching:
    sigma: float = 0.3
    kernel: bw.kernels.TrainingKernel = field(default_factory=RandomWalk)
    steps: int = 5

    def step(self, energy, data, state, rng):
        noise = torch.randn(data.x.shape, generator=rng)
        x = (data.x + self.sigma * noise).requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        loss = (self.sigma * gradient - noise).square().sum(1).mean()
        return loss, None, {"score_error": loss.detach()}


@dataclass(frozen=True)
class NoSamples(ScoreMatching):
    kernel: None = None
    steps: int = 0


@dataclass(frozen=True)
class NoStep:
    sigma: float = 0.3


@dataclass(frozen=True)
class OtherStep:
    def step(self, energy, data):
        return energy(data.x).mean()


@dataclass(frozen=True)
class OtherSample(ScoreMatching):
    def sample(self, energy, n):
        return n


@dataclass(frozen=True)
class KernelWithoutStep:
    temperature: float = 1.0


@dataclass(frozen=True)
class KernelOfOtherArguments(RandomWalk):
    def step(self, energy, walkers):
        return walkers, None


@dataclass(frozen=True)
class KernelWithoutValues:
    def step(self, energy, walkers, rng):
        return walkers, None


class PlainMethod:
    def step(self, energy, data, state, rng):
        return energy(data.x).mean(), None, {}


@dataclass(frozen=True)
class Returns:
    result: str = "loss"

    def step(self, energy, data, state, rng):
        u = energy(data.x)
        return {
            "loss": u.mean(),
            "rows": (u, None, {}),
            "number": (1.0, None, {}),
            "constant": (torch.zeros(()), None, {}),
            "dictionary": (u.mean(), {"walkers": u.detach()}, {}),
        }[self.result]


class Affine(nn.Module):
    """A base: x = A z + b."""

    def __init__(self, event_shape, latent=2):
        super().__init__()
        self.latent, self.event_shape = latent, tuple(event_shape)
        self.layer = nn.Linear(latent, event_shape[0])

    def latents(self, n, rng):
        return torch.randn(n, self.latent, generator=rng)

    def decode(self, z):
        return self.layer(z)

    forward = decode


class NoDecoder(nn.Module):
    def __init__(self, event_shape):
        super().__init__()
        self.layer = nn.Linear(2, event_shape[0])

    def latents(self, n, rng):
        return torch.randn(n, 2, generator=rng)


def ring(n=300, radius=2.0, seed=0):
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


@dataclass(frozen=True)
class Ring:
    n: int = 300

    def load(self):
        return bw.Dataset.of(ring(self.n), whitening="standard")


def mean_radius(samples, reference):
    """A metric of samples and reference rows."""
    return float(abs(samples.norm(dim=1).mean() - reference.norm(dim=1).mean()))
'''


@pytest.fixture(autouse=True)
def as_a_user():
    """Trains in float32, and without the type checks of tests, which refuse a user's classes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def toys_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("code") / "api_toys.py"
    path.write_text(TOYS)
    return path


@pytest.fixture
def toys(toys_file):
    """The user's file as an imported module."""
    yield import_file(toys_file)
    sys.modules.pop("api_toys", None)


@pytest.fixture
def rows():
    return torch.randn(100, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def plain_net():
    """A module of torch.nn classes alone, always with the same parameters."""
    nn = torch.nn
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))


@pytest.fixture
def train():
    """`bw.train` with few updates, quiet and on one thread."""

    def call(energy, data, method=None, **options):
        options = {"updates": 3, "threads": 1, "quiet": True, **options}
        return bw.train(energy, data, method or bw.methods.Contrastive(steps=2), **options)

    return call


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a command in this process, as a process that has not imported the user's file."""
    from typer.testing import CliRunner

    from boltzwalk.cli import app

    def call(*words, code=0):
        monkeypatch.chdir(tmp_path)
        imported = sys.modules.pop("api_toys", None)
        try:
            done = CliRunner().invoke(app, [str(word) for word in words])
        finally:
            sys.modules.pop("api_toys", None)
            if imported is not None:
                sys.modules["api_toys"] = imported
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, done.output
        return done.output

    return call
