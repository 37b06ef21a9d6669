import gzip
import struct

import numpy as np
import pytest
import torch

from boltzwalk.data import FashionMnist, Mnist, mnist

SETS = [(Mnist, "MNIST"), (FashionMnist, "FashionMNIST")]
STEMS = {"train": 50, "t10k": 20}


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write_set(folder, packed=True, labels=None):
    """Writes a set whose image i is full of the grey level i and has the label i modulo 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, n in STEMS.items():
        grey = np.arange(n, dtype=np.uint8)
        images = np.tile(grey[:, None, None], (1, 28, 28))
        for kind, array in (
            ("images-idx3", images),
            ("labels-idx1", grey % 10 if labels is None else labels[:n]),
        ):
            name = f"{stem}-{kind}-ubyte"
            content = idx(array)
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)


@pytest.mark.parametrize(("settings", "folder"), SETS)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", ["{}/raw", "{}", "."])
def test_every_layout_gives_the_same(tmp_path, settings, folder, packed, place):
    write_set(tmp_path / place.format(folder), packed)
    data = settings(root=str(tmp_path), validation=0.2).load()
    assert [len(x) for x in (data.train, data.validation, data.test)] == [40, 10, 20]
    grey = data.to_original(torch.cat([data.train, data.validation]))[:, 0, 14, 3].round()
    assert grey.sort().values.tolist() == list(range(50))
    labels = torch.cat([data.train_labels, data.validation_labels])
    assert torch.equal(labels, grey.long() % 10)
    assert torch.equal(data.test_labels, torch.arange(20) % 10)
    assert data.event_shape == (1, 28, 28)


def test_padding_is_black_and_around_the_image(tmp_path):
    write_set(tmp_path)
    data = Mnist(root=str(tmp_path), pad=2).load()
    assert data.event_shape == (1, 32, 32)
    grey = data.to_original(data.test)[19, 0]
    assert (grey[2:30, 2:30] == 19).all()
    assert grey.sum() == 19 * 28 * 28


def test_classes_in_proportions_in_every_split(tmp_path):
    write_set(tmp_path)
    settings = Mnist(str(tmp_path), classes=(7, 1), proportions=(2, 1), validation=0)
    data = settings.load()
    assert data.train_labels.bincount(minlength=8).tolist() == [0, 2, 0, 0, 0, 0, 0, 4]
    assert data.test_labels.tolist().count(7) == 2
    assert data.class_names == tuple("0123456789")


def test_the_files_of_the_other_set_are_refused(tmp_path, monkeypatch):
    write_set(tmp_path)
    for name, counts in (("MNIST", (9,) * 10), ("FASHION_MNIST", (5,) * 10)):
        changed = getattr(mnist, name)._replace(train_counts=counts)
        monkeypatch.setattr(mnist, name, changed)
    with pytest.raises(ValueError, match=r"must be a file of MNIST.*counts of FashionMNIST"):
        Mnist(root=str(tmp_path)).load()
    FashionMnist(root=str(tmp_path)).load()


@pytest.mark.parametrize("labels", [np.full(50, 10, np.uint8), np.zeros(7, np.uint8)])
def test_labels_that_do_not_fit(tmp_path, labels):
    write_set(tmp_path, labels=labels)
    with pytest.raises(ValueError, match="N labels from 0 to 9"):
        Mnist(root=str(tmp_path)).load()


def test_a_truncated_file_names_itself(tmp_path):
    write_set(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{path} must be a complete gzip file"):
        Mnist(root=str(tmp_path)).load()


@pytest.mark.parametrize(("settings", "folder"), SETS)
def test_a_missing_set_says_where_its_files_belong(tmp_path, no_network, settings, folder):
    expected = tmp_path / folder / "raw" / "train-images-idx3-ubyte.gz"
    with pytest.raises(FileNotFoundError, match=f"expected the file {expected}"):
        settings(root=str(tmp_path)).load()


def test_senseless_settings():
    with pytest.raises(ValueError, match="got -1"):
        Mnist(pad=-1)
    with pytest.raises(ValueError, match=r"got 1\.5"):
        FashionMnist(validation=1.5)
    with pytest.raises(ValueError, match=r"got \(11,\)"):
        Mnist(classes=(11,))


@pytest.mark.parametrize(
    ("settings", "mean", "sd", "counts"),
    [
        (Mnist, 0.1307, 0.3081, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        (FashionMnist, 0.2860, 0.3530, [6000] * 10),
    ],
)
def test_the_real_sets(real_data, settings, mean, sd, counts):
    data = settings(root=real_data, validation=0).load()
    assert data.train.shape == (60_000, 1, 28, 28)
    assert data.test.shape == (10_000, 1, 28, 28)
    variance, centre = torch.var_mean(data.train)
    assert (float(centre) + 1) / 2 == pytest.approx(mean, abs=5e-5)
    assert float(variance.sqrt()) / 2 == pytest.approx(sd, abs=5e-5)
    assert data.train_labels.bincount().tolist() == counts
    assert len(data.validation) == 0
