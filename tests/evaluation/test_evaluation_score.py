"""Rows of a user scored: the flag is rare where rows are ordinary, the log-density is one."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from boltzwalk.data import Digits, Modes, Table
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.evaluation.cache import load_or_compute
from boltzwalk.evaluation.evaluate import VERSION, EvaluationPlan, evaluate_sections
from boltzwalk.evaluation.likelihood import Likelihood, likelihood_section
from boltzwalk.evaluation.score import Scores, read_input, score_rows, trained_rows, write_scores
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.networks import Multilayer
from boltzwalk.settings.settings import Settings, resolve_auto
from boltzwalk.smc.log_z import LogZ
from boltzwalk.training.run import start


class Normal(nn.Module):
    def forward(self, x):
        return x.square().flatten(1).sum(1) / 2


def ready(data, method=None, energy=None, own=None):
    method = method or Contrastive(NoiseStart(), ULA(0.1), steps=2)
    own = own or NetworkEnergy(Multilayer((16,)))
    run = start(resolve_auto(Settings(data, own, method, batch=16, threads=1, device="cpu")))
    run = run if energy is None else replace(run, energy=energy)
    return run.judged_on(run.dataset)


@pytest.fixture
def normal():
    return ready(Modes(2, (0.0,), (1.0,), rows=500), energy=Normal())


@pytest.fixture
def mixture(tmp_path):
    """A run on a table in units of its own, with an energy that knows its log Z."""
    values = np.random.default_rng(0).normal(size=(200, 2)) * [1, 20] + [3, -50]
    values[:, 1] += 15 * values[:, 0]
    np.savetxt(tmp_path / "t.csv", values, "%.8f", ",", header="height,weight", comments="")
    data = Table(str(tmp_path / "t.csv"), whitening="pca")
    return ready(data, Jarzynski(ExactStart(50), ULA(0.1)), own=MixtureEnergy(modes=3, offset=1.0))


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("false_alarm", [0.05, 0.01, 0.3])
def test_of_ordinary_rows_no_more_are_flagged_than_was_said(normal, tmp_path, rng, false_alarm):
    rows, _ = normal.data.held_out()
    found = score_rows(normal, tmp_path, rows, false_alarm)
    assert found.anomaly.sum() == int(1001 * false_alarm) - 1  # one is the limit itself
    fresh = torch.randn(20_000, 2, generator=rng)
    found = score_rows(normal, tmp_path, fresh, false_alarm)
    error = math.sqrt(false_alarm * (1 - false_alarm) / len(rows))
    assert abs(found.anomaly.mean() - false_alarm) < 5 * error
    # U of a normal in the plane is exponential, and ranks are uniform.
    assert found.percentile.mean() == pytest.approx(0.5, abs=0.05)
    share = 1 - np.exp(-found.energy)
    assert np.abs(found.percentile - share).max() < 0.07  # Kolmogorov: 1.36 / sqrt(1000) at 5 %


def test_far_rows_are_flagged_and_the_percentile_is_the_share_below(normal, tmp_path):
    x = torch.tensor([[0.0, 0.0], [9.0, 9.0]])
    found = score_rows(normal, tmp_path, x, 0.05)
    assert found.energy.tolist() == [0, 81]
    assert found.percentile.tolist() == [0, 1]
    assert found.anomaly.tolist() == [False, True]
    assert "against 1,000 held-out rows" in found.protocol
    with pytest.raises(ValueError, match="needs 9999 held-out scores or more"):
        score_rows(normal, tmp_path, x, 1e-4)


def test_a_row_whose_energy_overflows_is_named(normal, tmp_path):
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1e30, 0.0]])
    with pytest.raises(FloatingPointError, match="1 rows is not finite, the first is row 2"):
        score_rows(normal, tmp_path, x, 0.05)


def test_without_a_likelihood_there_is_no_log_density(normal, tmp_path):
    found = score_rows(normal, tmp_path, torch.zeros(3, 2), 0.05)
    assert np.isnan(found.log_density).all()
    assert f"run `boltzwalk evaluate {tmp_path} --sections likelihood` first" in found.protocol
    assert [row["log_density"] for row in read(write_scores(found, ".csv").decode())] == [""] * 3


def grid(low, high, n):
    """The points of a grid in the plane, and the area of a cell."""
    axes = [np.linspace(a, b, n) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    return points, np.prod([axis[1] - axis[0] for axis in axes])


def test_the_log_density_is_one_in_the_units_of_the_data(mixture, tmp_path, rng):
    """It integrates to one over a grid in original units."""
    folder = tmp_path / "run"
    dict(evaluate_sections(mixture, folder, EvaluationPlan(sections=("likelihood",))))
    points, cell = grid((-4, -200), (10, 200), 200)
    np.save(tmp_path / "grid.npy", points)
    given = read_input(mixture, str(tmp_path / "grid.npy"), rng)
    found = score_rows(mixture, folder, given.x, 0.1)
    assert "no log-density" not in found.protocol
    assert np.exp(found.log_density).sum() * cell == pytest.approx(1, abs=1e-3)
    # Of another model it would be wrong.
    with torch.no_grad():
        mixture.module.zeta += 1
    found = score_rows(mixture, folder, torch.zeros(1, 2), 0.1)
    assert np.isnan(found.log_density).all()


def known_likelihood(model, folder, log_z):
    """Leaves a likelihood in the folder, as an evaluation of this run would."""
    found = Likelihood("test", 10, 2, 1.0, 0.1, log_z, 1.0, False)
    key = {"run": model.digest, "version": VERSION, "seed": 0}
    load_or_compute(
        folder / "evaluation" / "likelihood.json", key, lambda: likelihood_section(found)
    )


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_the_log_density_has_the_temperature(tmp_path, rng, temperature):
    """Of U = |x|^2 / 2 it is that of a normal of variance T."""
    method = Contrastive(NoiseStart(), ULA(0.1, temperature), steps=2)
    model = ready(Modes(2, (0.0,), (1.0,), rows=100), method, Normal())
    known_likelihood(model, tmp_path, LogZ(math.log(2 * math.pi * temperature), 0.0, ""))
    x = torch.randn(50, 2, generator=rng)
    expected = torch.distributions.Normal(0.0, math.sqrt(temperature)).log_prob(x.double()).sum(1)
    found = score_rows(model, tmp_path, x, 0.1)
    np.testing.assert_allclose(found.log_density, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_a_log_z_that_was_refused_gives_no_log_density(normal, tmp_path):
    known_likelihood(normal, tmp_path, LogZ(math.nan, math.nan, "it leaks"))
    found = score_rows(normal, tmp_path, torch.zeros(1, 2), 0.1)
    assert np.isnan(found.log_density).all()
    assert found.protocol.endswith("no log-density: it leaks")


def test_scores_go_through_a_file_and_back(normal, tmp_path, rng):
    known_likelihood(normal, tmp_path, LogZ(1.8, 0.1, ""))
    found = score_rows(normal, tmp_path, torch.randn(30, 2, generator=rng), 0.3)
    rows = read(write_scores(found, ".csv").decode())
    assert list(rows[0]) == ["row", "energy", "log_density", "percentile", "anomaly"]
    assert [int(row["row"]) for row in rows] == list(range(30))
    assert [row["anomaly"] for row in rows] == [str(int(flag)) for flag in found.anomaly]
    for name, digits in (("energy", 9), ("log_density", 9), ("percentile", 6)):
        values = np.array([float(row[name]) for row in rows])
        np.testing.assert_allclose(values, getattr(found, name), rtol=10 ** (1 - digits))
    with np.load(io.BytesIO(write_scores(found, ".npz"))) as file:
        assert set(file.files) == {"energy", "log_density", "percentile", "anomaly"}
        for name in file.files:
            np.testing.assert_array_equal(file[name], getattr(found, name))
    with pytest.raises(ValueError, match=r"\.csv or \.npz file, got '.json'"):
        write_scores(found, ".json")


def test_no_rows_give_no_scores(normal, tmp_path):
    found = score_rows(normal, tmp_path, torch.zeros(0, 2), 0.05)
    assert [len(part) for part in found[:-1]] == [0, 0, 0, 0]
    assert write_scores(found, ".csv").decode().count("\n") == 1


VALUES = np.array([[3.0, -50.0], [3.5, -20.25], [1.25, -70.0]])


def scored(model, source, rng):
    return score_rows(model, source, read_input(model, str(source), rng).x, 0.1)


@pytest.mark.parametrize("kind", ["csv", "no header", "other order", "extra", ".tsv", ".npy", "-"])
def test_rows_are_the_same_in_whichever_way_they_are_given(
    mixture, tmp_path, rng, monkeypatch, kind
):
    path = tmp_path / "rows.csv"
    lines = [",".join(f"{v:.6f}" for v in row) for row in VALUES]
    if kind == "no header":
        path.write_text("\n".join(lines))
    elif kind == "other order":
        lines = ["weight,height", *(f"{w},{h}" for h, w in VALUES)]
        path.write_text("\n".join(lines))
    elif kind == "extra":
        lines = ["name,weight,age,height", *(f"ann,{w},,{h}" for h, w in VALUES)]
        path.write_text("\n".join(lines))
    elif kind == ".tsv":
        path = tmp_path / "rows.tsv"
        path.write_text("\n".join(["height\tweight", *(f"{h}\t{w}" for h, w in VALUES)]))
    elif kind == ".npy":
        path = tmp_path / "rows.npy"
        np.save(path, VALUES)
    else:
        path.write_text("\n".join(["height,weight", *lines]))
    if kind == "-":
        monkeypatch.setattr("sys.stdin", io.StringIO(path.read_text()))
    x = read_input(mixture, "-" if kind == "-" else str(path), rng).x
    expected = mixture.data.from_original(torch.from_numpy(VALUES)).float()
    torch.testing.assert_close(x, expected)
    assert x.dtype == torch.float32


def test_rows_with_gaps_or_text_are_marked_and_the_others_scored(
    mixture, tmp_path, rng, monkeypatch
):
    values = np.vstack([VALUES, VALUES])
    values[4, 1] = np.nan
    np.save(tmp_path / "rows.npy", values)
    given = read_input(mixture, str(tmp_path / "rows.npy"), rng)
    assert given.table.notes == ["", "", "", "", "missing weight", ""]
    full = read_input(mixture, str(tmp_path / "rows.npy"), rng).x
    expected = mixture.data.from_original(torch.from_numpy(values[[0, 1, 2, 3, 5]])).float()
    torch.testing.assert_close(full, expected)
    for field, note in (
        ("nan", "missing weight"),
        ("", "missing weight"),
        ("?", "missing weight"),
        ("inf", "no number 'inf' in weight"),
        ("tall", "no number 'tall' in weight"),
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"height,weight\n1,2\n3,{field}\n5,6\n"))
        given = read_input(mixture, "-", rng)
        assert given.table.notes == ["", note, ""]
        found = score_rows(mixture, tmp_path, given.x, 0.1)
        rows = read(write_scores(found, ".csv", given.table).decode())
        assert [bool(row["energy"]) for row in rows] == [True, False, True]
        assert [row["note"] for row in rows] == ["", note, ""]
        with np.load(io.BytesIO(write_scores(found, ".npz", given.table))) as file:
            np.testing.assert_array_equal(file["energy"][[0, 2]], found.energy)
            assert np.isnan(file["energy"][1])
            assert file["note"].tolist() == ["", note, ""]
    monkeypatch.setattr("sys.stdin", io.StringIO("height,weight\n1,\n,2\n"))
    with pytest.raises(ValueError, match=r"got 2 with gaps or text.*line 2 .missing weight"):
        read_input(mixture, "-", rng)


def test_other_columns_are_passed_on_as_they_are(mixture, tmp_path, rng):
    path = tmp_path / "rows.csv"
    path.write_text('id;note;weight;height\n007;"a;b";-50;3\n1e3;;;3.5\n;ü;-70,;1.25\n')
    given = read_input(mixture, str(path), rng)
    found = score_rows(mixture, tmp_path, given.x, 0.1)
    rows = read(write_scores(found, ".csv", given.table).decode())
    assert [row["id"] for row in rows] == ["007", "1e3", ""]
    assert [row["note (input)"] for row in rows] == ["a;b", "", "ü"]
    assert [row["note"] for row in rows] == ["", "missing weight", "no number '-70,' in weight"]
    assert list(rows[0])[:3] == ["row", "id", "note (input)"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("height,size\n1,2\n", "lacks weight; it has height, size"),
        ("1,2,3\n", "must have 2 columns, those of the data, got 3.*height, weight"),
        ("height,weight\n", "at least one row"),
        ("", "at least one row"),
        ("height,weight\n1,2\n1\n", "2 fields as the first has, got 1 in line 3"),
    ],
)
def test_other_tables_are_refused(mixture, rng, monkeypatch, text, problem):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(ValueError, match=problem):
        read_input(mixture, "-", rng)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 2, 1)])
def test_arrays_of_another_shape_are_refused(mixture, tmp_path, rng, shape):
    np.save(tmp_path / "rows.npy", np.zeros(shape))
    with pytest.raises(ValueError, match=r"numbers of shape \(N, 2\), the columns of the data"):
        read_input(mixture, str(tmp_path / "rows.npy"), rng)
    with pytest.raises(FileNotFoundError, match="found nothing"):
        read_input(mixture, str(tmp_path / "none.npy"), rng)


def test_images_are_scored(tmp_path, rng):
    model = ready(Digits())
    data = model.data
    original = data.to_original(data.test).numpy()
    np.save(tmp_path / "x.npy", original)
    found = scored(model, tmp_path / "x.npy", rng)
    torch.testing.assert_close(
        torch.from_numpy(found.energy).float(),
        model.module(data.test).detach(),
        rtol=1e-4,
        atol=1e-4,
    )
    assert isinstance(found, Scores)


def test_rows_that_equal_training_rows_are_ranked_among_these(normal, tmp_path, rng):
    """A model with a narrow kernel on each training row flags none of them against new rows."""
    train = torch.randn(1000, 2, generator=rng)
    train[:10] = 6 * torch.nn.functional.normalize(torch.randn(10, 2, generator=rng))
    data = replace(normal.data, train=train, train_labels=None)

    class Kernels(nn.Module):
        def forward(self, x):
            square = torch.cdist(x, train).square() / 0.02
            return -torch.logsumexp(-square, 1)

    model = replace(normal, module=Kernels(), data=data)
    fresh = torch.randn(500, 2, generator=rng)
    found = score_rows(model, tmp_path, torch.cat([train, fresh]), 0.05)
    trained = trained_rows(data, torch.cat([train, fresh]))
    assert trained.tolist() == [True] * 1000 + [False] * 500
    assert found.anomaly[:1000].sum() == int(1001 * 0.05) - 1
    assert found.anomaly[:10].all()
    assert (
        "1,000 of the 1,500 rows equal training rows, which the model has learnt" in found.protocol
    )
    alone = score_rows(model, tmp_path, fresh, 0.05)
    assert np.array_equal(alone.anomaly, found.anomaly[1000:])
    assert np.array_equal(alone.percentile, found.percentile[1000:])
    assert "training rows" not in alone.protocol
    # Against held-out rows the same training rows would hardly be flagged.
    limit = np.quantile(score_rows(model, tmp_path, data.held_out()[0], 0.05).energy, 0.95)
    assert (found.energy[:1000] > limit).mean() < 0.02


def test_too_few_training_rows_for_a_rate_are_told(normal, tmp_path):
    data = replace(normal.data, train=normal.data.train[:10], train_labels=None)
    model = replace(normal, data=data)
    found = score_rows(model, tmp_path, data.train[:3], 0.05)
    assert "3 of the 3 rows equal training rows" in found.protocol
    assert "fewer of them than asked are flagged" in found.protocol


def test_images_and_rows_with_noise_equal_no_training_row(normal):
    noisy = replace(normal.data, quantum=torch.tensor(0.1))
    assert not trained_rows(noisy, noisy.train).any()
    assert not trained_rows(normal.data, normal.data.train[:, None, None]).any()
