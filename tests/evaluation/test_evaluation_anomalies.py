"""Anomalies that are planted, or none: the area under the curve is 1, or a half."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from boltzwalk.data import Digits, Modes
from boltzwalk.data.dataset import Dataset
from boltzwalk.data.external import model_to_grey
from boltzwalk.data.image_files import resize_image
from boltzwalk.data.images import image_dataset
from boltzwalk.data.splits import LabelledRows
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation import anomalies as judged
from boltzwalk.evaluation.anomalies import NAMED_SETS, anomalies, energies_and_norms
from boltzwalk.evaluation.samples import SampleSet
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.networks import Multilayer
from boltzwalk.settings.settings import Settings, resolve_auto
from boltzwalk.training.run import start


class Known(nn.Module):
    """An energy that is known: the squared distance to a mean over 2, or minus the contrast."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        if self.kind == "contrast":
            return -x.flatten(1).var(1)
        u = x.flatten(1).square().sum(1) / 2
        return torch.where(x.flatten(1)[:, 0] > 5, torch.nan, u) if self.kind == "hole" else u


def ready(data, kind=None):
    method = Contrastive(NoiseStart(), ULA(0.1), steps=2)
    network = NetworkEnergy(Multilayer((16,)))
    run = start(resolve_auto(Settings(data, network, method, batch=16, threads=1, device="cpu")))
    model = run.judged_on(run.dataset)
    return model if kind is None else replace(model, module=Known(kind))


def told(model, sets, rng):
    drawn = SampleSet(model.data.train[:30], None, "", "", 30)
    part = anomalies(model, drawn, sets, rng)
    return {measure.name: measure for measure in part.measures}, part.details["energies"]


NORMAL = Modes(3, (0.0,), (1.0,), rows=200)


def test_scores_are_energy_and_gradient_norm(rng):
    model = ready(NORMAL, "normal")
    x = torch.randn(2500, 3, generator=rng)  # more than are taken at once
    energy, gradient = energies_and_norms(model, x)
    torch.testing.assert_close(energy, x.double().square().sum(1) / 2, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, x.double().norm(dim=1), rtol=1e-5, atol=1e-5)


def test_planted_rows_are_told_and_held_out_rows_are_not(tmp_path, rng):
    model = ready(NORMAL, "normal")
    rows, _ = model.data.held_out()
    np.save(tmp_path / "far.npy", rows.numpy() + 50)
    np.save(tmp_path / "same.npy", rows.numpy())
    np.save(tmp_path / "near.npy", rows.numpy() / 1e3)
    sets = [str(tmp_path / name) for name in ("far.npy", "same.npy", "near.npy")]
    found, energies = told(model, sets, rng)
    for by in ("energy", "gradient"):
        assert found[f"AUROC far.npy, {by}"].value == 1
        assert found[f"AUROC same.npy, {by}"].value == 0.5
        assert found[f"AUROC near.npy, {by}"].value == 0  # the simple is not seen
        assert "FPR95 0.000" in found[f"AUROC far.npy, {by}"].protocol
        assert found[f"AUROC far.npy, {by}"].high == 1
        assert 0.5 < found[f"AUROC noise, {by}"].value < 1
    assert found["AUROC far.npy, energy"].protocol.startswith("400 against 400 held-out rows")
    assert list(energies) == [
        "training data",
        "held-out data",
        "samples",
        "noise",
        "far.npy",
        "same.npy",
        "near.npy",
    ]
    assert energies["held-out data"] == energies["same.npy"]
    assert min(energies["far.npy"]) > max(energies["held-out data"])
    assert len(energies["samples"]) == 30
    assert "AUROC single grey, energy" not in found  # of images alone


def test_the_energies_of_weighted_samples_are_those_of_their_weights(rng):
    model = ready(NORMAL, "normal")
    x = model.data.train[:30]
    log_w = torch.full((30,), -torch.inf)
    log_w[4] = 0.0
    part = anomalies(model, SampleSet(x, log_w, "", "", 30), [], rng)
    expected = float(x[4].square().sum() / 2)
    assert part.details["energies"]["samples"] == [pytest.approx(expected, rel=1e-5)] * 30
    none = anomalies(model, SampleSet(x[:0], None, "", "all", 30), [], rng)
    assert none.details["energies"]["samples"] == []


def test_a_single_grey_has_no_contrast(rng):
    model = ready(Digits(), "contrast")
    found, energies = told(model, [], rng)
    assert found["AUROC single grey, energy"].value == 1
    assert max(map(abs, energies["single grey"])) < 1e-6
    assert list(found) == [
        f"AUROC {name}, {by}" for name in ("noise", "single grey") for by in ("energy", "gradient")
    ]


def other_set(monkeypatch, make):
    monkeypatch.setitem(NAMED_SETS, "other", lambda: SimpleNamespace(load=make))


def enlarged(data, side):
    """The held-out images of a set at another size and in colour."""
    grey = model_to_grey(torch.cat([data.validation, data.test]), data)[:, 0].numpy()
    pictures = [resize_image(Image.fromarray(g), side, 3, "stretch") for g in grey]
    x = torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2)
    part = LabelledRows(x.contiguous())
    return image_dataset(
        (part, part, LabelledRows(x[:0])), levels=256, dequantise=False, seed=0, source="enlarged"
    )


def test_held_out_images_at_another_size_are_not_told_apart(monkeypatch, rng):
    """The blur of the scaling is on both sides, to the bit."""
    model = ready(Digits())
    bigger = enlarged(model.data, 16)
    other_set(monkeypatch, lambda: bigger)
    found, energies = told(model, ["other"], rng)
    for by in ("energy", "gradient"):
        assert found[f"AUROC other, {by}"].value == 0.5
    assert sorted(energies["other"]) != sorted(energies["held-out data"])  # which are not blurred


def test_a_set_of_the_same_size_is_not_scaled(monkeypatch, rng):
    model = ready(Digits())
    data = model.data
    rows = torch.cat([data.validation, data.test])
    same = Dataset(rows, rows, rows[:0], shift=data.shift, scale=data.scale)
    other_set(monkeypatch, lambda: same)
    calls = []
    honest = judged.resize_round_trip
    monkeypatch.setattr(judged, "resize_round_trip", lambda *a: calls.append(a[1:]) or honest(*a))
    found, energies = told(model, ["other"], rng)
    assert calls == [(8, 1, (1, 8, 8))] * 2  # both sides
    assert found["AUROC other, energy"].value == 0.5
    # Digits have 17 grey levels; to 256 and back they move by less than a quarter of a level.
    ours = torch.tensor(energies["held-out data"])
    torch.testing.assert_close(torch.tensor(energies["other"]), ours, atol=0.05, rtol=0)


def test_dequantised_rows_are_spread_again_on_both_sides(monkeypatch, rng):
    model = ready(Digits(dequantise=True))
    bigger = enlarged(model.data, 12)
    other_set(monkeypatch, lambda: bigger)
    pairs = judged._named_set(model.data, model.data.held_out()[0], "other", rng)
    inside, outside = pairs
    assert not torch.equal(inside, outside)  # their noise is not the same
    half = model.data.quantum / 2
    assert float((inside - outside).abs().max()) <= 2 * half + 1e-5
    assert float((inside - outside).abs().max()) > half


def test_files_of_images_are_read(tmp_path, rng):
    model = ready(Digits(), "contrast")
    pictures = np.full((5, 8, 8), 77, dtype=np.uint8)
    np.save(tmp_path / "flat.npy", pictures)
    (tmp_path / "folder").mkdir()
    Image.fromarray(pictures[0]).save(tmp_path / "folder" / "a.png")
    Image.fromarray(pictures[0]).save(tmp_path / "folder" / "b.png")
    found, _ = told(model, [str(tmp_path / "flat.npy"), str(tmp_path / "folder")], rng)
    assert found["AUROC flat.npy, energy"].value == 1
    assert found["AUROC folder, energy"].value == 1


def test_what_is_unknown_is_said_with_what_is_known(tmp_path, rng):
    with pytest.raises(
        ValueError, match=r"digits, mnist, fashion_mnist, cifar10, or of a file.*mnsit"
    ):
        told(ready(Digits()), ["mnsit"], rng)
    with pytest.raises(FileNotFoundError, match="there must be a file or folder of rows at digits"):
        told(ready(NORMAL), ["digits"], rng)  # a table is no digit
    np.save(tmp_path / "wide.npy", np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"numbers of shape \(N, 3\)"):
        told(ready(NORMAL), [str(tmp_path / "wide.npy")], rng)


def test_energies_that_are_not_finite_are_refused(tmp_path, rng):
    model = ready(NORMAL, "hole")
    np.save(tmp_path / "far.npy", np.full((5, 3), 9.0))
    found, _ = told(model, [str(tmp_path / "far.npy")], rng)
    assert "not finite" in found["AUROC far.npy, energy"].refusal
    assert found["AUROC noise, energy"].refusal == ""
