"""Files that are whole or not there, and checksums that notice every flipped bit."""

import json
import os

import pytest
import torch

from boltzwalk.checkpoint import load_checkpoint, save_checkpoint
from boltzwalk.durable import append_line, write_atomically, write_once
from boltzwalk.sealed import open_object, open_text, seal_object, seal_text
from boltzwalk.training.rows import append_row, read_rows


def flips(content):
    """The content with one bit flipped: two of each byte, and of every eighth byte all."""
    for place in range(len(content)):
        for bit in range(8) if place % 8 == 0 else (place % 8, (3 * place + 1) % 8):
            yield bytes((*content[:place], content[place] ^ 1 << bit, *content[place + 1 :]))


def opened(read, *problems):
    """The result of a reader; None where it refuses."""
    try:
        return read()
    except problems:
        return None


def test_every_flipped_bit_of_a_checkpoint_is_refused_or_harmless(tmp_path):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, {"w": torch.tensor([1.5, -2.0]), "n": torch.tensor(3)}, {"update": "7"})
    content = path.read_bytes()
    refused, made = 0, list(flips(content))
    for damaged in made:
        path.write_bytes(damaged)
        found = opened(lambda: load_checkpoint(path), ValueError)
        refused += found is None
        if found is not None:
            tensors, text = found
            assert tensors["w"].tolist() == [1.5, -2.0]
            assert int(tensors["n"]) == 3
            assert text == {"update": "7"}
    assert refused > 0.98 * len(made)  # but for blanks that fill the header


def test_a_checkpoint_of_an_older_version_has_no_checksum(tmp_path):
    from safetensors.torch import save

    path = tmp_path / "x.safetensors"
    path.write_bytes(save({"w": torch.ones(2)}, {"boltzwalk": json.dumps({"update": "7"})}))
    assert load_checkpoint(path)[1] == {"update": "7"}
    path.write_bytes(save({"w": torch.tensor([torch.nan])}, {"boltzwalk": "{}"}))
    with pytest.raises(ValueError, match="w is not finite"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "header", ["[]", "3", '"a"', "null", "[" * 5000, '{"a": 1}', '{"sha256": "", "text": {}}', "{"]
)
def test_headers_of_another_form_are_one_error(tmp_path, header):
    from safetensors.torch import save

    path = tmp_path / "x.safetensors"
    path.write_bytes(save({"w": torch.ones(2)}, {"boltzwalk": header}))
    with pytest.raises(ValueError, match="a checkpoint must be a whole safetensors file, got"):
        load_checkpoint(path)


def test_every_flipped_bit_of_a_row_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    append_row(path, {"update": 12, "loss": -0.125, "gap": float("nan")})
    [line] = path.read_bytes().splitlines(keepends=True)
    for damaged in flips(line[:-1]):
        path.write_bytes(damaged + b"\n")
        with pytest.warns(UserWarning, match=r"line 1( and|,|) ?.*of \d: damaged, and left out"):
            assert read_rows(path) == [], damaged


def test_every_flipped_bit_of_a_text_is_refused():
    sealed = seal_text("batch: 16\nseed: 1\n").encode()
    assert open_text(sealed) == "batch: 16\nseed: 1\n"
    assert {opened(lambda d=d: open_text(d), ValueError) for d in flips(sealed)} == {None}
    for size in range(1, len(sealed)):
        assert opened(lambda n=size: open_text(sealed[:n]), ValueError) is None


def test_objects_without_a_checksum_are_read_and_others_are_not():
    assert open_object('{"a": [1, 2]}') == {"a": [1, 2]}
    assert open_object(seal_object(json.dumps({"a": 1}, indent=1))) == {"a": 1}
    for text in ("[1]", "3", "{", "[" * 9999, '{"a": 1, "checksum": "00"}', b"\xff"):
        with pytest.raises(ValueError):
            open_object(text)


def test_temporaries_are_new_files_and_follow_no_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for number in range(2):
        (tmp_path / f".x.{os.getpid()}.{number}").symlink_to(victim)
    write_atomically(tmp_path / "x", b"new")
    assert write_once(tmp_path / "y", b"first")
    assert not write_once(tmp_path / "y", b"second")
    assert victim.read_text() == "mine"
    assert ((tmp_path / "x").read_bytes(), (tmp_path / "y").read_bytes()) == (b"new", b"first")
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        append_line(tmp_path / "log.jsonl", "{}")
    assert not (tmp_path / "elsewhere").exists()


def test_a_line_that_was_cut_short_is_dropped_by_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"update": 1}\n{"upd')
    append_line(path, '{"update": 2}')
    assert read_rows(path) == [{"update": 1}, {"update": 2}]


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    write_atomically(tmp_path / ("x" * 255), b"new")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
