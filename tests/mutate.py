"""Damages copies of the package in one place at a time and asks whether a test notices.

    python tests/mutate.py                           # all domain mutants, 60 sites of operators
    python tests/mutate.py --room kernels --sample 20 --jobs 2
    python tests/mutate.py --only temperature

Two sorts of damage: domain mutants, written by hand in `mutation/domain.txt` (the missing factor,
the wrong weight), and changes of the syntax, sampled over all rooms (`mutation/operators.py`). Each
is made in a copy of the project. There the doctests of the damaged module run, the tests that name
what is damaged, then all others of its room, until one fails; a test counts only if it passes
without the damage. Exits with 1 if a domain mutant is lost or not killed.
"""

import argparse
import ast
import collections
import functools
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

from mutation import operators, patterns, source

AROUND = 6
"""Test files of other rooms, at most, that run because they name what is damaged.

Three times as many for a room without tests of its own."""

WITHOUT = {"claims", "browser", "end_to_end", "test_docs.py", "test_mutants.py"}
"""Tests that take minutes, and the one that reads the text of the package."""


LIBRARIES = (
    "beartype",
    "matplotlib.pyplot",
    "pydantic",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.neural_network",
    "typer",
    "yaml",
    "zuko",
)
"""Imported once; none that is a plugin of pytest."""


class Mutant(NamedTuple):
    """A damaged module and the words for it."""

    sort: str
    title: str
    module: str
    function: str
    text: str


def domain_mutants(room: str, only: str) -> list[Mutant]:
    """The mutants of the table; raises LookupError if one of them is lost."""
    mutants = []
    for damage in patterns.read(patterns.TABLE.read_text()):
        module, tree = patterns.damaged(damage)
        if room in ("", source.room(module)) and only in str(damage):
            text = ast.unparse(tree)
            mutants.append(Mutant("domain", str(damage), module, damage.function, text))
    return mutants


def operator_mutants(room: str, only: str, n: int, seed: int) -> list[Mutant]:
    """A sample of the changes that operators make."""
    rooms = operators.by_room()
    for name, sites in rooms.items():
        rooms[name] = [s for s in sites if room in ("", name) and only in str(s)]
    return [
        Mutant("operator", str(site), site.module, site.function, ast.unparse(site.tree()))
        for site in operators.sample(rooms, n, seed)
    ]


@functools.cache
def texts() -> dict[str, str]:
    """The text of each test file, by its path in the project."""
    paths = sorted((source.ROOT / "tests").rglob("test_*.py"))
    names = {path: path.relative_to(source.ROOT) for path in paths}
    return {str(names[p]): p.read_text() for p in paths if not WITHOUT & set(names[p].parts)}


def relevant_tests(mutant: Mutant) -> list[str]:
    """What to run: those that know the damaged function best come first."""
    room, name = source.room(mutant.module), mutant.function.split(".")[0]
    public = [name for name, _ in source.definitions(source.modules()[mutant.module])]
    public = [name for name in public if not name.startswith("_") and "." not in name]
    words = [name] if name in public and room != source.TOP else public
    dotted = "boltzwalk." + mutant.module.removesuffix(".py").replace("/", ".")
    named = re.compile(rf"\b({'|'.join(map(re.escape, [dotted, *words]))})\b")
    mentions = {path: len(named.findall(text)) for path, text in texts().items()}
    inside = [path for path in mentions if str(Path(path).parent) == f"tests/{room}"]
    inside.sort(key=lambda path: -mentions[path])
    outside = [path for path in mentions if path not in inside and mentions[path]]
    outside.sort(key=lambda path: -mentions[path])
    first = [path for path in inside if mentions[path]]
    last = [path for path in inside if not mentions[path]]
    return [
        f"src/boltzwalk/{mutant.module}",
        *first,
        *outside[: AROUND if inside else 3 * AROUND],
        *last,
    ]


def copy_project(folder: Path) -> None:
    """Copies all files that belong to the project."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source.ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (source.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.ROOT / name, folder / name)


class Failures:
    """Plugin of pytest that lists the tests that fail."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: object) -> None:
        if report.failed:
            self.names.append(report.nodeid)


def start(folder: Path, arguments: list[str], seconds: int) -> int:
    """Forks a process that runs pytest in the folder, and returns its number."""
    child = os.fork()
    if child == 0:
        try:  # whatever happens, the child ends here and not in the loop of its parent
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            _test(folder, arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    return child


def _test(folder: Path, arguments: list[str]) -> None:
    """Runs pytest in this process, with the damaged package in front of the path."""
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    sys.path[0] = str(folder / "src")
    os.environ["PYTHONPATH"] = sys.path[0]
    sys.dont_write_bytecode = False
    import pytest

    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "hypothesispytest", "xdist")]
    failures = Failures()
    code = int(pytest.main(["-q", "--tb=line", *without, *arguments], plugins=[failures]))
    loaded = Path(sys.modules["boltzwalk"].__file__ or "").resolve()
    assert loaded.is_relative_to(folder.resolve()), loaded
    (folder / "result.json").write_text(json.dumps([code, failures.names]))


def verdict(folder: Path, status: int) -> str:
    """What became of a mutant: "killed by ...", "SURVIVED", "TIMEOUT" or "BROKEN ..."."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return "TIMEOUT"
    output = (folder / "output.txt").read_text()
    if not (folder / "result.json").exists():
        return f"BROKEN: the process ended\n{output[-2000:]}"
    code, failures = json.loads((folder / "result.json").read_text())
    if code == 0:
        return "SURVIVED"
    if failures:
        return f"killed by {failures[0]}"
    if "rror" in output:
        return "killed by the import of the package"
    return f"BROKEN: pytest exits with {code}\n{output[-2000:]}"


def failing_undamaged(undamaged: Path, tests: list[str]) -> set[str]:
    """Those of the tests that fail where nothing is damaged."""
    files = sorted({test.split("[")[0] for test in tests})
    if files:
        os.waitpid(start(undamaged, files, 3600), 0)
        return set(json.loads((undamaged / "result.json").read_text())[1])
    return set()


def judge(mutants: list[Mutant], jobs: int, seconds: int) -> list[tuple[Mutant, str]]:
    """Tests the mutants, several at a time, and prints each verdict."""
    running: dict[int, tuple[Mutant, Path]] = {}
    waiting, verdicts = mutants[::-1], []
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        undamaged = Path(name) / "undamaged"
        copy_project(undamaged)
        os.waitpid(start(undamaged, ["--collect-only", "tests"], 600), 0)  # compiles all once
        while waiting or running:
            if waiting and len(running) < jobs:
                mutant, folder = waiting.pop(), Path(name) / str(len(waiting))
                shutil.copytree(undamaged, folder, ignore=shutil.ignore_patterns("result.json"))
                (folder / "src" / "boltzwalk" / mutant.module).write_text(mutant.text)
                running[start(folder, ["-x", *relevant_tests(mutant)], seconds)] = mutant, folder
                continue
            pid, status = os.wait()
            mutant, folder = running.pop(pid)
            words = verdict(folder, status)
            verdicts.append((mutant, words))
            print(f"{len(verdicts):3d} {mutant.title}\n    {words}", flush=True)
            shutil.rmtree(folder)
        killers = [words.removeprefix("killed by ") for _, words in verdicts if "::" in words]
        wrong = {f"killed by {test}" for test in failing_undamaged(undamaged, killers)}
    return [(m, f"BROKEN: undamaged too, {w}" if w in wrong else w) for m, w in verdicts]


def report(verdicts: list[tuple[Mutant, str]]) -> int:
    """Prints the counts by room and those that are not killed; returns the exit code."""
    counts = collections.Counter((source.room(m.module), words.split()[0]) for m, words in verdicts)
    print("\nroom           killed survived timeout broken")
    for room in sorted({room for room, _ in counts}):
        row = [counts[room, word] for word in ("killed", "SURVIVED", "TIMEOUT", "BROKEN:")]
        print(f"{room:14s} {row[0]:6d} {row[1]:8d} {row[2]:7d} {row[3]:6d}")
    for mutant, words in verdicts:
        if not words.startswith("killed"):
            print(f"{words.split()[0]:8s} {mutant.sort} {mutant.title}")
    return int(any(m.sort == "domain" and not v.startswith("killed") for m, v in verdicts))


def load_libraries() -> None:
    """Imports once what the tests need, so that a forked process starts at once."""
    sys.dont_write_bytecode = True
    import torch

    torch.testing.assert_close(torch.func.grad(torch.square)(torch.ones(())), torch.tensor(2.0))
    torch.distributions.Normal(0.0, 1.0)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    for name in LIBRARIES:
        importlib.import_module(name)
    torch.set_num_threads(1)  # a fork of a process with threads may hang


def main() -> int:
    """Reads the command line, judges the mutants and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", default="", help="mutants of one folder of the package alone")
    parser.add_argument("--only", default="", help="those whose title contains this text")
    parser.add_argument("--sample", type=int, default=60, help="sites of operators (60)")
    parser.add_argument("--domain", type=int, help="domain mutants, at random (all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (1)")
    parser.add_argument("--seconds", type=int, default=300, help="processor time for each (300)")
    args = parser.parse_args()
    domain = domain_mutants(args.room, args.only)
    if args.domain is not None and args.domain < len(domain):
        domain = random.Random(args.seed).sample(domain, args.domain)
    sampled = operator_mutants(args.room, args.only, args.sample, args.seed)
    print(f"{len(domain)} domain mutants, {len(sampled)} sites of operators", flush=True)
    load_libraries()
    return report(judge([*domain, *sampled], args.jobs, args.seconds))


if __name__ == "__main__":
    sys.exit(main())
