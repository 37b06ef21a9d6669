"""A class of each kind in a user's file, in Python and by its name on the command line."""

import numpy as np
import pytest
import torch
import yaml

import boltzwalk as bw

FEW = ["updates=2", "threads=1", "log_every=1", "--quiet"]


def settings_of(folder):
    return yaml.safe_load((folder / "settings.yaml").read_text())


TOYS = {
    "kernel": (["toy", "kernel={}:RandomWalk", "kernel.scale=0.5", "method.steps=2"], "scale: 0.5"),
    "method": (["toy", "method={}:ScoreMatching", "method.sigma=0.2"], "sigma: 0.2"),
    "network class": (["toy", "energy={}:Net", "energy.width=5", "method.steps=2"], "width: 5"),
    "network factory": (["toy", "energy={}:net_for", "width=6", "method.steps=2"], "width: 6"),
    "data function": (["{}:ring", "data.radius=3", "method.steps=2", "batch=20"], "radius: 3.0"),
    "data class": (["{}:Ring", "data.n=200", "method.steps=2", "batch=20"], "n: 200"),
    "base": (
        ["toy", "method=Generalized", "base={}:Affine", "base.latent=3", "sample_steps=2"],
        "latent: 3",
    ),
}


ALIKE = ("network factory", "data function")
"""Kinds that another of the list stands for where time is short."""


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.slow] if k in ALIKE else []) for k in TOYS]
)
def test_each_kind_works_from_the_command_line(command, toys_file, tmp_path, kind):
    words, written = TOYS[kind]
    words = [word.format(toys_file) for word in words]
    command("train", *words, *FEW, "--name", "toy")
    folder = tmp_path / "runs" / "toy"
    assert f"{written}\n" in (folder / "settings.yaml").read_text()
    assert str(toys_file) in (folder / "code.yaml").read_text()
    text = command("sample", folder, "-n", 5, "--out", "x.npz", code=2)
    assert f"--import {toys_file}" in text.replace("\n", "")
    command("sample", folder, "-n", 5, "--out", "x.npz", "--import", toys_file)
    with np.load(tmp_path / "x.npz") as file:
        assert file["original"].shape == (5, 2)
    command("score", folder, "x.npz", "--import", toys_file, "--out", "scores.csv")
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 6


@pytest.mark.slow
def test_a_run_from_python_goes_on_from_the_command_line(
    command, train, rows, toys, toys_file, tmp_path
):
    train(toys.Net(), rows, toys.ScoreMatching(), out=tmp_path / "run")
    folder = tmp_path / "run"
    imported = ("--import", toys_file)
    command("resume", folder, "updates=4", "--quiet", *imported)
    command("sample", folder, "-n", 3, "--out", "x.csv", *imported)
    text = command(
        "evaluate", folder, "--parts", "training,quality", "-n", 50, "--quiet", *imported
    )
    assert "quality" in text
    command("report", folder, *imported)
    assert (folder / "report.html").is_file()
    assert bw.load(folder).update == 4


def test_all_kinds_together_in_python(train, toys, tmp_path):
    method = bw.methods.Contrastive(kernel=toys.RandomWalk(scale=0.4), steps=3)
    model = train(toys.Net(width=4), toys.Ring(), method, out=tmp_path / "run", batch=20)
    again = bw.load(tmp_path / "run")
    assert again.settings.method == method
    assert again.settings.data == toys.Ring()
    x = torch.tensor(toys.ring(10))
    assert torch.equal(again.energy(x), model.energy(x))
    assert torch.equal(again.sample(10), model.sample(10))


def test_a_base_in_python(train, rows, toys, tmp_path, command, toys_file):
    from boltzwalk.settings.tree import from_tree

    base = from_tree(
        bw.methods.Generalized, {"base": {"kind": "api_toys.py:Affine", "latent": 3}}
    ).base
    method = bw.methods.Generalized(base=base, sample_steps=2)
    model = train(bw.energies.NetworkEnergy(), rows, method, out=tmp_path / "run")
    assert model.propose(4, torch.Generator().manual_seed(0)).shape == (4, 2)
    assert torch.equal(bw.load(tmp_path / "run").sample(4), model.sample(4))


def test_a_base_without_a_member_is_named(command, toys_file):
    words = ["toy", "method=Generalized", f"base={toys_file}:NoDecoder", *FEW]
    text = command("train", *words, "--name", "toy", code=2).replace("\n", " ")
    assert "NoDecoder without decode" in text


def test_a_recipe_of_a_user_is_a_file_of_settings(command, toys_file, tmp_path):
    recipe = command("train", "toy", f"method={toys_file}:ScoreMatching", "--dry-run")
    (tmp_path / "mine.yaml").write_text(recipe)
    imported = ("--import", toys_file)
    command("train", "mine.yaml", "method.sigma=0.1", *FEW, "--name", "mine", *imported)
    tree = settings_of(tmp_path / "runs" / "mine")
    assert tree["method"]["sigma"] == 0.1
    assert tree["data"] == yaml.safe_load(recipe)["data"]
    assert "api_toys.py:ScoreMatching" in command("train", "mine.yaml", *FEW, code=2)


def test_a_metric_is_any_function_of_samples(train, rows, toys, plain_net):
    model = train(plain_net, rows)
    x = model.sample(50)
    assert toys.mean_radius(x, x) == 0
    radius = toys.mean_radius(x, torch.zeros(1, 2))
    assert toys.mean_radius(3 * x, x) == pytest.approx(2 * radius, rel=1e-5)


BAD = {
    "no such file": ("energy=missing.py:Net", "there is no file"),
    "no such name": ("energy={}:Missing", "has no Missing"),
    "a column": ("energy={}:Column", r"energy(x) must have shape (N,)"),
    "no step": ("method={}:NoStep", "must be a method with step(energy, data, state, rng)"),
    "plain": ("method={}:PlainMethod", "write @dataclass(frozen=True) above it"),
    "no kernel": (
        "kernel={}:KernelWithoutStep",
        "must be a kernel with step(energy, walkers, rng)",
    ),
    "setting": ("energy={}:Net energy.widht=3", "did you mean energy.width"),
    "value": ("energy={}:Net energy.width=many", "energy.width must be of type int, got 'many'"),
}


@pytest.mark.parametrize("case", BAD)
def test_classes_that_do_not_fit_are_refused_and_leave_no_folder(
    command, toys_file, tmp_path, case
):
    words, message = BAD[case]
    words = words.format(toys_file).split()
    text = command("train", "toy", *words, *FEW, "--name", "bad", code=2)
    assert message in " ".join(text.split())
    assert not (tmp_path / "runs" / "bad").exists()
