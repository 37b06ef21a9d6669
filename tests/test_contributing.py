"""The table of CONTRIBUTING: one file and one line add a part, shown in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each kind of part starts a process

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
ROW = r"^\| ([a-z ]+) \| `((?!studies)\w+/\w+\.py)` \| `(.+?)` \| (.+?) \|$"
ROWS = re.findall(ROW, PAGE, re.MULTILINE)

FILES = {
    "kernel": """
from dataclasses import dataclass

import torch

from ..kernel import accept
from ..walkers import walkers_at


@dataclass(frozen=True)
class RandomWalk:
    scale: float = 0.3
    temperature: float = 1.0
    gradients, drift, invariant, weighable = 1, float("nan"), True, True

    def step(self, energy, walkers, rng):
        noise = torch.randn(walkers.x.shape, generator=rng)
        new = walkers_at(energy, walkers.x + self.scale * noise, walkers.log_w)
        return accept(walkers, new, (walkers.energy - new.energy) / self.temperature, rng)
""",
    "method": """
from dataclasses import dataclass, field

import torch

from ..kernels import MALA, TrainingKernel


@dataclass(frozen=True)
class ScoreMatching:
    sigma: float = 0.3
    kernel: TrainingKernel = field(default_factory=lambda: MALA(0.05))
    steps: int = 5

    def step(self, energy, data, state, rng):
        noise = torch.randn(data.x.shape, generator=rng)
        x = (data.x + self.sigma * noise).requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        return (self.sigma * gradient - noise).square().sum(1).mean(), None, {}
""",
    "condition": """
from dataclasses import dataclass

from ..condition import NoCondition


@dataclass(frozen=True)
class HalfPlane:
    offset: float = 0.0
    unconditional, completes, classes = True, False, 0

    def __getattr__(self, name):
        return getattr(NoCondition(), name)

    def of(self, data, rng):
        return None
""",
    "energy": """
from dataclasses import dataclass

from torch import nn


class _Square(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(scale * nn.Linear(1, 1).weight.detach().abs())

    def forward(self, x):
        return (x.square() * self.scale).sum(-1)


@dataclass(frozen=True)
class Quadratic:
    scale: float = 1.0

    def build(self, event_shape, seed, data=None):
        return _Square(self.scale)
""",
    "base": """
from dataclasses import dataclass

import torch
from torch import nn


class _Decoder(nn.Module):
    def __init__(self, latent, size):
        super().__init__()
        self.latent, self.event_shape = latent, (size,)
        self.layer = nn.Linear(latent, size)

    def latents(self, n, rng):
        return torch.randn(n, self.latent, generator=rng)

    def decode(self, z):
        return self.layer(z)

    forward = decode


@dataclass(frozen=True)
class Linear:
    latent: int = 2

    def build(self, event_shape, seed, data=None):
        return _Decoder(self.latent, event_shape[0])
""",
    "data source": """
from dataclasses import dataclass

import torch

from .dataset import Dataset


@dataclass(frozen=True)
class Spiral:
    turns: float = 1.5

    def load(self):
        t = torch.linspace(0.5, 2 * torch.pi * self.turns, 400)
        return Dataset.of(torch.stack([t * t.cos(), t * t.sin()], 1) / 5)
""",
    "recipe": '''
from dataclasses import replace

from .starters import toy


def spirals():
    """The plane with few updates.

    Reached: not run.
    """
    return replace(toy(), updates=3)


RECIPES = (spirals,)
''',
    "metric": """
def mean_shift(x, y):
    return float((x.mean(0) - y.mean(0)).norm())
""",
    "command": '''
from .errors import app


@app.command()
def hello() -> None:
    """Greet."""
    print("hello")
''',
}

SCRIPT = """
import json, sys
from typer.testing import CliRunner
import boltzwalk as bw
from boltzwalk.cli import app

def call(line):
    done = CliRunner().invoke(app, line.split(), catch_exceptions=True)
    return done.exit_code, done.output + repr(done.exception or "")

few = "updates=3 batch=16 --quiet --name"
lines = {
    "kernel": f"train toy kernel=RandomWalk kernel.scale=0.5 size=64 {few} kernel",
    "method": f"train toy method=ScoreMatching method.sigma=0.2 {few} method",
    "condition": "train toy method=Cooperative condition=HalfPlane offset=0.5 --dry-run",
    "energy": f"train toy energy=Quadratic energy.scale=0.7 size=64 {few} energy",
    "base": f"train toy method=Generalized base=Linear base.latent=3 {few} base",
    "data source": f"train toy data=Spiral turns=1.2 size=64 {few} data",
    "recipe": f"train spirals size=64 {few} recipe",
    "metric": "evaluate runs/kernel --sections quality -n 100 --quiet",
    "command": "hello",
}
print(json.dumps({part: call(line) for part, line in lines.items()}))
"""

EXPECTED = {
    "kernel": "runs/kernel",
    "method": "runs/method",
    "condition": "HalfPlane",
    "energy": "runs/energy",
    "base": "runs/base",
    "data source": "runs/data",
    "recipe": "runs/recipe",
    "metric": "mean shift",
    "command": "hello",
}


def add_line(file, name, line):
    """Adds a line before the end of a block, or of the imports."""
    text = file.read_text()
    start = text.index(f"\n{name}") if name else 0
    if name:
        end = re.compile(r"^[)}]", re.MULTILINE).search(text, start).start()
    else:
        end = text.index("\n__all__") + 1
    file.write_text(f"{text[:end]}{'    ' if name else ''}{line}\n{text[end:]}")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The exit code and output of a command for each kind of part."""
    folder = tmp_path_factory.mktemp("copy")
    package = folder / "boltzwalk"
    shutil.copytree(ROOT / "src" / "boltzwalk", package, ignore=shutil.ignore_patterns("__pyc*"))
    for part, path, line, where in ROWS:
        (package / path).write_text(FILES[part])
        *names, target = re.findall(r"`(.+?)`", where)
        add_line(package / target, names[0] if names else "", line)
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_kind_of_part_is_in_the_table():
    assert {part for part, *_ in ROWS} == set(FILES) == set(EXPECTED)


@pytest.mark.parametrize("part", FILES)
def test_one_line_adds(part, results):
    code, output = results[part]
    assert code == 0, output
    assert EXPECTED[part] in output
