"""Settings files and run folders of version 0.1.0 keep their meaning.

The files were written by the last version before modules and settings got other names; how, is in
README.md of this folder.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from boltzwalk.data import Images, Table
from boltzwalk.energies.conditional import conditioned_on
from boltzwalk.recipes import RECIPES
from boltzwalk.settings.settings import from_yaml, to_yaml
from boltzwalk.training.run import open_run

HERE = Path(__file__).parent
SETTINGS = sorted((HERE / "settings").glob("*.yaml"))
FOLDERS = sorted((HERE / "folders").iterdir())

RTOL = 1e-4
"""Processors add float32 numbers in other orders."""


@pytest.fixture
def folder(request, tmp_path, monkeypatch):
    """A copy of a run folder, the table that some were trained on below the root of the data."""
    monkeypatch.setenv("BOLTZWALK_DATA", str(HERE))
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield Path(shutil.copytree(request.param, tmp_path / request.param.name))
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


def of_then(settings):
    """Settings with those of a table or images that came later as they were without them."""
    if not isinstance(settings.data, Table | Images):
        return settings
    former = {"repeats": "anywhere"}
    if isinstance(settings.data, Table):
        former |= {"shrinkage": False, "tails": "keep", "index": "keep"}
    return replace(settings, data=replace(settings.data, **former))


def floats(values):
    return torch.tensor(values, dtype=torch.float32)


def expected_of(path):
    return json.loads((path / "expected.json").read_text())


def test_there_is_a_file_for_every_recipe_of_then():
    assert len(SETTINGS) == 45
    assert len(FOLDERS) == 9


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: path.stem)
def test_settings_are_those_of_the_recipe(path):
    settings = from_yaml(path.read_text(), path)
    name = {"table": "table_walkers"}.get(path.stem, path.stem)  # a recipe with another name now
    assert settings == of_then(RECIPES[name]())
    assert from_yaml(to_yaml(settings)) == settings


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name, indirect=True)
def test_a_run_has_the_same_energies(folder):
    run, expected = open_run(folder), expected_of(folder)
    assert run.update == expected["update"]
    x = floats(expected["rows"])
    c = conditions(run, x, expected)
    with torch.no_grad():
        energies = conditioned_on(run.model().module, c)(x)
    close(energies, expected["energies"])


@pytest.mark.parametrize(
    "folder",
    [path for path in FOLDERS if "latents" in expected_of(path)],
    ids=lambda path: path.name,
    indirect=True,
)
def test_a_base_decodes_the_same_events(folder):
    run, expected = open_run(folder), expected_of(folder)
    c = conditions(run, floats(expected["rows"]), expected)
    with torch.no_grad():
        decoded = conditioned_on(run.method.base, c).decode(floats(expected["latents"]))
    close(decoded, expected["decoded"])


@pytest.mark.parametrize("folder", [HERE / "folders" / "witness"], indirect=True)
def test_a_witness_has_the_same_weights(folder):
    close(open_run(folder).witness.log_w[:5], expected_of(folder)["witness_log_w"])


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_the_expected_numbers_tell_rows_apart(path):
    energies = torch.tensor(expected_of(path)["energies"])
    assert len(energies) == 5
    gaps = (energies[:, None] - energies).abs() + torch.eye(5)
    assert gaps.min() > 10 * RTOL * energies.abs().max()
    yaml.safe_load((path / "settings.yaml").read_text())


def conditions(run, x, expected):
    """The conditions under which the expected numbers hold; None where there are none."""
    condition = run.method.condition
    if "labels" in expected:
        return condition.of_labels(torch.tensor(expected["labels"]))
    if "hidden" in expected:
        return condition.masked(x, torch.tensor(expected["hidden"]).expand_as(x))
    return None


def close(values, expected):
    torch.testing.assert_close(
        values.double(), torch.tensor(expected).double(), rtol=RTOL, atol=RTOL
    )
