"""Images as people have them; the oracles are NumPy and Pillow."""

import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from boltzwalk.completion.inputs import read_partial
from boltzwalk.data import Dataset, Images
from boltzwalk.data.external import load_external_rows

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 6, 6), dtype=np.uint8)
BINARY = RNG.integers(0, 2, (20, 6, 6))


def levels(path, **settings):
    """All images in order, in the units of the files."""
    data = Images(str(path), **{"split": (1, 0, 0), **settings}).load()
    return data.to_original(data.train).numpy()


def save(folder, images, names="{:02d}.png"):
    for i, image in enumerate(images):
        path = folder / names.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.uint16])
def test_binarised_arrays_are_refused_until_their_levels_are_known(tmp_path, dtype):
    np.save(tmp_path / "b.npy", BINARY.astype(dtype))
    with pytest.raises(ValueError, match=r"data\.levels=2"):
        levels(tmp_path / "b.npy")
    np.testing.assert_array_equal(levels(tmp_path / "b.npy", levels=2)[:, 0], BINARY)


def test_binarised_images_are_minus_one_and_one(tmp_path):
    np.save(tmp_path / "b.npy", BINARY.astype(np.uint8))
    data = Images(str(tmp_path / "b.npy"), levels=2, split=(1, 0, 0)).load()
    np.testing.assert_array_equal(data.train.numpy()[:, 0], 2 * BINARY - 1)
    cells = Images(str(tmp_path / "b.npy"), levels=2, split=(1, 0, 0), dequantise=True).load()
    assert (cells.quantum, float(cells.train.max())) == (1.0, 0.5)


def test_booleans_are_two_levels(tmp_path):
    np.savez(tmp_path / "b.npz", x=BINARY.astype(bool))
    data = Images(str(tmp_path / "b.npz"), split=(1, 0, 0)).load()
    np.testing.assert_array_equal(data.train.numpy()[:, 0], 2 * BINARY - 1)
    np.testing.assert_array_equal(data.to_original(data.train).numpy()[:, 0], BINARY)


def test_a_folder_of_binarised_images(tmp_path):
    save(tmp_path, BINARY.astype(np.uint8))
    with pytest.raises(ValueError, match=r"no value above 1.*data\.levels=2"):
        levels(tmp_path)
    np.testing.assert_array_equal(levels(tmp_path, levels=2)[:, 0], BINARY)
    black = levels(tmp_path, value_range=(0, 255))
    np.testing.assert_array_equal(black[:, 0], BINARY)


def test_few_levels_of_an_old_scan(tmp_path):
    four_bits = RNG.integers(0, 16, (9, 5, 5), dtype=np.uint8)
    np.save(tmp_path / "a.npy", four_bits)
    with pytest.raises(ValueError, match=r"no value above 15.*data\.levels=16"):
        levels(tmp_path / "a.npy")
    np.testing.assert_array_equal(levels(tmp_path / "a.npy", levels=16)[:, 0], four_bits)
    with pytest.raises(ValueError, match=r"whole levels from 0 to 7"):
        levels(tmp_path / "a.npy", levels=8)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 100)])
def test_floats_need_the_values_of_black_and_white(tmp_path, low, high):
    unit = GREY / 255
    np.save(tmp_path / "f.npy", (low + (high - low) * unit).astype(np.float32))
    with pytest.raises(ValueError, match=r"data\.value_range=(0,1|-1,1|0,255)"):
        levels(tmp_path / "f.npy")
    read = levels(tmp_path / "f.npy", value_range=(low, high))
    np.testing.assert_array_equal(read[:, 0], GREY)
    with pytest.raises(ValueError, match="must hold values from"):
        levels(tmp_path / "f.npy", value_range=(low, low + 0.5 * (high - low)))


def test_whole_floats_and_wide_integers_are_grey_levels(tmp_path):
    for dtype in (np.float64, np.int32, np.uint16):
        np.save(tmp_path / "a.npy", GREY.astype(dtype))
        np.testing.assert_array_equal(levels(tmp_path / "a.npy")[:, 0], GREY)
    gap = GREY.astype(float)
    gap[0, 0, 0] = np.nan
    np.save(tmp_path / "a.npy", gap)
    with pytest.raises(ValueError, match="must hold finite numbers"):
        levels(tmp_path / "a.npy")


def test_sixteen_bits_are_divided_by_257(tmp_path):
    deep = RNG.integers(0, 65536, (4, 6, 6), dtype=np.uint16)
    expected = np.rint(deep / 257)
    np.testing.assert_array_equal(levels(save(tmp_path / "png", deep))[:, 0], expected)
    save(tmp_path / "tif", deep, "{}.tif")
    np.testing.assert_array_equal(levels(tmp_path / "tif")[:, 0], expected)
    np.save(tmp_path / "a.npy", deep)
    np.testing.assert_array_equal(levels(tmp_path / "a.npy")[:, 0], expected)


def test_twelve_bits_in_sixteen_need_their_range(tmp_path):
    deep = RNG.integers(0, 4096, (4, 6, 6), dtype=np.uint16)
    deep[0, 0, 0] = 4095
    save(tmp_path, deep)
    with pytest.raises(ValueError, match=r"data\.value_range=0,4095 where 4095 is white"):
        levels(tmp_path)
    read = levels(tmp_path, value_range=(0, 4095))
    np.testing.assert_array_equal(read[:, 0], np.rint(deep * (255 / 4095)))


def test_a_float_tiff_needs_its_range(tmp_path):
    Image.fromarray((GREY[0] / 255).astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a.tif has floats from"):
        levels(tmp_path)
    np.testing.assert_array_equal(levels(tmp_path, value_range=(0, 1))[0, 0], GREY[0])


def test_equal_images_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.full((5, 4, 4), 200, np.uint8))
    with pytest.raises(ValueError, match="must differ, got 5 that are equal"):
        levels(tmp_path / "a.npy")


def test_hidden_files_and_copies_of_other_systems_are_passed_over(tmp_path, caplog):
    save(tmp_path, GREY[:5])
    (tmp_path / "._00.png").write_bytes(b"\x00\x05\x16\x07")
    for name in (".x.png", ".ipynb_checkpoints/00-checkpoint.png", ".Trash-1000/files/1.png",
                 "__MACOSX/00.png", "@eaDir/00.png", "below/.git/2.png"):  # fmt: skip
        save(tmp_path, GREY[9:10], name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "Thumbs.db").write_bytes(b"")
    os.symlink(tmp_path, tmp_path / "again")
    os.symlink(tmp_path / "gone.png", tmp_path / "broken.png")
    with caplog.at_level(logging.INFO, "boltzwalk"):
        np.testing.assert_array_equal(levels(tmp_path)[:, 0], GREY[:5])
    assert "5 images read as grey 6x6" in caplog.text
    assert "5 hidden, 2 in folders of other systems, 1 links to folders" in caplog.text
    for part in ("1 .txt", "1 .db", "1 links to nothing"):
        assert part in caplog.text


def test_a_folder_that_is_hidden_itself_is_read(tmp_path):
    save(tmp_path / ".cache" / "images", GREY[:3])
    assert levels(tmp_path / ".cache" / "images").shape == (3, 1, 6, 6)


def test_all_damaged_files_are_named_at_once_and_may_be_passed_over(tmp_path, caplog):
    save(tmp_path, GREY)
    whole = (tmp_path / "03.png").read_bytes()
    (tmp_path / "03.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "07.png").write_bytes(b"<html>not an image</html>")
    (tmp_path / "08.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"got 3 that cannot .*03.*07.*08.*skip_unreadable=true"):
        levels(tmp_path)
    with caplog.at_level(logging.INFO, "boltzwalk"):
        read = levels(tmp_path, skip_unreadable=True)
    np.testing.assert_array_equal(read[:, 0], np.delete(GREY, [3, 7, 8], 0))
    assert "3 unreadable" in caplog.text


def test_nothing_readable_is_refused_also_with_skip_unreadable(tmp_path):
    (tmp_path / "a.png").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="got 1 that cannot be read"):
        levels(tmp_path, skip_unreadable=True)


def test_problems_of_a_folder_come_in_one_message(tmp_path):
    save(tmp_path, [GREY[0], GREY[1, :4]])
    (tmp_path / "z.png").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"z\.png .*must have one size.*data\.size=64"):
        levels(tmp_path)


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBA", "YCbCr", "LA", "PA", "HSV", "1"])
def test_modes_are_those_of_pillow(tmp_path, mode):
    colour = Image.fromarray(RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = colour.convert("L").convert("PA") if mode == "PA" else colour.convert(mode)
    path = tmp_path / {"CMYK": "a.tif", "YCbCr": "a.tif", "HSV": "a.tif"}.get(mode, "a.png")
    if mode == "HSV":
        colour.save(path)
        image = colour
    else:
        image.convert("RGBA" if mode == "PA" else mode).save(path)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("L" if mode in ("1", "LA") else "RGB"))
    read = levels(tmp_path)[0]
    np.testing.assert_array_equal(np.squeeze(read.transpose(1, 2, 0)), expected)


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path, caplog):
    frames = [Image.fromarray(image) for image in GREY[:3]]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as opened:
        expected = np.asarray(opened.convert("RGB")).transpose(2, 0, 1)
    with caplog.at_level(logging.INFO, "boltzwalk"):
        np.testing.assert_array_equal(levels(tmp_path)[0], np.broadcast_to(expected, (3, 6, 6)))
    assert "1 with several frames" in caplog.text


def test_mixed_sizes_are_scaled_and_cropped_as_pillow_does_and_it_is_logged(tmp_path, caplog):
    from PIL import ImageOps

    save(tmp_path, [RNG.integers(0, 256, shape, dtype=np.uint8) for shape in ((9, 12), (20, 8))])
    with caplog.at_level(logging.INFO, "boltzwalk"):
        read = levels(tmp_path, size=4)
    for image, name in zip(read, ("00.png", "01.png"), strict=True):
        with Image.open(tmp_path / name) as opened:
            expected = np.asarray(ImageOps.fit(opened, (4, 4), Image.Resampling.LANCZOS))
        np.testing.assert_array_equal(image[0], expected)
    assert "scaled and cropped from 9x8 to 20x12" in caplog.text


def model_data(tmp_path, **settings):
    np.save(tmp_path / "train.npy", GREY)
    return Images(str(tmp_path / "train.npy"), split=(1, 0, 0), **settings).load()


@pytest.mark.parametrize(("low", "factor"), [(0, r"x \* 255"), (-1, r"\(x \+ 1\) \* 127.5")])
@pytest.mark.parametrize("shape", [(12, 1, 6, 6), (12, 6, 6)])
def test_fractions_are_no_grey_levels_for_a_model(tmp_path, low, factor, shape):
    data = model_data(tmp_path)
    unit = (low + (1 - low) * (GREY / 255)).astype(np.float32).reshape(shape)
    np.save(tmp_path / "new.npy", unit)
    readers = [lambda path: read_partial(path, data)]
    if shape == (12, 1, 6, 6):
        readers.append(lambda path: load_external_rows(path, data, torch.Generator()))
    for read in readers:
        with pytest.raises(ValueError, match=factor):
            read(tmp_path / "new.npy")


def test_floats_in_original_units_are_scored(tmp_path):
    data = model_data(tmp_path)
    np.save(tmp_path / "new.npy", GREY[:, None].astype(np.float32))
    rows = load_external_rows(tmp_path / "new.npy", data, torch.Generator())
    torch.testing.assert_close(rows, data.train)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_levels_of_a_model_of_two_are_levels_and_pictures_are_pictures(tmp_path, dtype):
    np.save(tmp_path / "train.npy", BINARY.astype(np.uint8))
    data = Images(str(tmp_path / "train.npy"), levels=2, split=(1, 0, 0)).load()
    np.save(tmp_path / "new.npy", BINARY.astype(dtype))
    save(tmp_path / "levels", BINARY.astype(np.uint8))
    save(tmp_path / "pictures", (255 * BINARY).astype(np.uint8))
    for name in ("new.npy", "levels", "pictures"):
        rows = load_external_rows(tmp_path / name, data, torch.Generator())
        torch.testing.assert_close(rows, data.train)
        torch.testing.assert_close(read_partial(tmp_path / name, data).float()[:, 0],
                                   torch.from_numpy(BINARY).float())  # fmt: skip


def test_binarised_pictures_are_refused_by_a_model_of_256_levels(tmp_path):
    data = model_data(tmp_path)
    np.save(tmp_path / "new.npy", BINARY.astype(np.uint8))
    save(tmp_path / "folder", BINARY.astype(np.uint8))
    for name in ("new.npy", "folder"):
        with pytest.raises(ValueError, match=r"scale them to the grey levels 0 to 255"):
            load_external_rows(tmp_path / name, data, torch.Generator())


def test_one_image_file_is_scored(tmp_path):
    data = model_data(tmp_path)
    save(tmp_path / "new", GREY[:2])
    rows = load_external_rows(tmp_path / "new" / "00.png", data, torch.Generator())
    torch.testing.assert_close(rows, data.train[:1])


def test_senseless_settings():
    for settings, message in (
        ({"levels": 1}, "levels must be from 2 to 256, got 1"),
        ({"levels": 300}, "got 300"),
        ({"value_range": (1, 0)}, r"the smaller first, got \(1, 0\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Images("photos", **settings)


@pytest.mark.parametrize("low", [0, -1])
def test_pictures_are_no_numbers_of_a_model_of_fractions(tmp_path, low):
    """Images in memory in [0, 1]: a picture of 0 to 255 would be far outside."""
    data = Dataset.of(torch.from_numpy(low + (1 - low) * (GREY[:, None] / 255)).float())
    save(tmp_path, GREY)
    for read in (lambda: load_external_rows(tmp_path, data, torch.Generator()),
                 lambda: read_partial(tmp_path, data)):  # fmt: skip
        with pytest.raises(ValueError, match=r"must be grey levels .*got numbers up to 1"):
            read()


def test_equal_images_stay_in_one_split_and_are_counted(tmp_path, caplog):
    images = RNG.integers(0, 256, (60, 4, 4), dtype=np.uint8)
    images[40:] = images[:20]
    np.save(tmp_path / "a.npy", images)
    settings = Images(str(tmp_path / "a.npy"), split=(0.5, 0.25, 0.25))
    with caplog.at_level(logging.INFO, "boltzwalk"):
        data = settings.load()
    assert "20 images repeat another, equal images are in one split" in caplog.text
    parts = [data.to_original(part).flatten(1) for part in (data.train, data.validation, data.test)]
    known = [{tuple(row) for row in part.tolist()} for part in parts]
    assert sum(map(len, parts)) == 60
    assert not known[0] & known[1]
    assert not known[0] & known[2]
    assert not known[1] & known[2]
    apart = Images(settings.path, split=settings.split, repeats="anywhere").load()
    train, test = (
        {tuple(row) for row in apart.to_original(part).flatten(1).tolist()}
        for part in (apart.train, apart.test)
    )
    assert train & test
