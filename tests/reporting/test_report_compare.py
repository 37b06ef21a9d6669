"""Runs side by side: every number that two have, the best of them marked, names escaped."""

import json
import math
import shutil
from html.parser import HTMLParser

import pytest
import torch

from boltzwalk.data import Modes
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation.cache import load_or_compute
from boltzwalk.evaluation.evaluate import REVISIONS, VERSION
from boltzwalk.evaluation.measure import EvaluationSection, Measure, unavailable
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.networks import Multilayer
from boltzwalk.recipes.lookup import settings_from
from boltzwalk.reporting import compare
from boltzwalk.reporting.compare import _best, differing_settings, write_comparison
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import append_row, write_settings
from boltzwalk.training.run import open_model

NAN = math.nan


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    settings = Settings(
        data=Modes(3, rows=40),
        energy=NetworkEnergy(Multilayer((4,))),
        method=Contrastive(kernel=ULA(0.1), steps=1),
        updates=2,
        batch=8,
        threads=1,
        device="cpu",
        output=Output(log_every=1, picture_every=0),
    )
    folder = tmp_path_factory.mktemp("runs") / "one"
    for _ in execute(resolve_auto(settings), folder):
        pass
    return folder, open_model(folder).digest


class Rows(HTMLParser):
    """The cells of all tables, each as its text and its class."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside = [], False

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(["", dict(attrs).get("class") or ""])
            self.inside = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1][0] += data


def compared(trained, place, runs):
    """The rows of the page by their name, of runs with these parts, and the page."""
    folder, digest = trained
    folders = []
    for name, parts in runs.items():
        folders.append(place / name)
        shutil.copytree(folder, folders[-1])
        for part, found in parts.items():
            path = folders[-1] / "evaluation" / f"{part}.json"
            key = {"run": digest, "version": VERSION}
            if part in REVISIONS:
                key["revision"] = REVISIONS[part]
            load_or_compute(path, key, lambda found=found: found)
    page = write_comparison(folders, place / "there" / "x.html")
    assert page == place / "there" / "x.html"
    parser = Rows()
    parser.feed(page.read_text())
    rows = {row[0][0].strip(): row[1:] for row in parser.rows if row}
    return rows, page.read_text()


def measured(*measures, label=""):
    return {"quality": EvaluationSection(list(measures), {}, label, "")}


def exact(name, value, better):
    """A number whose interval is narrow."""
    return Measure(name, value, value - 2e-3, value + 2e-3, better=better)


def best(cells):
    """Which of the runs are marked."""
    return [i for i, (_, kind) in enumerate(cells) if "best" in kind]


def test_the_best_of_a_row_is_marked_by_what_is_better(trained, tmp_path):
    values = {"a": (1.0, 1.0, 1.0), "b": (3.0, 3.0, 3.0), "c": (2.0, 2.0, 2.0)}
    runs = {
        run: measured(*(exact(n, v, b) for (n, b), v in zip(
            (("low", "lower"), ("high", "higher"), ("neither", "")), found, strict=True)))
        for run, found in values.items()
    }  # fmt: skip
    rows, text = compared(trained, tmp_path, runs)
    assert best(rows["low"]) == [0]
    assert best(rows["high"]) == [1]
    assert best(rows["neither"]) == []
    assert [cell[0].strip() for cell in rows["low"]] == [
        "1.0000 ± 0.0020",
        "3.0000 ± 0.0020",
        "2.0000 ± 0.0020",
    ]
    assert "Not evaluated" not in text


def test_equal_numbers_have_no_best(trained, tmp_path):
    values = {"a": 1.0, "b": 1.0, "c": 2.0}
    runs = {run: measured(exact("m", value, "lower")) for run, value in values.items()}
    rows, _ = compared(trained, tmp_path, runs)
    assert best(rows["m"]) == []


@pytest.mark.parametrize(
    ("a", "b", "marked"),
    [
        ((1.0, 0.9, 1.1), (1.3, 1.2, 1.4), [0]),
        ((1.0, 0.9, 1.1), (1.1, 1.0, 1.2), []),
        ((1.0, 0.9, 1.1), (1.2, 1.1, 1.3), []),  # they touch
        ((1.0, NAN, NAN), (1.2, 1.1, 1.3), [0]),
        ((1.2, NAN, NAN), (1.2, 1.1, 1.3), []),
        ((1.0, NAN, NAN), (0.99, NAN, NAN), [1]),
        ((1.0, 0.9, 1.1), (NAN, NAN, NAN), []),
    ],
)
@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_best_number_lies_apart_from_all_others(a, b, marked, better):
    numbers = {}
    for run, (value, low, high) in {"a": a, "b": b}.items():
        ends = (low, high) if better == "lower" else (-high, -low)
        sign = 1 if better == "lower" else -1
        numbers[run] = Measure("m", sign * value, *ends, better=better)
    assert _best(numbers) == ("ab"[marked[0]] if marked else "")


def test_refused_numbers_are_never_the_best_and_do_not_hide_it(trained, tmp_path):
    runs = {
        "a": measured(unavailable("m", "too few"), unavailable("alone", "too few")),
        "b": measured(exact("m", 2.0, "lower"), exact("alone", 2.0, "lower")),
        "c": measured(exact("m", 1.0, "lower")),
    }
    rows, _ = compared(trained, tmp_path, runs)
    assert rows["m"][0][0].strip() == "refused"
    assert best(rows["m"]) == [2]
    assert best(rows["alone"]) == []  # nothing to be better than


def test_a_number_of_one_run_is_left_out_and_one_of_two_is_not(trained, tmp_path):
    runs = {
        "a": measured(exact("both", 1.0, "lower"), exact("mine", 1.0, "lower")),
        "b": measured(exact("both", 2.0, "lower")),
        "c": {},
    }
    rows, text = compared(trained, tmp_path, runs)
    assert "mine" not in rows
    assert [cell[0].strip() for cell in rows["both"]][2] == ""
    assert best(rows["both"]) == [0]
    assert "Not evaluated: c." in text


def test_what_was_judged_of_another_model_is_not_shown(trained, tmp_path):
    other = (trained[0], "another")
    runs = {run: measured(exact("m", 1.0, "lower")) for run in "ab"}
    rows, text = compared(other, tmp_path, runs)
    assert "m" not in rows
    assert "Not evaluated: a, b." in text


def test_names_and_verdicts_are_escaped_and_costs_are_those_of_the_runs(trained, tmp_path):
    runs = {
        "a<b": measured(exact("<i>m</i>", 1.0, "lower"), label="<u>well</u>"),
        "c&d": measured(exact("<i>m</i>", 2.0, "lower")),
    }
    rows, text = compared(trained, tmp_path, runs)
    for tag in ("<i>", "<u>", "a<b"):
        assert tag not in text
    assert "a&lt;b" in text
    assert "<i>m</i>" in rows
    assert [cell[0].strip() for cell in rows["verdict"]] == ["<u>well</u>", ""]
    last = json.loads((trained[0] / "cost.jsonl").read_text().splitlines()[-1])
    assert rows["gradient evaluations"][0][0].strip() == f"{last['gradients']:,.0f}"
    assert last["gradients"] == 2 * 8 * 2
    assert text.count("data:image/png;base64,") == 2  # the samples of each


def test_the_curves_of_long_chains_are_those_from_data(trained, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(compare, "curves", lambda *a, **_: shown.append(a) or "<svg></svg>")
    runs = {
        name: {
            "long_run": EvaluationSection(
                [],
                {
                    "distance": "distance of chains",
                    "rows": [
                        {"start": start, "steps": steps, "distance": worse * far}
                        for steps, far in ((100, first), (200, first + 1))
                        for start, worse in (("data", 1.0), ("noise", 10.0))
                    ],
                },
            )
        }
        for name, first in (("a", 2.0), ("b", 4.0))
    }
    _, text = compared(trained, tmp_path, runs)
    assert "Long chains" in text
    ((title, lines, below),) = shown
    assert (title, below) == ("distance of chains", "steps from data")
    assert [(line.name, line.x, line.y) for line in lines] == [
        ("a", [100, 200], [2.0, 3.0]),
        ("b", [100, 200], [4.0, 5.0]),
    ]


def test_long_chains_that_were_refused_or_lost_do_not_stop_the_page(trained, tmp_path):
    row = {"start": "data", "steps": 100, "distance": NAN, "energy": 1.0, "gradient": 1.0,
           "out_of_range": 0.0}  # fmt: skip
    details = {"distance": "Fréchet distance", "base": 1.0}
    runs = {
        "a": {"long_run": EvaluationSection([], details | {"rows": []})},
        "b": {"long_run": EvaluationSection([], details | {"rows": [row]})},
        "c": {"long_run": EvaluationSection([], details | {"rows": [row | {"distance": 2.0}]})},
    }
    _, text = compared(trained, tmp_path, runs)
    assert "Numbers" in text


def test_runs_of_one_name_or_that_are_not_there_are_refused(trained, tmp_path):
    folder, _ = trained
    with pytest.raises(ValueError, match="different names, got one, one"):
        write_comparison([folder, folder], tmp_path / "x.html")
    with pytest.raises(FileNotFoundError, match=r"settings\.yaml"):
        write_comparison([folder, tmp_path / "two"], tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_the_settings_that_differ_come_first_and_numbers_of_training_stand_in(trained, tmp_path):
    folder, digest = trained
    folders = [tmp_path / "a", tmp_path / "b"]
    for place, text in zip(folders, ("1.5", "2.5"), strict=True):
        shutil.copytree(folder, place)
        numbers = [["test nll", text, "a row"], ["cost", "1 s", ""]]
        (place / "summary.json").write_text(json.dumps({"run": digest, "numbers": numbers}))
    settings = folders[1] / "settings.yaml"
    text = settings.read_text().partition("\n")[2]  # without its checksum
    settings.write_text(text.replace("batch: 8", "batch: 16"))
    append_row(folders[1] / "changes.jsonl", {"update": 10**6, "changed": ["batch: 8, now 16"]})
    page = write_comparison(folders, tmp_path / "x.html")
    rows = Rows()
    rows.feed(page.read_text())
    texts = [[cell for cell, _ in row] for row in rows.rows]
    assert texts[:2] == [["", "a", "b"], ["batch", "8", "16"]]
    other = open_model(folders[1]).digest != digest  # a summary of another model is not shown
    expected = ["test nll, at the end of training", "1.5", "" if other else "2.5"]
    assert expected in texts


def test_the_settings_that_differ_are_listed_first(tmp_path):
    """Oracle: a dictionary of each file, as yaml reads it."""
    base = {"steps": "5", "kernel.step_size": "0.1", "seed": "0"}
    other = {"steps": "7", "kernel.step_size": "0.1", "seed": "3"}
    for name, values in (("a", base), ("b", other), ("c", base)):
        run = settings_from("toy", [f"{key}={value}" for key, value in values.items()])
        write_settings(tmp_path / name, resolve_auto(run))
    lines = differing_settings([tmp_path / "a", tmp_path / "b"])
    assert [line.split() for line in lines] == [
        ["settings", "that", "differ", "a", "b"],
        ["method.steps", "5", "7"],
        ["seed", "0", "3"],
    ]
    assert differing_settings([tmp_path / "a", tmp_path / "c"]) == [
        "the runs have the same settings"
    ]
    with pytest.raises(ValueError, match="different names, got a, a"):
        differing_settings([tmp_path / "a", tmp_path / "a"])
    with pytest.raises(FileNotFoundError, match=r"settings\.yaml"):
        differing_settings([tmp_path / "a", tmp_path])


def test_long_lists_and_values_fit_a_terminal(tmp_path):
    long = f"{'x' * 200}\x1b[2J.csv"
    for name, words in (("a", ["toy"]), ("b", ["table", f"data.path={long}"])):
        write_settings(tmp_path / name, resolve_auto(settings_from(words[0], words[1:])))
    lines = differing_settings([tmp_path / "a", tmp_path / "b"])
    assert len(lines) == 22
    assert "more, on the page" in lines[-1]
    assert max(map(len, lines)) <= 120
    assert all(line.isprintable() for line in lines)
