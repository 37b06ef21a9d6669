"""Energies and shorthands of the tests of weighted walkers."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from boltzwalk.kernels import HMC, MALA, ULA
from boltzwalk.method import Batch
from boltzwalk.methods.jarzynski import Jarzynski, RelaxedStart, Weighted
from boltzwalk.methods.starts import NoiseStart

KERNELS = [ULA(0.1), MALA(0.3), HMC(0.2, 3)]
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
RARELY = 1e-6  # a threshold that nothing falls below


class Normal(nn.Module):
    """U = sum of a x^2 / 2 - b x: an exponential family of known samples and log Z."""

    def __init__(self, dim=2, a=1.0, b=0.0):
        super().__init__()
        self.a = nn.Parameter(torch.full((dim,), a))
        self.b = nn.Parameter(torch.full((dim,), b))

    def forward(self, x):
        return (self.a * x.square() / 2 - self.b * x).sum(-1)

    @property
    def log_z(self):
        terms = (2 * math.pi / self.a).log() / 2 + self.b.square() / (2 * self.a)
        return terms.sum().item()

    @torch.no_grad()
    def sample(self, n, rng):
        x = torch.randn(n, len(self.a), generator=rng)
        return self.b / self.a + x / self.a.sqrt()

    def set(self, a, b):
        nn.init.constant_(self.a, a)
        nn.init.constant_(self.b, b)


class Still(nn.Module):
    """A learnt mean, at the mean of the data: U = |x - m|^2 / 2."""

    def __init__(self, dim):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return (x - self.mean).square().sum(1) / 2

    @property
    def log_z(self):
        return len(self.mean) / 2 * math.log(2 * math.pi)

    def sample(self, n, rng):
        return self.mean.detach() + torch.randn(n, len(self.mean), generator=rng)


class Net(nn.Module):
    """No exponential family: a small network with a confining term."""

    def __init__(self, seed=0):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.a = nn.Parameter(torch.randn(3, 5, generator=rng))
        self.b = nn.Parameter(torch.randn(5, generator=rng))

    def forward(self, x):
        return torch.tanh(x @ self.a) @ self.b + x.square().sum(1) / 2


def start(method, energy, data, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return method.init(energy, Batch(data), rng), rng


def weighted(walkers, log_w):
    return Weighted(replace(walkers, log_w=log_w), torch.tensor(0))


def relaxed(size, **settings):
    return Jarzynski(RelaxedStart(size, NoiseStart("gaussian"), steps=5), **settings)


class Mark(torch.autograd.Function):
    """The identity, which counts what goes back through it."""

    @staticmethod
    def forward(ctx, tensor, counts, name, rows):
        ctx.counts, ctx.name, ctx.rows = counts, name, rows
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx, grad):
        ctx.counts[ctx.name] += ctx.rows
        return grad, None, None, None


class Counted(Normal):
    """Counts rows forward, rows of gradients to the input, rows of gradients to parameters."""

    def __init__(self):
        super().__init__()
        self.counts = {"forward": 0, "input": 0, "parameter": 0}
        self.largest = 0

    def forward(self, x):
        n = len(x)
        self.counts["forward"] += n
        self.largest = max(self.largest, n)
        x = Mark.apply(x, self.counts, "input", n)
        a = Mark.apply(self.a, self.counts, "parameter", n)
        return (a * x.square() / 2 - self.b * x).sum(-1)


def step_and_grad(method, energy, data, state, seed=1):
    energy.zero_grad()
    loss, state, info = method.step(energy, Batch(data), state, torch.Generator().manual_seed(seed))
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in energy.parameters()]), state, info
