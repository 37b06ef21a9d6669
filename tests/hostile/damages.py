"""Random damages of files, and commands that are run after each: none may fail unnoticed.

A damage has a number, from which it can be made again: ``python tests/hostile/damages.py 1234``.
"""

import contextlib
import random
import shutil
import signal
import sys
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from boltzwalk import api
from boltzwalk.bases import Flow, FlowEnergy
from boltzwalk.cli import app
from boltzwalk.data import Table
from boltzwalk.kernels import MALA
from boltzwalk.methods import MaximumLikelihood
from boltzwalk.settings.optimizers import Adam
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.study.outcome import read_outcomes
from boltzwalk.study.storage import open_study
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import checkpoints

SECONDS, LONGEST_S = 30, 300
"""Seconds of the processor, and of the clock, after which a command hangs."""

DAMAGES = ("bit", "bits", "bytes", "truncated", "zeros", "swapped", "deleted", "longer", "empty")

STUDY = """
recipe: toy
settings: ["energy.network.widths=[4]", data.n=100, steps=1, updates=4, batch=8, average=0, size=20]
samples: 20
seeds: [0, 1]
blocks:
  grid:
    axes:
      learning_rate: [1e-4, 1e-3]
"""


class Outcome(NamedTuple):
    """The end of a command: "same", "told", "refused", "other", "traceback" or "hang"."""

    ending: str
    text: str


class HungError(BaseException):
    """A command that takes too long."""


@contextlib.contextmanager
def deadline():
    """Interrupts code that takes too long, however busy the machine is."""

    def stop(number, frame):
        raise HungError

    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def outcome(call, expected=None):
    """How a call ends that returns bytes, and whether it told what is wrong."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with deadline():
                result = call()
        except HungError:
            return Outcome("hang", "")
        except (ValueError, OSError, FloatingPointError) as error:
            return Outcome("refused", str(error))
        except Exception:  # a traceback is what the test is about
            return Outcome("traceback", traceback.format_exc())
    if expected is None or result == expected:
        return Outcome("told" if told else "same", "\n".join(str(one.message) for one in told))
    return Outcome("told" if told else "other", "\n".join(str(one.message) for one in told))


def command(*words):
    """Runs a command in this process; a refusal is a ValueError."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception.with_traceback(done.exc_info[2])
    if done.exit_code not in (0, 3):
        assert "error: " in done.output or "Usage" in done.output, done.output
        raise ValueError(done.output)
    return done.output


class Patient:
    """A run, one of another seed, and a study, of which copies are damaged.

    Arguments:
        folder: An empty folder.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        rng = random.Random(0)
        rows = [f"{rng.gauss(3, 1)},{rng.gauss(0, 0.5)}" for _ in range(120)]
        self.table = self.folder / "rows.csv"
        self.table.write_text("a,b\n" + "\n".join(rows) + "\n")
        self.settings = resolve_auto(
            Settings(
                data=Table(str(self.table)),
                energy=FlowEnergy(Flow(widths=(8,))),
                method=MaximumLikelihood(MALA(0.05), steps=1),
                optimizer=Adam(1e-2),
                updates=8,
                batch=16,
                threads=1,
                device="cpu",
                output=Output(log_every=2, save_every=2, best=True, pictures=False, events=False),
            )
        )
        self.run, self.other = self.folder / "run", self.folder / "other"
        for path, seed in ((self.run, 0), (self.other, 1)):
            self.train(replace(self.settings, seed=seed), path, 6)
            command("evaluate", path, "--sections", "quality,training", "-n", 100, "-q")
        (self.folder / "study.yaml").write_text(STUDY)
        self.study = self.folder / "studies" / "study"
        command("study", self.folder / "study.yaml", "--studies", self.study.parent, "--quiet")
        self.samples, self.scores = self.sample(self.run), self.score(self.run)
        self.written = self.write(self.run)
        shutil.copytree(self.run, self.folder / "ended")
        self.train(self.settings, self.folder / "ended")
        self.end = self.newest(self.folder / "ended")

    def train(self, settings, path, until=0):
        updates = execute(settings, path, events=False)
        for done in updates:
            if done.update == until:
                break
        updates.close()

    def newest(self, path):
        return checkpoints(path)[0].read_bytes()

    def sample(self, path):
        return api.load(path).sample(5, seed=1).numpy().tobytes()

    def score(self, path):
        model = api.load(path)
        return model.score(model.data.to_original(model.data.test)).energy.numpy().tobytes()

    def write(self, path):
        out = path.parent / "samples.npz"
        command("sample", path, "-n", 5, "--seed", 1, "--out", out)
        return out.read_bytes()

    def resume(self, path):
        self.train(self.settings, path)
        return self.newest(path)

    def checks(self, path):
        """The commands by name, each with its result where nothing is damaged."""
        return {
            "sample": (lambda: self.sample(path), self.samples),
            "score": (lambda: self.score(path), self.scores),
            "resume": (lambda: self.resume(path), self.end),
            "write": (lambda: self.write(path), self.written),
            "scores": (lambda: command("score", path, self.table).encode(), None),
            "evaluate": (
                lambda: command("evaluate", path, "--sections", "training", "-q").encode(),
                None,
            ),
            "report": (lambda: command("report", path).encode(), None),
        }


WEIGHTS = {
    "sample": 700,
    "score": 70,
    "resume": 180,
    "write": 10,
    "scores": 20,
    "evaluate": 15,
    "report": 5,
}
"""How often each command is run; those that draw pictures take seconds."""


def damage(path, other, chance):
    """Damages a file in one way; returns a line that says how."""
    content, kind = path.read_bytes(), chance.choice(DAMAGES)
    size = len(content)
    at = chance.randrange(size) if size else 0
    changed = bytearray(content)
    if kind in ("bit", "bits") and size:
        for _ in range(1 if kind == "bit" else chance.randint(2, 20)):
            changed[chance.randrange(size)] ^= 1 << chance.randrange(8)
    elif kind == "bytes":
        end = min(size, at + chance.randint(1, 64))
        changed[at:end] = chance.randbytes(end - at)
    elif kind == "truncated":
        changed = changed[:at]
    elif kind == "zeros":
        end = min(size, at + chance.choice((1, 16, 512, 4096)))
        changed[at:end] = bytes(end - at)
    elif kind == "swapped":
        changed = other.read_bytes() if other is not None else changed[::-1]
    elif kind == "longer":
        changed[at:at] = changed[chance.randrange(size or 1) :][:200]
    elif kind == "empty":
        changed = b""
    if kind == "deleted" and path.suffix != ".safetensors":  # nobody knows of a newer one
        path.unlink()
    else:
        path.write_bytes(bytes(changed))
    return f"{kind} at {at} of {size}"


def case(patient, number):
    """Makes a damage of a run and a command after it; returns what was done and how it ended."""
    chance = random.Random(number)
    path = patient.folder / "copies" / "run"
    shutil.rmtree(path.parent, ignore_errors=True)
    shutil.copytree(patient.run, path)
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != ".lock")
    files += [*checkpoints(path), path / "settings.yaml", path / "log.jsonl"]  # more often
    file = chance.choice(files)
    alike = [p for p in files if p.suffix == file.suffix and p != file]
    others = [p for p in (patient.other / file.relative_to(path), *alike) if p.is_file()]
    how = damage(file, chance.choice(others) if others else None, chance)
    name = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    call, expected = patient.checks(path)[name]
    return f"{number} {name} {file.relative_to(path)} {how}", outcome(call, expected)


def study_case(patient, number):
    """Makes a damage of a study and reads or reports it."""
    chance = random.Random(number)
    path = patient.folder / "copies" / "study"
    shutil.rmtree(path.parent, ignore_errors=True)
    shutil.copytree(patient.study, path)
    files = [p for p in sorted(path.rglob("*")) if p.is_file() and p.parent.name != "checkpoints"]
    files = [p for p in files if "trials" not in p.parts or p.suffix in (".yaml", ".jsonl")]
    files += sorted((path / "results").glob("*.json")) * 3
    file = chance.choice(files)
    others = [p for p in files if p.suffix == file.suffix and p != file]
    how = damage(file, chance.choice(others) if others else None, chance)
    if chance.random() < 0.05:
        return f"{number} study report {file.relative_to(path)} {how}", outcome(
            lambda: command("study", "report", path).encode()
        )
    return f"{number} study {file.relative_to(path)} {how}", outcome(
        lambda: repr(read_outcomes(open_study(path), path)).encode()
    )


def main(folder, numbers):
    """Makes damages and counts their ends; prints those that are faults."""
    patient = Patient(folder)
    counts, faults = {}, []
    for number in numbers:
        done, end = (study_case if number % 10 == 9 else case)(patient, number)
        counts[end.ending] = counts.get(end.ending, 0) + 1
        if end.ending in ("traceback", "hang", "other"):
            faults.append(f"{done}: {end.ending} {end.text}")
        elif len(numbers) == 1:
            print(done, end)
    return counts, faults


if __name__ == "__main__":
    import tempfile

    import torch

    torch.set_num_threads(1)
    first, last = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int(sys.argv[1]) + 1
    with tempfile.TemporaryDirectory() as place:
        totals, problems = main(Path(place), range(first, last))
    print("\n".join(problems))
    print(totals)
