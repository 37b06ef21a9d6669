"""Options and settings that a message names exist; lines of a run fit a screen."""

import ast
import dataclasses
import re
from collections import namedtuple
from pathlib import Path

import pytest
import typer

from boltzwalk import data
from boltzwalk.cli import app
from boltzwalk.cli.arguments import summary_lines
from boltzwalk.completion import make_codes
from boltzwalk.data.readable import formula_note
from boltzwalk.training import progress

SOURCES = Path(__file__).parents[2] / "src" / "boltzwalk"
COMMANDS = typer.main.get_command(app).commands
OF_OTHERS = {"--standalone", "--nproc", "--nproc_per_node", "--nnodes", "--rdzv"}


def options(command):
    """The options of a command."""
    parameters = COMMANDS[command].params
    return {option for p in parameters for option in (*p.opts, *p.secondary_opts)} | {"--help"}


def texts():
    """Every text of the package, with its file and line, placeholders as a letter."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = None
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "X" for v in node.values]
                text = "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            if text:
                yield f"{path.relative_to(SOURCES)}:{node.lineno}", text


def test_every_option_that_a_message_names_exists():
    every = (
        {option for command in COMMANDS for option in options(command)} | OF_OTHERS | {"--version"}
    )
    wrong = [
        (place, word)
        for place, text in texts()
        for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)
        if word not in every and not place.startswith("cli/arguments")
    ]
    assert wrong == []


def test_every_command_that_a_message_names_takes_its_options():
    wrong = []
    for place, text in texts():
        for command, rest in re.findall(r"`?boltzwalk ([a-z]+)([^`\n]*)", text):
            if command not in COMMANDS:
                continue
            for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest):
                free = COMMANDS[command].context_settings.get("ignore_unknown_options")
                if word not in options(command) and not free:
                    wrong.append((place, command, word))
    assert wrong == []


def test_every_setting_of_data_that_a_message_names_exists():
    kinds = [getattr(data, name) for name in data.__all__]
    known = {f.name for kind in kinds if dataclasses.is_dataclass(kind)
             for f in dataclasses.fields(kind)}  # fmt: skip
    wrong = [
        (place, key)
        for place, text in texts()
        for key in re.findall(r"(?<![\w.])data\.([a-z_]+)=", text)
        if key not in known
    ]
    assert wrong == []


@pytest.mark.parametrize("command", ["sample", "score", "complete", "report", "interpolate"])
def test_these_commands_take_no_settings_of_data(command):
    """So a message of theirs names `boltzwalk resume RUN data.path=FILE`, which does."""
    kinds = [p.name for p in COMMANDS[command].params]
    assert "overrides" not in kinds
    for taker in ("resume", "evaluate", "train"):
        assert "overrides" in [p.name for p in COMMANDS[taker].params]


@pytest.mark.parametrize("text", ["1.2", "0:10 % 1:12 % 2:9 % 3:20 % 4:30 %"])
def test_lines_of_a_summary_fit_a_screen(text):
    meaning = "one word after the other, " * 12 + "`boltzwalk sample runs/x --steps 50`"
    lines = summary_lines("class coverage", text, meaning)
    assert max(map(len, lines)) <= 100
    assert " ".join(" ".join(lines).split()) == " ".join(f"class coverage {text} {meaning}".split())


def test_names_that_are_formulas_are_told():
    assert formula_note(("a", "b-c", "x=1")) == []
    for name in ("=cmd()", "+1+x", "-x", "@sum", "  =1"):
        assert repr(name) in formula_note(("a", name))[0]


Done = namedtuple("Done", "update row")
Settings = namedtuple("Settings", "updates")


def shown_lines(monkeypatch, capsys, seconds, updates, rows=()):
    """The lines of a run whose updates take so many seconds each, without a terminal."""
    clock = iter(range(10**9))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock) * seconds / 2)
    done = [Done(i + 1, {"energy_gap": 0.5, "travel": 2.0} if i % 10 == 9 else None)
            for i in range(updates)]  # fmt: skip
    assert list(progress.shown(iter(done), Settings(updates), "toy", False)) == done
    return capsys.readouterr().err.splitlines()


def test_the_cost_is_told_early_and_the_rate_later(monkeypatch, capsys):
    lines = shown_lines(monkeypatch, capsys, 1.0, 1200)
    assert re.match(
        r"about \d+ minutes on this machine for 1,1\d\d updates, measured on \d", lines[0]
    )
    assert lines[1] == "d: mean energy of data minus that of samples, near 0 where they agree"
    assert lines[2].startswith("travel: ")
    assert re.match(r"toy \d+/1200  d \+0.5  travel 2  [\d.]+ updates/s, .* left$", lines[3])
    assert "left" not in lines[-1]
    assert max(map(len, lines)) <= 100


def test_a_short_run_has_no_estimate(monkeypatch, capsys):
    lines = shown_lines(monkeypatch, capsys, 0.001, 50)
    assert not any("about" in line for line in lines)


def test_a_terminal_that_is_gone_ends_no_run(monkeypatch):
    class Gone:
        def write(self, text):
            raise OSError(5, "Input/output error")

        def flush(self):
            raise OSError(5, "Input/output error")

        def isatty(self):
            return False

    monkeypatch.setattr("sys.stderr", Gone())
    done = [Done(i + 1, {"energy_gap": 0.5}) for i in range(20)]
    assert list(progress.shown(iter(done), Settings(20), "toy", False)) == done


def test_codes_are_explained_to_a_model_without(monkeypatch):
    method = namedtuple("M", "from_noise kernel base")(False, None, None)
    with pytest.raises(ValueError, match=r"this model has neither.*`boltzwalk complete`"):
        make_codes(namedtuple("Model", "method")(method), 0, 0)


class GoneTerminal:
    """A terminal that was closed."""

    encoding = "utf-8"

    def write(self, text):
        raise OSError(5, "Input/output error")

    def flush(self):
        raise OSError(5, "Input/output error")

    def isatty(self):
        return True

    def fileno(self):
        raise OSError(5, "Input/output error")


def test_a_terminal_that_is_gone_does_not_end_a_run(monkeypatch):
    done = [Done(n, {"update": n, "energy_gap": 0.1}) for n in range(1, 6)]
    monkeypatch.setattr("sys.stderr", GoneTerminal())
    assert list(progress.shown(iter(done), Settings(5), "toy", False)) == done
