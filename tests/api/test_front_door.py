"""`import boltzwalk`: light, lazy and complete."""

import importlib.util
import json
import pydoc
import subprocess
import sys

import pytest

import boltzwalk as bw

HAS_ESTIMATORS = importlib.util.find_spec("boltzwalk.estimators") is not None
ROOMS = ["estimators"] if HAS_ESTIMATORS else []


def fresh(program):
    """The JSON that a program prints in a fresh process."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_import_loads_nothing_heavy():
    before, after = fresh(
        "import json, sys, typing, importlib; before = list(sys.modules)\n"
        "import boltzwalk; print(json.dumps([before, list(sys.modules)]))"
    )
    heavy = {"torch", "numpy", "scipy", "sklearn", "pydantic", "yaml", "matplotlib"}
    assert not heavy & set(after)
    assert set(after) - set(before) <= {"boltzwalk", "__future__"}


FUNCTIONS = ("train", "complete", "evaluate", "report", "load")


@pytest.mark.skipif(not HAS_ESTIMATORS, reason="help() loads every name")
def test_dir_help_and_functions_do_not_depend_on_the_modules_that_are_imported():
    names, loaded, text, kinds = fresh(
        "import json, sys, boltzwalk as bw, pydoc\n"
        "names = dir(bw); loaded = 'torch' in sys.modules\n"
        "import boltzwalk.training.run, boltzwalk.completion, boltzwalk.evaluation\n"
        "import boltzwalk.reporting\n"
        "from boltzwalk import train\n"
        f"kinds = [type(getattr(bw, name)).__name__ for name in {FUNCTIONS}]\n"
        "assert train is bw.train\n"
        "print(json.dumps([names, loaded, pydoc.plain(pydoc.render_doc(bw)), kinds]))"
    )
    assert not loaded
    assert set(bw.__all__) | {"__version__", "estimators"} == set(names)
    for name in bw.__all__:
        assert name in text, name
    assert "import boltzwalk as bw" in text
    assert kinds == ["function"] * len(FUNCTIONS)


@pytest.mark.parametrize("name", [*bw.__all__, *ROOMS])
def test_every_public_name_exists_and_has_a_docstring(name):
    value = getattr(bw, name)
    assert pydoc.getdoc(value), name
    assert getattr(bw, name) is value


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"no attribute 'tain'; see dir\(boltzwalk\)"):
        bw.tain  # noqa: B018
    assert not hasattr(bw, "nets")


@pytest.mark.parametrize(
    "room", ["bases", "data", "energies", "kernels", "methods", "networks", "recipes", "settings"]
)
def test_every_name_of_a_room_resolves(room):
    module = getattr(bw, room)
    assert module.__all__
    assert all(getattr(module, name) is not None for name in module.__all__)
