import numpy as np
import pytest
import torch
from PIL import Image

from boltzwalk.data import Images

RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (100, 100, 100)


def everything(path, **settings):
    """All images in order, as grey levels."""
    data = Images(str(path), **{"split": (1, 0, 0), **settings}).load()
    return data.to_original(data.train).round().to(torch.uint8)


def two_halves(path, size, left=RED, right=GREEN, **options):
    """Saves a picture of the size (width, height) of two colours."""
    picture = Image.new("RGB", size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    for name, colour in (("b.png", GREEN), ("a.PNG", RED), ("z/c.bmp", GREY)):
        two_halves(tmp_path / name, (6, 4), colour, colour)
    images = everything(tmp_path)
    assert images.shape == (3, 3, 4, 6)
    assert images[:, :, 1, 2].tolist() == [list(RED), list(GREEN), list(GREY)]


def test_grey_files_give_one_channel_and_mixed_ones_three(tmp_path):
    Image.new("L", (4, 4), 50).save(tmp_path / "a.png")
    Image.new("1", (4, 4), 1).save(tmp_path / "b.png")
    assert everything(tmp_path).shape == (2, 1, 4, 4)
    assert everything(tmp_path)[:, 0, 0, 0].tolist() == [50, 255]
    assert everything(tmp_path, channels=3)[0, :, 0, 0].tolist() == [50, 50, 50]
    Image.new("RGBA", (4, 4), (*RED, 128)).save(tmp_path / "c.png")
    assert everything(tmp_path)[:, :, 0, 0].tolist() == [[50] * 3, [255] * 3, list(RED)]
    # The weights of ITU-R 601: 0.299 red.
    assert everything(tmp_path, channels=1)[2, 0, 0, 0] == 76


@pytest.mark.parametrize("kind", ["png", "npz"])
def test_crop_keeps_the_middle_and_stretch_keeps_all(tmp_path, kind):
    picture = np.zeros((10, 40, 3), np.uint8)
    picture[:, :15], picture[:, 15:25], picture[:, 25:] = RED, GREEN, RED
    if kind == "png":
        Image.fromarray(picture).save(tmp_path / "a.png")
        path = tmp_path
    else:
        path = tmp_path / "a.npz"
        np.savez(path, x=picture[None])
    cropped = everything(path, size=10)
    assert cropped.shape == (1, 3, 10, 10)
    assert (cropped[0, 1] == 255).all()
    stretched = everything(path, size=8, resize="stretch")
    assert stretched[0, 0, :, 0].min() > 250
    assert stretched[0, 1, :, 3:5].min() > 150
    assert everything(path).shape == (1, 3, 10, 40)


def test_a_turned_photograph_is_turned_back(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen turned by 90 degrees clockwise
    two_halves(tmp_path / "a.png", (8, 4), exif=exif)
    image = everything(tmp_path)[0]
    assert image.shape == (3, 8, 4)
    assert image[:, 0, 0].tolist() == list(RED)
    assert image[:, 7, 0].tolist() == list(GREEN)


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize(
    "shape", [(5, 6, 7), (5, 6, 7, 1), (5, 1, 6, 7), (5, 6, 7, 3), (5, 3, 6, 7)]
)
def test_arrays_of_every_layout(tmp_path, kind, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / f"images.{kind}"
    np.save(path, array) if kind == "npy" else np.savez(path, x=array)
    images = everything(path).numpy()
    channels = 3 if 3 in shape else 1
    assert images.shape == (5, channels, 6, 7)
    if shape[-1] == channels and len(shape) == 4:
        np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), array)
    else:
        np.testing.assert_array_equal(images, array.reshape(images.shape))
    assert everything(path, size=4, channels=1).shape == (5, 1, 4, 4)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4, 4)), r"got float64 of shape \(2, 4, 4\).*value_range=0,1"),
        (np.zeros((4, 4), np.uint8), r"got uint8 of shape \(4, 4\)"),
        (np.zeros((2, 4, 4, 4), np.uint8), r"got uint8 of shape \(2, 4, 4, 4\)"),
        (np.zeros((0, 4, 4), np.uint8), r"shape \(0, 4, 4\)"),
        (np.array([[[None]]]), "not object"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, message):
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(ValueError, match=message):
        Images(str(tmp_path / "a.npz")).load()


def test_the_key_of_several_arrays(tmp_path):
    path = tmp_path / "a.npz"
    images = np.arange(144, dtype=np.uint8).reshape(9, 4, 4)
    np.savez(path, images=images, labels=np.zeros(9))
    with pytest.raises(ValueError, match="which are images, labels, got None"):
        Images(str(path)).load()
    assert len(everything(path, key="images")) == 9


def test_images_of_mixed_sizes_need_a_size(tmp_path):
    two_halves(tmp_path / "a.png", (6, 4))
    two_halves(tmp_path / "b.png", (8, 4), GREEN, RED)
    with pytest.raises(ValueError, match=r"a.png of 4x6 and b.png of 4x8.*write data.size=64"):
        Images(str(tmp_path)).load()
    assert everything(tmp_path, size=4).shape == (2, 3, 4, 4)


def test_folders_and_files_that_are_no_images(tmp_path):
    with pytest.raises(ValueError, match=r"must hold image files \(.bmp, .*got none"):
        Images(str(tmp_path)).load()
    (tmp_path / "a.png").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"must be a complete image file, got 1 .*a.png"):
        Images(str(tmp_path)).load()
    two_halves(tmp_path / "a.png", (60, 60))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"must be a complete image file, got 1 .*a.png"):
        Images(str(tmp_path)).load()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Images("nowhere").load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"size": 0}, "got 0"), ({"channels": 4}, "got 4"), ({"resize": "pad"}, "got 'pad'")],
)
def test_senseless_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Images("photos", **settings)


def test_split_and_noise(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(0, 250, 5, dtype=np.uint8)[:, None, None].repeat(8, 1))
    data = Images(str(tmp_path / "a.npy"), dequantise=True).load()
    assert [len(x) for x in (data.train, data.validation, data.test)] == [40, 5, 5]
    assert data.quantum == 2 / 256
    assert len(data.test.unique()) == 40


def test_the_real_images(real_data):
    faces = Images("OlivettiFaces/olivetti_faces.npz", real_data, key="images", split=(1, 0, 0))
    grey = faces.load().to_original(faces.load().train)
    assert grey.shape == (400, 1, 64, 64)
    assert float(grey.mean()) / 242 == pytest.approx(0.5470, abs=5e-4)
    assert float(grey.std()) / 242 == pytest.approx(0.1725, abs=5e-4)
    facades = Images("CMPFacades/cmp_facades_base_128.npz", real_data, key="images", size=16)
    data = facades.load()
    assert data.event_shape == (3, 16, 16)
    assert len(data.train) + len(data.validation) + len(data.test) == 378
