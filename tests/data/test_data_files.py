import hashlib
import socket
from pathlib import Path

import numpy as np
import pytest

from boltzwalk.data import files
from boltzwalk.data.files import (
    RemoteFile,
    data_root,
    download_if_missing,
    find_user_path,
    locate,
    read_array,
)
from boltzwalk.recipes.lookup import settings_from

CONTENT = b"the published file"
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def public(tmp_path):
    """A public file."""
    path = tmp_path / "server" / "set.gz"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def everything_below(path):
    return sorted(str(p.relative_to(path)) for p in Path(path).rglob("*") if p.is_file())


def test_the_root_is_the_setting_then_the_variable_then_data(monkeypatch):
    monkeypatch.setenv("BOLTZWALK_DATA", "/from/variable")
    assert data_root("/from/setting") == Path("/from/setting")
    assert data_root(None) == Path("/from/variable")
    monkeypatch.delenv("BOLTZWALK_DATA")
    assert data_root(None) == Path("data")
    assert data_root("~/sets") == Path.home() / "sets"


def test_files_are_found_in_the_usual_places_in_order(tmp_path):
    assert locate(tmp_path, "SET", "a.gz") is None
    for place in (".", "raw", "SET", "SET/raw"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for name in ("a", "a.gz"):
            (tmp_path / place / name).write_bytes(b"")
            assert locate(tmp_path, "SET", "a.gz") == tmp_path / place / name


def test_a_file_that_is_there_is_not_downloaded(tmp_path, no_network):
    (tmp_path / "set.gz").write_bytes(b"mine")
    assert (
        download_if_missing(
            str(tmp_path), "SET", RemoteFile("set.gz", ("x://y",), DIGEST)
        ).read_bytes()
        == b"mine"
    )


def test_download_puts_the_checked_file_in_place(tmp_path, public):
    root = tmp_path / "root"
    remote = RemoteFile("set.gz", ("file:///not/there", public.as_uri()), DIGEST)
    path = download_if_missing(str(root), "SET", remote)
    assert path == root / "SET" / "raw" / "set.gz"
    assert path.read_bytes() == CONTENT
    assert everything_below(root) == ["SET/raw/set.gz"]
    public.unlink()
    assert download_if_missing(str(root), "SET", remote) == path


def test_a_download_with_another_digest_is_refused_and_leaves_nothing(tmp_path, public):
    public.write_bytes(CONTENT + b"!")
    root = tmp_path / "root"
    with pytest.raises(ValueError, match=f"must have the sha256 {DIGEST[7:]}, got"):
        download_if_missing(str(root), "SET", RemoteFile("set.gz", (public.as_uri(),), DIGEST))
    assert everything_below(root) == []


def test_a_download_that_takes_too_long_is_given_up_and_leaves_nothing(
    tmp_path, public, monkeypatch
):
    monkeypatch.setattr(files, "DEADLINE_S", -1.0)
    with pytest.raises(FileNotFoundError, match="not complete after"):
        download_if_missing(
            str(tmp_path / "root"), "SET", RemoteFile("set.gz", (public.as_uri(),), DIGEST)
        )
    assert everything_below(tmp_path / "root") == []


@pytest.mark.timeout(60)  # for ever, were it not given up
def test_a_silent_server_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(files, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/set.gz"
        with pytest.raises(FileNotFoundError, match="timed out"):
            download_if_missing(str(tmp_path), "SET", RemoteFile("set.gz", (url,), DIGEST))


def test_without_network_the_error_says_what_to_put_where(tmp_path, no_network):
    with pytest.raises(FileNotFoundError) as info:
        download_if_missing(
            str(tmp_path), "SET", RemoteFile("set.gz", ("https://x/set.gz",), DIGEST)
        )
    for part in (
        tmp_path / "SET" / "raw" / "set.gz",
        "https://x/set.gz",
        "data.root=",
        "BOLTZWALK",
    ):
        assert str(part) in str(info.value)


def test_a_place_that_cannot_be_written_is_said(tmp_path, public):
    (tmp_path / "root").write_text("a file, not a folder")
    with pytest.raises(FileNotFoundError, match=r"set.gz.*could not be downloaded"):
        download_if_missing(
            str(tmp_path / "root"), "SET", RemoteFile("set.gz", (public.as_uri(),), DIGEST)
        )


def test_own_files_are_found_as_given_or_below_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("BOLTZWALK_DATA", str(tmp_path))
    (tmp_path / "mine.csv").write_text("1")
    assert find_user_path(str(tmp_path / "mine.csv"), None) == tmp_path / "mine.csv"
    assert find_user_path("mine.csv", None) == tmp_path / "mine.csv"


@pytest.mark.parametrize("path", ["not/there.csv", ""])
def test_own_files_that_are_nowhere(path):
    with pytest.raises(FileNotFoundError, match=rf"got '{path}'.*write data.path="):
        find_user_path(path, None)


def damaged(content, rng):
    """Copies of a file with flipped bytes, cut ends and bytes written over."""
    for i in range(60):
        data = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(min(len(data), 200 if i % 2 else len(data))))] = int(
                rng.integers(256)
            )
        yield bytes(data[: int(rng.integers(1, len(data)))]) if i % 5 == 0 else bytes(data)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_damaged_arrays_are_read_or_refused_by_one_error(tmp_path, suffix):
    """Also as the argument of `train`, which looks at their shape first."""
    rng = np.random.default_rng(0)
    path, x = tmp_path / f"x{suffix}", rng.normal(size=(30, 3))
    np.save(path, x) if suffix == ".npy" else np.savez_compressed(path, x=x, y=x)
    outcomes = set()
    for content in damaged(path.read_bytes(), rng):
        path.write_bytes(content)
        for read in (lambda: read_array(path, "x"), lambda: settings_from(str(path))):
            try:
                read()
            except ValueError as error:
                outcomes.add(str(error))
            else:
                outcomes.add("read")
    assert "read" in outcomes
    assert len(outcomes) > 10
    assert not any("allow_pickle" in text for text in outcomes)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000, 1000), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 3000 + ")" * 3000 + ", }",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': 'x', }",
        "__import__('os').system('true')",
    ],
)
def test_headers_that_lie_are_refused(tmp_path, header):
    path = tmp_path / "x.npy"
    text = header.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(80))
    with pytest.raises(ValueError, match=r"must be a complete \.npy or \.npz file of numbers"):
        read_array(path, None)


def test_an_array_that_unpacks_beyond_the_limit_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((500, 500)))
    assert read_array(path, None).shape == (500, 500)
    with pytest.raises(ValueError, match=r"must unpack to at most 0\.001 GB"):
        read_array(path, None, unpacked_gb=0.001)
