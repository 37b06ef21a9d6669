"""The Python of README and docs runs, the settings of their commands exist, their links work."""

import re
import tomllib
from pathlib import Path

import pytest

import boltzwalk
from boltzwalk.cli.arguments import parse_assignments
from boltzwalk.recipes import RECIPES
from boltzwalk.recipes.lookup import resolved_settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_ELSEWHERE = ("your_own",)  # by test_your_own, in order


def blocks():
    for page in PAGES:
        if page.stem in RUN_ELSEWHERE:
            continue
        for i, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)):
            yield pytest.param(code, id=f"{page.stem}-{i}")


@pytest.mark.parametrize("code", list(blocks()))
def test_the_python_of_a_page_runs(code):
    exec(compile(re.sub(r"updates=\d+", "updates=10", code), "page", "exec"), {})


def commands():
    for page in PAGES:
        for line in re.findall(r"^boltzwalk train (.*)$", page.read_text(), re.MULTILINE):
            words = line.split("#")[0].split()
            if words[0] in RECIPES and ".py:" not in line:  # code of users: by test_your_own
                yield pytest.param(words, id=" ".join(words))


@pytest.mark.parametrize("words", list(commands()))
def test_the_settings_of_a_command_exist(words):
    flags = {"--dry-run", "--name"}
    named = [word for i, word in enumerate(words[1:]) if words[i] != "--name"]
    resolved_settings(words[0], parse_assignments([word for word in named if word not in flags]))


def test_every_link_of_a_page_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == boltzwalk.__version__ == "0.2.0"
