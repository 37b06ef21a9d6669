"""Rows, variants and the command on small runs; nothing here is well trained."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from boltzwalk.bases import Generator, Vae, default_gamma
from boltzwalk.cli import app
from boltzwalk.completion import (
    CompletionPlan,
    complete_rows,
    encoder_completion,
    free_part,
    held_out_examples,
    infer_latents,
    judge,
    make_inputs,
    one_shot,
    read_partial,
    visible_posterior,
)
from boltzwalk.data import Digits, Table
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energy import energy_and_grad
from boltzwalk.kernels import MALA, ULA, Descent
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.cooperative import Cooperative
from boltzwalk.methods.starts import NoiseStart, ReplayStart
from boltzwalk.methods.variational import Variational
from boltzwalk.networks import DenseEncoder, DenseGenerator, Multilayer
from boltzwalk.settings.settings import Settings, resolve_auto
from boltzwalk.training.run import start

NETWORK = NetworkEnergy(Multilayer((16,)))
METHODS = {
    "short_run": Contrastive(NoiseStart(), ULA(0.5), steps=3),
    "generator": Cooperative(Generator(DenseGenerator((8,)), latent=3), ULA(0.01), steps=3),
    "vae": Variational(Vae(DenseEncoder((8,)), DenseGenerator((8,)), latent=3), Descent(0.1)),
}
WAYS = ("conditional", "encode", "kernel", "latent")


def ready(data, method):
    settings = Settings(data, NETWORK, method, batch=16, threads=1, device="cpu")
    run = start(resolve_auto(settings))
    return run.judged_on(run.dataset)


@pytest.fixture(autouse=True)
def float64():
    """Not here: things run as a user runs them."""


@pytest.fixture(scope="module")
def digits():
    return {name: ready(Digits(), method) for name, method in METHODS.items()}


@pytest.fixture
def table(tmp_path):
    """A table of correlated columns, whitened as the recipe for tables has it."""
    values = np.random.default_rng(0).normal(size=(300, 3)) * [1, 20, 0.1] + [3, -50, 7]
    values[:, 1] += 15 * values[:, 0]
    np.savetxt(tmp_path / "t.csv", values, "%.8f", ",", header="a,b,c", comments="")
    return ready(Table(str(tmp_path / "t.csv"), whitening="pca"), METHODS["short_run"])


def rows(model, mask="lower", n=5):
    return make_inputs(model.data, held_out_examples(model.data, n)[0], mask, None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", WAYS)
def test_every_variant_leaves_visible_pixels_as_they_are_or_says_what_it_lacks(
    digits, method, variant, rng
):
    model, plan = digits[method], CompletionPlan(variant, n=2, latent_steps=2)
    inputs = rows(model)
    if (method, variant) in [
        ("short_run", "encode"),
        ("short_run", "latent"),
        ("generator", "encode"),
    ]:
        with pytest.raises(ValueError, match=f"the variant {variant} must have.*conditional"):
            complete_rows(model, inputs, plan, rng)
        return
    found = complete_rows(model, inputs, plan, rng)
    assert found.x.shape == (5, 2, 1, 8, 8)
    seen = ~inputs.hidden[:, None].expand_as(found.x)
    given = inputs.x[:, None].expand_as(found.x)
    assert torch.equal(found.x[seen], given[seen])
    assert (found.x[~seen] != given[~seen]).float().mean() > 0.9
    whole = inputs.original[:, None].expand_as(found.original)
    assert torch.equal(found.original[seen], whole[seen])
    torch.testing.assert_close(found.original[~seen], (found.x[~seen].double() + 1) * 8)
    torch.testing.assert_close(found.energy[:, 1], model.module(found.x[:, 1]))


def test_starts_and_steps(digits, rng):
    model = digits["short_run"]
    inputs = rows(model)
    still = ready(Digits(), Contrastive(NoiseStart(), ULA(1e-12), steps=1))
    mean = complete_rows(still, inputs, CompletionPlan(n=1, start="mean"), rng).x[:, 0]
    torch.testing.assert_close(mean, inputs.x, atol=1e-4, rtol=0)
    noise = complete_rows(still, inputs, CompletionPlan(n=1), rng).x[:, 0][inputs.hidden]
    assert noise.min() < -0.9
    assert noise.max() > 0.9
    with pytest.raises(ValueError, match="start base must have a model with a generator"):
        complete_rows(model, inputs, CompletionPlan(start="base"), rng)
    from boltzwalk.completion.variants import steps_of

    assert steps_of(model, CompletionPlan()) == 3
    assert steps_of(model, CompletionPlan(steps=7)) == 7
    long = ready(Digits(), Contrastive(ReplayStart(100), MALA(0.1), steps=2))
    assert steps_of(long, CompletionPlan()) == 1000


class Steep(torch.nn.Module):
    def forward(self, x):
        return (x**4).flatten(1).sum(1)


def test_a_chain_that_overflows_is_refused(digits, rng):
    steep = replace(digits["short_run"], module=Steep())
    with pytest.raises(ValueError, match="completions must be finite, 100% are not"):
        complete_rows(steep, rows(steep), CompletionPlan(steps=50), rng)


def test_a_plan_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="variant must be one of conditional, encode"):
        CompletionPlan("inpaint")
    with pytest.raises(ValueError, match="start must be auto, noise"):
        CompletionPlan(start="zero")
    with pytest.raises(ValueError, match="n must be >= 1"):
        CompletionPlan(n=0)


def test_the_latent_likelihood_is_a_sum_over_visible_pixels_of_each_row_alone(digits, rng):
    model = digits["vae"]
    base, inputs = model.method.base, rows(model)
    z = base.latents(5, rng)
    free = free_part(inputs.x, inputs.hidden)
    u, grad = energy_and_grad(visible_posterior(base, inputs.x, free, 0.5), z)
    misfit = (inputs.x - base.decode(z))[:, :, :4].square().flatten(1).sum(1)
    torch.testing.assert_close(u, (z.square().sum(1) / 2 + misfit / 0.5).detach())
    one = free_part(inputs.x[:1], inputs.hidden[:1])
    alone = energy_and_grad(visible_posterior(base, inputs.x[:1], one, 0.5), z[:1])[1]
    torch.testing.assert_close(grad[:1], alone)  # five chains are no weaker than one


def test_the_deviation_of_a_pixel_is_that_of_the_training(digits):
    data = digits["vae"].data.train
    assert digits["vae"].method.decoder_std == pytest.approx((default_gamma(data) / 2) ** 0.5)
    assert digits["generator"].method.decoder_std == 0.3
    other = ready(Digits(), replace(METHODS["generator"], sigma=0.7))
    assert other.method.decoder_std == 0.7


def test_codes_are_found_from_the_visible_half(digits, rng):
    model = digits["vae"]
    base = model.method.base
    with torch.no_grad():
        x = 3 * base.decode(2 * base.latents(50, rng))
    hidden = torch.zeros_like(x, dtype=torch.bool)
    hidden[:, :, 4:] = True
    free = free_part(x, hidden)
    energy = visible_posterior(base, x, free, 0.1)
    z = infer_latents(base, x, free, 0.1, 200, rng)
    assert energy(z).mean() < 0.5 * energy(base.latents(50, rng)).mean()


def test_what_the_vae_says_itself(digits, rng):
    model = digits["vae"]
    base, inputs = model.method.base, rows(model)
    own = encoder_completion(model, inputs)
    masked = torch.where(inputs.hidden, 0.0, inputs.x)
    with torch.no_grad():
        decoded = base.decode(base.encode(masked)[0])
    torch.testing.assert_close(own, torch.where(inputs.hidden, decoded, inputs.x))
    torch.testing.assert_close(own, one_shot(base, masked, free_part(inputs.x, inputs.hidden)))
    assert encoder_completion(digits["generator"], inputs) is None


def test_the_judgement_beside_mean_filling(digits, rng):
    model = digits["vae"]
    inputs = rows(model)
    exact = inputs.truth[:, None].repeat(1, 3, 1, 1, 1)
    exact[:, 1:][inputs.hidden[:, None].expand(-1, 2, -1, -1, -1)] += 0.3
    found = complete_rows(model, inputs, CompletionPlan(n=3), rng)._replace(x=exact)
    judged = {one.name: one for one in judge(model, inputs, found)}
    names = ["a completion", "mean of 3", "best of 3", "training mean", "the VAE in one shot"]
    assert list(judged) == names
    torch.testing.assert_close(judged["best of 3"].error, torch.zeros(5))
    assert judged["best of 3"].ssim == pytest.approx(1)
    torch.testing.assert_close(judged["a completion"].error, torch.full((5,), 0.06))
    torch.testing.assert_close(judged["mean of 3"].error, torch.full((5,), 0.04))
    mean = model.data.train.mean(0)[:, 4:]
    expected = (inputs.truth[:, :, 4:] - mean).square().flatten(1).mean(1)
    torch.testing.assert_close(judged["training mean"].error, expected)


def test_whitened_rows_keep_their_visible_values_and_hidden_ones_differ(table, rng):
    y = held_out_examples(table.data, 6)[0]
    hidden = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 1, 1]] * 2).bool()
    y[hidden] = torch.nan
    inputs = make_inputs(table.data, y, None, None)
    assert inputs.truth is None
    found = complete_rows(table, inputs, CompletionPlan(n=4), rng)
    assert torch.equal(found.original[:, 0][~hidden], y[~hidden])
    back = table.data.to_original(found.x.flatten(0, 1)).double().unflatten(0, (6, 4))
    seen = ~hidden[:, None].expand(6, 4, 3)
    torch.testing.assert_close(back[seen], found.original[seen], rtol=1e-4, atol=1e-3)
    assert found.original.std(1)[hidden].min() > 1e-4


def test_rows_that_cannot_be_completed_are_refused(digits, table, tmp_path):
    data = digits["vae"].data
    cases = {
        "size": (np.zeros((2, 9, 9), np.uint8), r"rows of shape \(1, 8, 8\).*got \(1, 9, 9\)"),
        "range": (np.full((2, 8, 8), 99.0), "values from 0 to 16.*got 99"),
        "inf": (np.full((2, 8, 8), np.inf), "must hold finite numbers"),
    }
    for name, (array, words) in cases.items():
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(ValueError, match=words):
            read_partial(tmp_path / f"{name}.npy", data)
    (tmp_path / "bad.png").write_text("nothing")
    with pytest.raises(ValueError, match=r"complete image file, got 1 that .*: bad\.png"):
        read_partial(tmp_path / "bad.png", data)
    with pytest.raises(FileNotFoundError, match="there must be a file"):
        read_partial(tmp_path / "none.npy", data)
    (tmp_path / "bad.csv").write_text("a,b,c\n1,x,2\n")
    with pytest.raises(ValueError, match=r"is line 2 \(no number 'x' in b\)"):
        read_partial(tmp_path / "bad.csv", table.data)
    whole = torch.zeros(2, 3).double()
    with pytest.raises(ValueError, match="hides nothing; write --mask lower"):
        make_inputs(table.data, whole, None, None)
    gone = torch.tensor([[0.0, torch.nan, 0], [torch.nan] * 3])
    with pytest.raises(ValueError, match="row 1 with everything hidden"):
        make_inputs(table.data, gone, None, None)
    with pytest.raises(ValueError, match="the truth must be 2 full rows"):
        make_inputs(table.data, whole, "a", whole[:1])


def test_pictures_of_every_kind_are_read(digits, tmp_path):
    data = digits["vae"].data
    grey = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    (tmp_path / "folder").mkdir()
    for i, picture in enumerate(grey):
        Image.fromarray(picture).save(tmp_path / "folder" / f"{i}.png")
    np.save(tmp_path / "g.npy", grey)
    expected = torch.from_numpy(grey[:, None] * (16 / 255))
    for name in ("folder", "g.npy"):
        torch.testing.assert_close(read_partial(tmp_path / name, data), expected, atol=1e-5, rtol=0)
    single = read_partial(tmp_path / "folder/1.png", data)
    torch.testing.assert_close(single, expected[1:2], atol=1e-5, rtol=0)
    holes = expected.numpy().copy()
    holes[1, 0, 2, 3] = np.nan
    np.save(tmp_path / "holes.npy", holes)
    inputs = make_inputs(data, read_partial(tmp_path / "holes.npy", data), None, None)
    assert inputs.hidden.nonzero().tolist() == [[1, 0, 2, 3]]
    torch.testing.assert_close(inputs.x[1, 0, 2, 3], data.train.mean(0)[0, 2, 3])


SMALL = ["updates=5", "energy.network.widths=[16]", "method.steps=3", "log_every=5", "threads=1"]


def command(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_on_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("train", "digits", *SMALL, "--quiet")
    said = command("complete", "runs/digits", "--mask", "lower", "--n", "2")
    for words in (
        "the first 16 held-out rows, 50% of the entries hidden, 2 completions each",
        "training mean",
        "masked error",
        "PSNR",
        "diversity",
        "completed  runs/digits/completions/held_out_conditional_seed0.npz",
    ):
        assert words in said, said
    with np.load("runs/digits/completions/held_out_conditional_seed0.npz") as file:
        assert file["completed"].shape == (16, 2, 1, 8, 8)
        first = file["completed"]
    with Image.open("runs/digits/completions/held_out_conditional_seed0_picture.png") as image:
        assert image.size == (4 * (16 * 9 - 1), 4 * (4 * 9 - 1))  # masked, two completed, truth
    again = command("complete", "runs/digits", "--mask", "lower", "--n", "2", "--out", "x.npz")
    assert "x_picture.png" in again
    with np.load("x.npz") as file:
        np.testing.assert_array_equal(file["completed"], first)
    said = command("complete", "runs/digits", "--mask", "lower", "--variant", "latent", code=2)
    assert "write --variant conditional" in said
    assert "hides nothing" in command("complete", "runs/digits", code=2)
    said = command("complete", "runs/digits", "--mask", "left", "--out", "x.csv", code=2)
    assert "a .csv file holds tables" in said


def test_the_command_on_a_table_round_trip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(200, 3)) * [1, 10, 100] + [0, 50, -200]
    np.savetxt("my.csv", values, "%.5f", ",", header="height,weight,depth", comments="")
    command("train", "my.csv", *SMALL, "batch=32", "--quiet")
    with open("holes.csv", "w") as file:
        file.write("depth,name,height,weight\n-200.1234567890123,x,,50\n,y,0.25,nan\n-1,z,2,3\n")
    said = command("complete", "runs/my", "holes.csv", "--n", "1", "--steps", "3", "--out", "o.csv")
    assert "o_picture.png" in said
    assert "masked error" not in said
    with open("o.csv") as file:
        found = list(csv.DictReader(file))
    # Columns stay where they are, and all that was given stays as it was written.
    assert [*found[0]] == ["depth", "name", "height", "weight"]
    assert found[0]["depth"] == "-200.1234567890123"
    assert (found[0]["weight"], found[1]["height"]) == ("50", "0.25")
    assert [*found[2].values()] == ["-1", "z", "2", "3"]
    assert [row.pop("name") for row in found] == ["x", "y", "z"]
    assert all(np.isfinite(float(v)) for row in found for v in row.values())
    # What was written is read, is whole, and is its own truth.
    said = command(
        "complete", "runs/my", "o.csv", "--mask", "weight", "--steps", "3", "--out", "p.csv"
    )
    assert "training mean" in said
    with open("p.csv") as file:
        more = list(csv.DictReader(file))
    assert [*more[0]] == ["row", "completion", "depth", "name", "height", "weight"]
    assert len(more) == 12
    assert more[5]["row"] == "1"
    assert more[5]["height"] == found[1]["height"]
    said = command(
        "complete", "runs/my", "holes.csv", "--truth", "o.csv", "--n", "2", "--steps", "3"
    )
    assert "masked error" in said
    assert "completed  runs/my/completions/holes_conditional_seed0.csv" in said
