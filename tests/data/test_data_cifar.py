import io
import pickle
import struct
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from boltzwalk.data import Cifar10
from boltzwalk.data.cifar import read_batch, read_jpeg, read_pickled_arrays

NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def python_2_batch(data, labels):
    """A batch as Python 2 pickled it, byte by byte in the order of the published files."""
    n = len(data)
    return b"".join(
        [
            b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04",
            b"]q\x05(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
            b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08",
            b"K\x00\x85U\x01b\x87Rq\t(K\x01J" + struct.pack("<i", n) + b"M\x00\x0c\x86",
            b"cnumpy\ndtype\nq\nU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNN",
            b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T" + struct.pack("<i", data.size) + data.tobytes() + b"tb",
            b"U\tfilenamesq\x0c]q\r(" + b"U\x05a.png" * n + b"eu.",
        ]
    )


def some_batch(n=10, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3072), dtype=np.uint8), list(range(n))


def write_batches(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(NAMES):
        (folder / name).write_bytes(python_2_batch(*some_batch(seed=i)))


class Malicious:
    """What an attacker would put in place of a batch."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def test_a_batch_of_python_2():
    data, labels = some_batch()
    images, read = read_batch(python_2_batch(data, labels), "batch")
    assert images.shape == (10, 3, 32, 32)
    assert read.tolist() == labels
    # The published layout: 1,024 red values row by row, then green, then blue.
    assert images[4, 1, 2, 3] == data[4, 1024 + 2 * 32 + 3]


@pytest.mark.parametrize("protocol", range(5))
def test_a_batch_of_python_3(protocol):
    data, labels = some_batch()
    content = pickle.dumps({"data": data, "labels": labels}, protocol)
    np.testing.assert_array_equal(read_batch(content, "batch")[0].reshape(10, -1), data)


@pytest.mark.parametrize(
    "attack",
    [
        Malicious(open, "{victim}", "w"),
        Malicious(eval, "open('{victim}', 'w')"),
        Malicious(getattr, np.ndarray, "tofile"),
        Malicious(__import__, "os"),
        np.load,
        np.random.default_rng,
        torch.load,
    ],
)
def test_a_malicious_pickle_is_refused_and_nothing_is_run(tmp_path, attack):
    victim = tmp_path / "victim"
    if isinstance(attack, Malicious):
        attack.call = tuple(
            c.format(victim=victim) if isinstance(c, str) else c for c in attack.call
        )
    write_batches(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps({"data": attack, "labels": []}, 2))
    with pytest.raises(ValueError, match="which was not run") as info:
        Cifar10(root=str(tmp_path)).load()
    assert str(path) in str(info.value)
    assert not victim.exists()


def test_parts_of_arrays_cannot_be_misused():
    for content in (
        b"c_codecs\nencode\n(Vab\nVrot13\ntR.",
        b"cnumpy\nndarray.tofile\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    ):
        with pytest.raises(ValueError, match="memory must"):
            read_pickled_arrays(content, "memory")
    # A file that changes the functions it is given changes nothing for the next one.
    read_pickled_arrays(b"cnumpy\ndtype\n}(V__defaults__\n(I1\nI2\ntub.", "memory")
    read_pickled_arrays(pickle.dumps({"data": np.arange(3)}, 2), "memory")


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"\x80\x02}q\x01(U\x0bbatch_la", b"."])
def test_damaged_pickles(content):
    with pytest.raises(ValueError, match=f"complete pickle, got {len(content)} bytes"):
        read_pickled_arrays(content, "memory")


@pytest.mark.parametrize(
    "batch",
    [
        [1, 2],
        {"labels": [1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]},
        {"data": np.zeros((2, 3072)), "labels": [1, 2]},
        {"data": np.zeros((2, 100), np.uint8), "labels": [1, 2]},
    ],
)
def test_pickles_that_are_no_batch(batch):
    with pytest.raises(ValueError, match=r"some file must hold uint8 data of shape \(N, 3072\)"):
        read_batch(pickle.dumps(batch, 2), "some file")


def test_a_folder_of_batches_and_the_archive_are_the_same(tmp_path):
    write_batches(tmp_path / "a" / "CIFAR10" / "cifar-10-batches-py")
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a" / "CIFAR10", ".")
    folder, packed = (Cifar10(str(tmp_path / part)).load() for part in ("a", "b"))
    assert [len(x) for x in (folder.train, folder.validation, folder.test)] == [45, 5, 10]
    assert torch.equal(folder.train, packed.train)
    assert torch.equal(folder.test_labels, packed.test_labels)
    grey = folder.to_original(folder.test).round().numpy().reshape(10, -1)
    np.testing.assert_array_equal(grey, some_batch(seed=5)[0])


def test_a_missing_batch_and_a_truncated_archive(tmp_path):
    write_batches(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="of which data_batch_4 are not there"):
        Cifar10(str(tmp_path)).load()
    path = tmp_path / "b" / "cifar-10-python.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-py")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=f"{path} must be a complete .tar.gz"):
        Cifar10(str(path.parent)).load()


def write_npz(folder, n=4):
    """Writes both npz layouts, of even colours that JPEG keeps to a grey level."""
    colours = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250], [99, 99, 99]], np.uint8)
    images = np.broadcast_to(colours[:n, None, None], (n, 32, 32, 3))
    labels = np.arange(n, dtype=np.uint8)
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(file, "jpeg", quality=95)
        files.append(file.getvalue())
    jpeg = np.frombuffer(b"".join(files), np.uint8)
    offsets = np.cumsum([0] + [len(f) for f in files])
    np.savez(
        folder / "cifar10_lossless_subset.npz",
        train_images=images,
        train_labels=labels,
        test_images=images[::-1],
        test_labels=labels[::-1],
    )
    for part in ("train", "test"):
        np.savez(folder / f"cifar10_jpeg_{part}.npz", jpeg=jpeg, offsets=offsets, labels=labels)
    return colours


def test_both_npz_layouts_and_the_order_of_preference(tmp_path):
    colours = write_npz(tmp_path)
    expected = torch.from_numpy(colours).float()
    settings = Cifar10(str(tmp_path), validation=0)
    subset = settings.load()
    assert "subset" in subset.source
    assert torch.equal(subset.to_original(subset.train).round()[:, :, 5, 7], expected)
    assert torch.equal(subset.to_original(subset.test).round()[:, :, 5, 7], expected.flip(0))
    assert subset.test_labels.tolist() == [3, 2, 1, 0]
    (tmp_path / "cifar10_lossless_subset.npz").unlink()
    jpeg = settings.load()
    assert "lossy" in jpeg.source
    assert (jpeg.to_original(jpeg.train)[:, :, 5, 7] - expected).abs().max() <= 3
    assert jpeg.train_labels.tolist() == [0, 1, 2, 3]
    write_batches(tmp_path / "cifar-10-batches-py")
    assert "original batches" in settings.load().source


def test_rows_and_columns_of_the_subset_keep_their_places(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(4)
    np.savez(
        tmp_path / "cifar10_lossless_subset.npz",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
    )
    data = Cifar10(str(tmp_path), validation=0).load()
    grey = data.to_original(data.train).round().numpy()
    np.testing.assert_array_equal(grey.transpose(0, 2, 3, 1), images)


def test_damaged_npz(tmp_path):
    write_npz(tmp_path)
    path = tmp_path / "cifar10_jpeg_train.npz"
    with np.load(path) as content:
        fields = dict(content)
    np.savez(path, **{**fields, "offsets": fields["offsets"][[0, 2, 1, 3, 4]]})
    with pytest.raises(ValueError, match="got image 1 which cannot be decoded"):
        Cifar10(str(tmp_path), layout="jpeg").load()
    np.savez(path, **{**fields, "labels": np.array([0, 1, 2, "x"], dtype=object)})
    with pytest.raises(ValueError, match=r"cifar10_jpeg_train.npz must be.*not object"):
        Cifar10(str(tmp_path), layout="jpeg").load()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read"):
        Cifar10(str(tmp_path), layout="jpeg").load()


def test_missing_layouts_say_what_belongs_where(tmp_path, no_network):
    for layout in ("auto", "batches"):
        with pytest.raises(FileNotFoundError, match=r"cifar-10-python.tar.gz.*BOLTZWALK_DATA"):
            Cifar10(str(tmp_path), layout).load()
    with pytest.raises(FileNotFoundError, match=r"CIFAR10/cifar10_lossless_subset.npz, which is"):
        Cifar10(str(tmp_path), layout="lossless_subset").load()
    with pytest.raises(FileNotFoundError, match=r"CIFAR10/cifar10_jpeg_train.npz, which is"):
        Cifar10(str(tmp_path), layout="jpeg").load()
    with pytest.raises(ValueError, match="got 'png'"):
        Cifar10(layout="png")


def test_the_real_subset(real_data):
    data = Cifar10(real_data, layout="lossless_subset", validation=0).load()
    assert data.train.shape == (4000, 3, 32, 32)
    assert data.train_labels.bincount().tolist() == [
        396, 366, 420, 384, 422, 393, 414, 385, 407, 413,
    ]  # fmt: skip
    assert data.test_labels.bincount().tolist() == [
        103, 89, 100, 103, 90, 86, 112, 102, 106, 109,
    ]  # fmt: skip
    # The mean colour of all 50,000 images, within 5 standard errors of a mean over 4,000.
    colours = (data.train.mean((2, 3)) + 1) / 2
    standard_error = colours.std(0) / 4000**0.5
    published = torch.tensor([0.4914, 0.4822, 0.4465])
    assert ((colours.mean(0) - published).abs() < 5 * standard_error).all()


def test_the_real_jpeg_copy_shows_the_same_images(real_data, tmp_path):
    original = Cifar10(real_data, layout="lossless_subset").load()
    with np.load(f"{real_data}/CIFAR10/cifar10_jpeg_test.npz") as content:
        offsets = content["offsets"][:1001]
        path = tmp_path / "first.npz"
        jpeg, labels = content["jpeg"][: offsets[-1]], content["labels"][:1000]
        np.savez(path, jpeg=jpeg, offsets=offsets, labels=labels)
    part = read_jpeg(path)
    assert torch.equal(part.labels, original.test_labels)
    error = part.x.float() - original.to_original(original.test)
    assert error.square().mean().sqrt() == pytest.approx(8.1, abs=0.3)


@pytest.mark.slow
def test_the_whole_real_jpeg_copy(real_data):
    data = Cifar10(real_data, layout="jpeg", validation=0).load()
    variance, mean = torch.var_mean((data.train + 1) / 2, (0, 2, 3))
    assert torch.allclose(mean, torch.tensor([0.4913, 0.4821, 0.4465]), atol=2e-4)
    assert torch.allclose(variance.sqrt(), torch.tensor([0.2452, 0.2428, 0.2606]), atol=2e-4)
    assert data.train_labels.bincount().tolist() == [5000] * 10
    assert data.test_labels.bincount().tolist() == [1000] * 10
