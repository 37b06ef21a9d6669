"""Runs that are given something: resumed exactly, asked for a class, and what they refuse."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from boltzwalk.bases import Vae
from boltzwalk.cli import app
from boltzwalk.completion import (
    CompletionPlan,
    complete_rows,
    held_out_examples,
    judge,
    make_inputs,
)
from boltzwalk.data import Digits, Modes, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energy import require_rowwise_energy
from boltzwalk.evaluation.evaluate import SECTIONS, EvaluationPlan, evaluate_sections
from boltzwalk.evaluation.samples import draw_samples
from boltzwalk.kernels import MALA, ULA
from boltzwalk.method import learned_module
from boltzwalk.methods.condition import ClassConditional, NoCondition, ObservedPixels
from boltzwalk.methods.variational import Variational
from boltzwalk.networks import ConvolutionalEncoder, DenseEncoder, DenseGenerator, Multilayer
from boltzwalk.networks.convolutional import Convolution
from boltzwalk.rng import generator
from boltzwalk.settings.optimizers import Adam
from boltzwalk.settings.settings import Output, Settings, from_yaml, resolve_auto, to_yaml
from boltzwalk.training import folder as run_folder
from boltzwalk.training.execute import execute
from boltzwalk.training.loop import train_loop
from boltzwalk.training.run import open_run, start
from boltzwalk.training.signals import StopRequest

VAE = Vae(DenseEncoder((12,)), DenseGenerator((12,)), 3)
SUMMARY = ConvolutionalEncoder((Convolution(4),))
GIVEN = {
    "classes": ClassConditional(),
    "lower": ObservedPixels("lower", SUMMARY, 5),
    "boxes": ObservedPixels("boxes", SUMMARY, 5),
}
SMALL = resolve_auto(
    Settings(
        data=Digits(),
        energy=NetworkEnergy(Multilayer((16,))),
        method=Variational(VAE, ULA(0.01), 3, data_noise=0.03, condition=ClassConditional()),
        optimizer=Adam(1e-3),
        updates=12,
        batch=32,
        average=0.9,
        threads=1,
        output=Output(log_every=2, save_every=5, picture_every=0),
    )
)
EACH = pytest.mark.parametrize("name", GIVEN)


def small(name):
    return replace(SMALL, method=replace(SMALL.method, condition=GIVEN[name]))


def finish(settings, folder):
    return [done.update for done in execute(settings, folder)]


@EACH
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, name):
    settings = small(name)
    assert from_yaml(to_yaml(settings)) == settings
    assert finish(settings, tmp_path / "whole")[-1] == 12
    stop = StopRequest()
    for done in execute(settings, tmp_path / "parts", stop):
        if done.update == 7:
            stop.asked = True
    assert finish(settings, tmp_path / "parts")[0] == 9
    ours, theirs = (
        run_folder.checkpoints(tmp_path / f)[0].read_bytes() for f in ("whole", "parts")
    )
    assert ours == theirs
    logs = [(tmp_path / f / "log.jsonl").read_bytes() for f in ("whole", "parts")]
    assert logs[0] == logs[1]


@EACH
def test_another_condition_is_another_run(tmp_path, name):
    finish(replace(small(name), updates=1), tmp_path)
    for other in (*GIVEN.values(), NoCondition(), ObservedPixels("upper", SUMMARY, 5)):
        if other == GIVEN[name]:
            continue
        changed = replace(small(name), method=replace(SMALL.method, condition=other))
        with pytest.raises(ValueError, match="other settings"):
            finish(changed, tmp_path)


def test_data_without_classes_are_refused():
    for data in (Toy("eight_gaussians", n=500), Digits()):
        settings = replace(SMALL, data=data)
        if isinstance(data, Toy):
            with pytest.raises(ValueError, match=r"the data must have classes.*without labels"):
                start(settings)
        else:
            assert start(settings).method.settings.condition == ClassConditional(10)
    with pytest.raises(ValueError, match="the visible part is that of images"):
        start(replace(small("lower"), data=Modes()))


def test_labels_keep_their_meaning_where_some_classes_were_chosen():
    run = start(replace(SMALL, data=Digits(classes=(2, 3, 6))))
    assert run.method.settings.condition == ClassConditional(7)
    drawn = draw_samples(run.model(), 200, generator(0, "test"))
    assert sorted(drawn.labels.unique().tolist()) == [2, 3, 6]
    assert "of classes in the proportions of the data" in drawn.protocol


@EACH
def test_proposals_are_those_that_are_revised(name):
    run = start(small(name))
    # A descent of no length leaves proposals where they are, up to rounding.
    still = replace(run.method.settings, kernel=ULA(1e-14))
    learned_module(run.method).settings = still
    x = run.model().draw(20, generator(0, "a")).x
    torch.testing.assert_close(x, run.model().propose(20, generator(0, "a")), atol=1e-5, rtol=0)


@EACH
def test_energies_are_those_of_the_condition(name):
    run = start(small(name))
    condition = run.method.settings.condition
    c = condition.sample(condition.rows(run.dataset), 6, generator(0, "c"))
    walkers = run.model().draw(6, generator(0, "a"), c=c)
    torch.testing.assert_close(run.model().module(walkers.x, c), walkers.energy)
    if name != "classes":
        seen = (c[:, -1:] == 0).expand_as(walkers.x)
        assert torch.equal(walkers.x[seen], c[:, :-1][seen])


def inputs_of(run, mask, n=5):
    return make_inputs(run.dataset, held_out_examples(run.dataset, n)[0], mask, None)


@pytest.mark.parametrize(
    ("name", "mask"), [("lower", "lower"), ("boxes", "center"), ("boxes", "1,2,3,4")]
)
def test_completion_is_that_of_the_conditional_energy(name, mask, rng):
    run = start(small(name))
    inputs = inputs_of(run, mask)
    found = complete_rows(run.model(), inputs, CompletionPlan(n=3), rng)
    assert found.x.shape == found.proposed.shape == (5, 3, 1, 8, 8)
    seen = ~inputs.hidden[:, None].expand_as(found.x)
    for x in (found.x, found.proposed):
        assert torch.equal(x[seen], inputs.truth[:, None].expand_as(x)[seen])
    assert (found.x - found.proposed)[~seen].abs().min() > 0
    c = torch.cat([torch.where(inputs.hidden, 0.0, inputs.x), inputs.hidden.float()], 1)
    energy = run.model().module(found.x[:, 0], c)
    torch.testing.assert_close(found.energy[:, 0], energy)
    base = run.method.base.conditioned_on(c.repeat_interleave(3, 0))
    first = base.decode(base.latents(15, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(found.proposed.flatten(0, 1), first)
    names = [one.name for one in judge(run.model(), inputs, found)]
    assert names == [
        "a completion",
        "mean of 3",
        "best of 3",
        "training mean",
        "a proposal",
        "mean of 3 proposals",
    ]


def test_what_it_was_not_trained_for_is_refused(rng):
    run = start(small("lower"))
    with pytest.raises(ValueError, match=r"trained to fill in the mask lower.*--mask lower"):
        complete_rows(run.model(), inputs_of(run, "upper"), CompletionPlan(), rng)
    with pytest.raises(ValueError, match="completes without a variant, got --variant encode"):
        complete_rows(run.model(), inputs_of(run, "lower"), CompletionPlan(variant="encode"), rng)
    boxes = start(small("boxes"))
    with pytest.raises(ValueError, match="one box an image, of a quarter to a half"):
        complete_rows(boxes.model(), inputs_of(boxes, "lower"), CompletionPlan(), rng)
    classes = start(small("classes"))
    with pytest.raises(ValueError, match=r"got one of p\(x \| class\)"):
        complete_rows(classes.model(), inputs_of(classes, "lower"), CompletionPlan(), rng)


@EACH
def test_what_says_something_is_judged_and_the_rest_is_refused(tmp_path, name):
    finish(replace(small(name), updates=2), tmp_path)
    run = open_run(tmp_path)
    found = dict(
        evaluate_sections(run.judged_on(run.dataset), tmp_path, EvaluationPlan(samples=300))
    )
    assert list(found) == list(SECTIONS)
    refused = {part for part in found if any(m.refusal for m in found[part].measures)}
    expected = set(SECTIONS) - {"training"}
    if name == "classes":
        expected -= {"quality", "base", "modes"}
        first = found["modes"].measures[0]
        assert first.name == "class as asked"
        assert 0 <= first.low <= first.value <= first.high <= 1
        assert "of held-out rows 0.97" in first.protocol
        why = found["likelihood"].measures[0].refusal
        assert "differ by unknown constants" in why
    else:
        assert "boltzwalk complete judges that" in found["quality"].measures[0].refusal
    assert refused == expected


def command(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


FEW = ["updates=5", "method.steps=3", "log_every=5", "threads=1", "--quiet"]


@pytest.mark.pictures
def test_a_class_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = command("train", "conditional_digits", *FEW)
    assert "boltzwalk sample" in said
    run = "runs/conditional_digits"
    with Image.open(f"{run}/samples.png") as image:
        assert image.size[0] == image.size[1]  # ten classes, ten of each
    command("sample", run, "--class", "3", "-n", "20", "--out", "three.npz")
    with np.load("three.npz") as file:
        assert file["label"].tolist() == [3] * 20
        assert file["x"].shape == (20, 1, 8, 8)
    command("sample", run, "-n", "25", "--out", "all.npz")
    with np.load("all.npz") as file:
        assert np.bincount(file["label"]).tolist() == [3, 2, 3, 2, 3, 2, 3, 2, 3, 2]
    assert "class must be one of 0, 1, 2" in command("sample", run, "--class", "ten", code=2)
    said = command("score", run, "three.npz", code=2)
    assert "a score must have a model of p(x), got the condition ClassConditional" in said
    command("report", run)
    command("train", "vae_teaching_digits", *FEW)
    said = command("sample", "runs/vae_teaching_digits", "--class", "3", code=2)
    assert "train it with condition=ClassConditional" in said


def test_hidden_parts_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = command(
        "train", "vae_teaching_digits", "condition=ObservedPixels", "condition.mask=lower", *FEW
    )
    assert "error, a proposal" in said
    assert "boltzwalk complete runs/vae_teaching_digits" in said
    run = "runs/vae_teaching_digits"
    said = command("complete", run, "--n", "2")
    assert "50% of the entries hidden, 2 completions each by conditional, 3 steps" in said
    assert "mean of 2 proposals" in said
    assert "trained to fill in the mask lower" in command("complete", run, "--mask", "left", code=2)
    assert "write boltzwalk complete RUN" in command("sample", run, code=2)
    holes = np.zeros((2, 8, 8))
    holes[:, 4:] = np.nan
    np.save("holes.npy", holes)
    command("complete", run, "holes.npy", "--out", "whole.npz")
    with np.load("whole.npz") as file:
        assert not file["completed"][:, :, :, :4].any()
        assert np.isfinite(file["completed"]).all()


class Spoilt(nn.Module):
    """U(x | c) of a class as a closed form, with one thing that makes it no function of (x, c)."""

    def __init__(self, fault):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.fault = fault
        self.norm = nn.BatchNorm1d(64, affine=False).train()

    def forward(self, x, c):
        x = x.flatten(1)
        u = self.scale * (x - 0.1 * c.argmax(1, keepdim=True)).square().sum(1)
        extra = {
            "none": lambda: 0.0,
            "dropout": lambda: functional.dropout(x, 0.01, training=True).sum(1),
            "noise": lambda: torch.randn(len(x)),
            "rows": lambda: (x - x.mean(0)).square().sum(1),
            "classes": lambda: (c - c.mean(0)).square().sum(1),
            "sorted": lambda: x.sum(1).sort().values,
            "batch norm": lambda: self.norm.train()(x).square().sum(1),
        }
        return u + extra[self.fault]()

    def conditioned_on(self, c):
        return lambda x: self(x, c)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("none", ""),
        ("dropout", "must be deterministic"),
        ("noise", "must be deterministic"),
        ("rows", "must not depend on the other rows"),
        ("classes", "must not depend on the other rows"),
        ("sorted", "must not depend on the other rows"),
        ("batch norm", "must not change it, got a change of its buffer"),
    ],
)
def test_a_conditional_energy_of_more_than_one_row_is_refused(fault, message):
    run = start(SMALL)
    energy = Spoilt(fault)
    optimizer = torch.optim.SGD(energy.parameters(), 1e-6)
    draw = partial(run.method.condition.batch, run.dataset, 32)
    updates = train_loop(energy, run.method, draw, optimizer, state=None, updates=1)
    if not fault.startswith("none"):
        with pytest.raises(ValueError, match=message):
            next(updates)
    else:
        assert next(updates).update == 1


@EACH
def test_conditional_energies_of_the_package_pass_the_probe(name):
    run = start(small(name))
    few = run.method.condition.batch(run.dataset, 16, generator(0, "rows"))
    c = run.method.condition.of(few, generator(0, "c"))
    require_rowwise_energy(run.energy, few.x, c)
    with pytest.raises(ValueError, match="depend on the other rows"):
        require_rowwise_energy(Centred(run.energy), few.x, c)


class Centred(nn.Module):
    def __init__(self, energy):
        super().__init__()
        self.energy = energy

    def conditioned_on(self, c):
        return lambda x: self.energy(x, c) + 10 * (x - x.mean(0)).square().flatten(1).sum(1)


@pytest.mark.parametrize("kernel", [ULA(0.01), MALA(0.01)])
def test_walkers_of_a_conditional_energy_that_cannot_move_are_noticed(kernel):
    class Norm(Spoilt):
        def forward(self, x, c):  # the gradient of |x| is nan at 0, its value is 0
            h = torch.where(c[:, :1] > 0, 0.0 * x.flatten(1), x.flatten(1))
            return self.scale * h.square().sum(1).sqrt()

    run = start(replace(SMALL, method=replace(SMALL.method, kernel=kernel)))
    energy = Norm("none")
    optimizer = torch.optim.SGD(energy.parameters(), 1e-6)
    draw = partial(run.method.condition.batch, run.dataset, 64)
    with pytest.raises(FloatingPointError, match="they could not move"):
        next(train_loop(energy, run.method, draw, optimizer, state=None, updates=1))
