"""References name classes and functions of imported modules, and resolving imports nothing."""

import sys
from email.message import Message

import pytest

from boltzwalk.references import digest_of, file_of, import_file, reference, resolve


class Top:
    class Inner:
        pass

    @staticmethod
    def helper():
        pass


def double(x):
    return 2 * x


@pytest.fixture
def write(tmp_path):
    names = set(sys.modules)
    paths = list(sys.path)

    def make(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield make
    for name in set(sys.modules) - names:
        del sys.modules[name]
    assert sys.path == paths


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (Top, "test_references.py:Top"),
        (Top.Inner, "test_references.py:Top.Inner"),
        (Top.helper, "test_references.py:Top.helper"),
        (double, "test_references.py:double"),
        (Message, "email.message:Message"),
        (len, "builtins:len"),
    ],
)
def test_a_reference_resolves_to_its_object(obj, text):
    assert reference(obj) == text
    assert resolve(text) is obj


def test_objects_without_a_name_of_their_own_are_refused():
    def local():
        pass

    class Net:
        pass

    impostor = type("Top", (), {"__module__": __name__})
    for obj in (local, Net, lambda: 0):
        with pytest.raises(ValueError, match="at the top level of a file"):
            reference(obj)
    with pytest.raises(ValueError, match="got another object"):
        reference(impostor)
    with pytest.raises(ValueError, match="must be to a class or a function"):
        reference(3)


@pytest.mark.parametrize(
    "ref", ["", "Net", ":Net", "a.py:", "a.py:b c", "a.py:f()", "email.message:Message:x"]
)
def test_text_that_is_no_reference_is_refused(ref):
    with pytest.raises(LookupError, match="must have the form"):
        resolve(ref)


def test_resolving_imports_nothing(write):
    path = write("not_imported.py", "raise SystemExit('this code ran')")
    sys.path.insert(0, str(path.parent))
    before = set(sys.modules)
    try:
        for ref in ("not_imported.py:Net", "not_imported:Net", f"{path}:Net", "wave:open"):
            with pytest.raises(LookupError, match="not imported"):
                resolve(ref)
    finally:
        sys.path.remove(str(path.parent))
    assert set(sys.modules) == before


def test_resolving_runs_no_getattr_of_a_module(write):
    path = write("lazy_names.py", "def __getattr__(name):\n    raise SystemExit('this code ran')\n")
    import_file(path)
    with pytest.raises(LookupError, match=r"lazy_names\.py is imported and has no Net"):
        resolve("lazy_names.py:Net")


def test_a_file_is_imported_once_and_its_neighbours_with_it(write):
    path = write("first_model.py", "import second_model\nclass Net: part = second_model.Part\n")
    write("second_model.py", "class Part: pass\n")
    module = import_file(path)
    assert module is import_file(path)
    assert module is sys.modules["first_model"]
    assert reference(module.Net) == "first_model.py:Net"
    assert reference(module.Net.part) == "second_model.py:Part"
    assert resolve(f"{path}:Net") is module.Net
    assert file_of(module.Net) == path.resolve()


def test_files_of_one_name_are_told_apart_by_their_folders(write):
    one, two = (
        write("one/same_name.py", "class Net: n = 1"),
        write("two/same_name.py", "class Net: n = 2"),
    )
    first, second = import_file(one), import_file(two)
    assert (first.Net.n, second.Net.n) == (1, 2)
    assert resolve(f"{one}:Net") is first.Net
    assert resolve(f"{two}:Net") is second.Net
    with pytest.raises(LookupError, match=r"fits several imported modules.*write the full path"):
        resolve("same_name.py:Net")


def test_a_file_does_not_hide_a_module_that_has_its_name(write):
    path = write("wave.py", "class Net: pass")  # not imported yet, and part of Python
    assert "wave" not in sys.modules
    module = import_file(path)
    assert module.__name__ != "wave"
    assert "wave" not in sys.modules
    assert resolve("wave.py:Net") is module.Net


def test_a_file_that_fails_leaves_nothing_behind(write):
    path = write("broken_model.py", "raise ZeroDivisionError")
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        import_file(path)
    assert set(sys.modules) == before


def test_only_python_files_that_exist_are_imported(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        import_file(tmp_path / "missing.py")
    with pytest.raises(ValueError, match="must be named like a module"):
        import_file(write("my-models.py", ""))
    with pytest.raises(ValueError, match="must be named like a module"):
        import_file(write("models.txt", ""))


def test_the_digest_is_that_of_the_bytes(write):
    path = write("a.py", "abc")
    assert digest_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
