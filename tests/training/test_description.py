"""The description of data in a run folder: what is kept, how much, and what is refused."""

import dataclasses
import json
import shutil
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from boltzwalk.checkpoint import load_checkpoint, save_checkpoint
from boltzwalk.data import Dataset, Table, Toy
from boltzwalk.data.rows import KEPT_BYTES, KEPT_ROWS, kept_rows
from boltzwalk.energies import NetworkEnergy
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.networks import Multilayer
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.description import NAME, read_description, training_data, write_description
from boltzwalk.training.execute import execute
from boltzwalk.training.run import open_model, open_run


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=seeded(seed))


LABELLED = Dataset(
    rows(30, 3),
    rows(8, 3, seed=1),
    rows(5, 3, seed=2),
    torch.arange(30) % 3,
    torch.arange(8) % 3,
    torch.arange(5) % 3,
    class_names=("a", "b", "c"),
    columns=("x", "weight in kg", "ümlaut"),
    low=-1.0,
    high=0.1 + 0.2,
    quantum=rows(3, 3, seed=3),
    shift=rows(3, seed=4),
    scale=rows(3, 3, seed=5),
    source="a table",
    standard="digits",
    whitening="standard",
    split=(0.7, 0.2, 0.1),
    split_seed=11,
)
PLAIN = Dataset(rows(30, 1, 4, 4), rows(2, 1, 4, 4), rows(0, 1, 4, 4), quantum=0.25)


def read_again(data, folder):
    write_description(folder, data)
    return read_description(folder)


@pytest.mark.parametrize("data", [LABELLED, PLAIN], ids=["labelled", "plain"])
def test_everything_comes_back(tmp_path, data):
    again = read_again(data, tmp_path)
    for field in dataclasses.fields(Dataset):
        expected, value = getattr(data, field.name), getattr(again, field.name)
        if field.name == "full":
            sizes = (len(data.train), len(data.validation), len(data.test))
            assert value[:4] == (data.digest, *sizes)
        elif torch.is_tensor(expected):
            assert torch.equal(value, expected), field.name
            assert value.dtype == expected.dtype, field.name
        elif field.name == "quantum":
            assert float(value) == expected
        else:
            assert value == expected, field.name
            assert type(value) is type(expected), field.name
    assert again.complete
    assert again.digest == data.digest
    assert again.log_volume == data.log_volume
    assert torch.equal(again.batch(7, seeded()), data.batch(7, seeded()))
    x = data.train[:4]
    assert torch.equal(again.to_original(x), data.to_original(x))
    assert torch.equal(again.from_original(x), data.from_original(x))


def test_generated_rows_keep_their_identity(tmp_path):
    data = Toy("rings", n=50).load()
    again = read_again(data, tmp_path)
    assert data.identity
    assert again.digest == data.digest
    assert again.sample() is again


def test_a_folder_without_one_has_none(tmp_path):
    assert read_description(tmp_path) is None


def test_the_same_data_are_written_once_and_others_anew(tmp_path):
    write_description(tmp_path, PLAIN)
    before = (tmp_path / NAME).stat()
    write_description(tmp_path, PLAIN)
    assert (tmp_path / NAME).stat().st_mtime_ns == before.st_mtime_ns
    write_description(tmp_path, LABELLED)
    assert read_description(tmp_path).digest == LABELLED.digest


# How much is kept.


def test_a_sample_has_no_more_rows_than_its_cap():
    data = Dataset(rows(KEPT_ROWS + 1, 2), rows(KEPT_ROWS, 2), rows(3, 2))
    sample = data.sample()
    assert [len(part) for part in (sample.train, sample.validation, sample.test)] == [
        KEPT_ROWS,
        KEPT_ROWS,
        3,
    ]
    assert torch.equal(sample.validation, data.validation)
    assert not sample.complete
    assert sample.digest == data.digest
    assert sample.full[:4] == (data.digest, KEPT_ROWS + 1, KEPT_ROWS, 3)
    # The rows are those of the data, each once, in their order.
    index = kept_rows(data.train)
    assert torch.equal(index, index.unique())
    assert torch.equal(sample.train, data.train[index])
    assert torch.equal(data.sample().train, sample.train), "the same each time"
    assert sample.sample() is sample


def test_a_sample_has_no_more_bytes_than_its_cap():
    event = (1, 64, 64)
    most = KEPT_BYTES // (4 * 64 * 64)
    assert most == 128
    data = Dataset(torch.zeros(most + 5, *event), torch.zeros(most, *event), torch.zeros(0, *event))
    sample = data.sample()
    assert (len(sample.train), len(sample.validation), len(sample.test)) == (most, most, 0)
    assert sample.train.numel() * 4 <= KEPT_BYTES
    huge = torch.zeros(3, KEPT_BYTES)
    assert len(kept_rows(huge)) == 1, "one row is kept, however large"


def test_one_row_of_each_class_is_kept(tmp_path):
    """Class 7 has one row, which a sample of the others would leave out."""
    n = KEPT_ROWS + 5000
    labels = torch.arange(n) % 3
    alone = next(i for i in range(n) if i not in set(kept_rows(torch.zeros(n, 2)).tolist()))
    labels[alone] = 7
    x = rows(n, 2)
    data = Dataset(x, x[:2], x[:2], labels, labels[:2], labels[:2])
    sample = data.sample()
    assert len(sample.train) == KEPT_ROWS + 1
    assert sample.train_labels.unique().tolist() == [0, 1, 2, 7]
    assert torch.equal(sample.train[sample.train_labels == 7], x[alone : alone + 1])
    again = read_again(data, tmp_path)
    assert torch.equal(again.train_labels, sample.train_labels)
    assert again.digest == data.digest
    assert not again.complete


@pytest.mark.parametrize("change", ["train", "shift", "scale"])
def test_the_digest_is_that_of_rows_and_units(change):
    data = replace(LABELLED, **{change: getattr(LABELLED, change) + 1e-3})
    assert data.digest != LABELLED.digest
    assert data.sample().digest == data.digest


# Damage.


def without(path, name):
    tensors, text = load_checkpoint(path)
    tensors.pop(name, None)
    text.pop(name, None)
    save_checkpoint(path, tensors, text)


@pytest.mark.parametrize("name", ["train", "shift", "full", "values", "split"])
def test_a_description_that_lacks_something_is_refused(tmp_path, name):
    write_description(tmp_path, LABELLED)
    without(tmp_path / NAME, name)
    with pytest.raises(ValueError, match=f"{NAME} must describe data"):
        read_description(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_description_that_is_cut_short_is_refused(tmp_path, keep):
    write_description(tmp_path, LABELLED)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"{NAME} must describe data.*boltzwalk resume"):
        read_description(tmp_path)


def test_values_that_are_no_values_are_refused(tmp_path):
    write_description(tmp_path, LABELLED)
    tensors, text = load_checkpoint(tmp_path / NAME)
    values = json.loads(text["values"])
    del values["columns"]
    save_checkpoint(tmp_path / NAME, tensors, text | {"values": json.dumps(values)})
    with pytest.raises(ValueError, match="must describe data"):
        read_description(tmp_path)
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / NAME)
    with pytest.raises(ValueError, match="must describe data"):
        read_description(tmp_path)


SMALL = resolve_auto(
    Settings(
        data=Toy("eight_gaussians", n=100),
        energy=NetworkEnergy(Multilayer((4,))),
        method=Contrastive(steps=2),
        updates=4,
        batch=16,
        device="cpu",
        threads=1,
        output=Output(save_every=2, picture_every=0),
    )
)


def train(folder, settings=SMALL):
    for _ in execute(settings, folder):
        pass
    return folder


def test_a_run_writes_a_damaged_description_again(tmp_path):
    folder = train(tmp_path / "run")
    before = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(before[:100])
    with pytest.raises(ValueError, match="must describe data"):
        open_model(folder)
    train(folder)
    assert (folder / NAME).read_bytes() == before
    assert open_model(folder).update == 4


# The data of a run, at their place or in its folder.


def table(path, n=60, seed=0):
    x = rows(n, 2, seed=seed).tolist()
    path.write_text("a,b\n" + "".join(f"{a:.4f},{b:.4f}\n" for a, b in x))
    return path


def test_few_rows_stand_for_their_file(tmp_path):
    path = table(tmp_path / "rows.csv")
    settings = resolve_auto(replace(SMALL, data=Table(str(path)), updates=2))
    folder = train(tmp_path / "run", settings)
    loaded = training_data(settings, folder)
    path.unlink()
    kept = training_data(settings, folder)
    assert torch.equal(kept.train, loaded.train)
    train(folder, replace(settings, updates=2))
    (folder / NAME).unlink()
    with pytest.raises(FileNotFoundError):
        training_data(settings, folder)


def test_a_sample_does_not_stand_for_its_file(tmp_path):
    path = table(tmp_path / "rows.csv", n=KEPT_ROWS + 4000)
    settings = resolve_auto(replace(SMALL, data=Table(str(path)), updates=2))
    folder = train(tmp_path / "run", settings)
    path.rename(tmp_path / "elsewhere.csv")
    assert not open_model(folder).data.complete
    with pytest.raises(FileNotFoundError):
        open_run(folder)
    run = open_run(folder, changes=[f"data.path={tmp_path / 'elsewhere.csv'}"])
    assert run.dataset.full is None
    assert len(run.dataset.train) > KEPT_ROWS


@pytest.mark.parametrize("other", ["missing.csv", "others.csv", "words.csv"])
def test_a_place_that_is_named_must_hold_the_data(tmp_path, other):
    """The rows of the folder do not stand in for a file that was asked for."""
    path = table(tmp_path / "rows.csv")
    folder = train(tmp_path / "run", resolve_auto(replace(SMALL, data=Table(str(path)), updates=2)))
    table(tmp_path / "others.csv", seed=1)
    (tmp_path / "words.csv").write_text("a,b\nx,y\nz,w\n")
    path.unlink()
    assert open_run(folder).update == 2
    with pytest.raises((ValueError, FileNotFoundError)):
        open_run(folder, changes=[f"data.path={tmp_path / other}"])


def test_a_folder_of_the_last_version_is_described_when_it_goes_on(tmp_path):
    """Its checkpoints have the digest of the rows themselves, also where these are generated."""
    folder = train(tmp_path / "run")
    bits = replace(Toy("eight_gaussians", n=100).load(), identity="").digest
    for path in sorted((folder / "checkpoints").iterdir()):
        tensors, text = load_checkpoint(path)
        assert text["data"] != bits
        save_checkpoint(path, tensors, text | {"data": bits})
    (folder / NAME).unlink()
    assert open_model(folder).update == 4
    train(folder)
    assert (folder / NAME).exists()
    assert open_model(folder).update == 4
    shutil.move(folder, tmp_path / "moved")
    assert (
        open_model(tmp_path / "moved" / "checkpoints" / "update_00000002.safetensors").update == 2
    )
