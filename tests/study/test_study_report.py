"""The report of a small study says what its trials say, and the commands make it."""

import csv
import re
import subprocess
import sys
from statistics import median

import pytest
import yaml
from study_cases import STUDIES, TINY, run, tiny
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.reporting.figures import heat_map
from boltzwalk.study.analysis import load_analysis
from boltzwalk.study.outcome import by_point, read_outcomes
from boltzwalk.study.report import write_study_report
from boltzwalk.study.spec_file import study_from_yaml

TABLES = {
    "duplicates", "dynamics", "effects", "failures", "frontier", "importance", "interactions",
    "maps", "recommended", "survival", "trials",
}  # fmt: skip
THESIS = STUDIES / "thesis"
ANALYSIS = THESIS / "analysis.py"


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def invoke(folder, monkeypatch, *words):
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "tiny"
    text = TINY.replace("learning_rate: [1e-4, 1e-3]", "learning_rate: [1e-3, 10]")
    study = tiny(text, "limit=2000", "updates=120")
    run(study, folder)
    return study, folder


def test_the_page_and_the_tables_say_the_same_as_the_trials(finished):
    study, folder = finished
    write_study_report(folder)
    assert {path.stem for path in folder.glob("*.csv")} == TABLES
    outcomes = {o.trial.name: o for o in read_outcomes(study, folder)}
    listed = {row["trial"]: row for row in rows(folder / "trials.csv")}
    assert listed.keys() == outcomes.keys()
    failed = {name for name, o in outcomes.items() if o.failed}
    assert failed, "a learning rate of 10 breaks"
    assert {row["trial"] for row in rows(folder / "failures.csv")} == failed
    for name, row in listed.items():
        if not outcomes[name].failed:
            assert float(row["quality"]) == pytest.approx(outcomes[name].quality, rel=1e-3)
    cells = {(r["level"],): r for r in rows(folder / "effects.csv") if r["axis"] == "learning_rate"}
    assert cells["10",]["survived"].endswith(" of 4")
    dynamics = rows(folder / "dynamics.csv")
    assert len(dynamics) == len({o.point for o in outcomes.values()})
    points = by_point(outcomes.values()).values()
    seeds = min(points, key=lambda group: median(o.quality for o in group))
    for column, measure in (("K v", "travel"), ("d > 0", "gap_positive")):
        mean = sum(o.measure(measure) for o in seeds) / len(seeds)
        assert float(dynamics[0][column]) == pytest.approx(mean, rel=1e-3)
    assert dynamics[-1]["endings"] != "finished"
    page = (folder / "report.html").read_text()
    for title in (
        "Training dynamics",
        "Stability maps",
        "Main effects",
        "Survival",
        "Frontier",
        "Failures",
    ):
        assert f"<h2>{title}</h2>" in page
    assert "<h2>Answers</h2>" not in page
    assert page.count("<svg") >= 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert not re.search(r"\bnan\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).replace(
        "<td class=\"\">nan</td>", ""))  # fmt: skip


def test_the_page_in_markdown_says_the_same(finished, tmp_path):
    study, folder = finished
    loaded = load_analysis(ANALYSIS)
    text = write_study_report(folder, tmp_path / "report.md", loaded).path.read_text()
    assert len(rows(tmp_path / "answers.csv")) == 15
    for row in rows(tmp_path / "answers.csv"):
        assert f"| {row['']} | {row['claim']} | {row['answer']} |" in text
    for row in rows(tmp_path / "recommended.csv"):
        assert f"```\n{row['command']}\n```" in text
    for row in rows(tmp_path / "maps.csv"):
        cell = row["survived"].replace(" of ", "/") + f": {row['quality']}"
        assert cell in text
    assert "learning_rate \\ method.steps" in text or "method.steps \\ learning_rate" in text
    assert study_from_yaml(text.split("```yaml\n")[1].split("```")[0]) == study
    with pytest.raises(ValueError, match=r"got 'report\.pdf'"):
        write_study_report(folder, tmp_path / "report.pdf")


def test_the_same_trials_make_the_same_page(finished, tmp_path):
    _, folder = finished
    pages = [write_study_report(folder, tmp_path / n / "report.html").path for n in "ab"]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_a_map_shows_every_cell():
    cells = {("5", "0.1"): (0.0, "0/3\n-"), ("50", "0.1"): (1.0, "3/3\n20")}
    figure = heat_map("a map", ["5", "50"], ["0.1"], cells, "note", ("steps", "noise"))
    assert figure.startswith("<svg")
    for text in ("0/3", "3/3", "20", "steps", "noise", "a map"):
        assert text in figure
    assert "currentColor" in figure


def test_the_commands_make_a_study_and_its_report(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(TINY)
    words = ("study", "mine.yaml", "seeds=[0]", "--quiet")
    code, output = invoke(tmp_path, monkeypatch, *words, "--max-trials", 2)
    assert code == 0, output
    assert "2 trials: 2 finished" in output
    code, output = invoke(tmp_path, monkeypatch, *words)
    assert code == 0, output
    assert "4 trials: 4 finished" in output
    assert "boltzwalk train digits" in output
    assert (tmp_path / "studies/mine/report.html").exists()
    again = ["study", "report", "studies/mine", "--out", "page/report.html"]
    assert invoke(tmp_path, monkeypatch, *again)[0] == 0
    assert (tmp_path / "page/trials.csv").exists()
    code, output = invoke(tmp_path, monkeypatch, "report", "studies/mine")
    assert code == 0
    assert "studies/mine/report.html" in output
    assert yaml.safe_load((tmp_path / "studies/mine/study.yaml").read_text())["seeds"] == [0]


FOUR = """
recipe: toy
settings: [updates=20, batch=16, 'energy.network.widths=[8]']
seeds: [0, 1]
samples: 50
blocks:
  mine:
    equal: false
    axes: {method.steps: [2, 4]}
"""


@pytest.mark.slow
def test_a_study_without_an_analysis_prints_its_effects_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(FOUR)
    code, output = invoke(tmp_path, monkeypatch, "study", "mine.yaml", "--quiet")
    assert code == 0, output
    head, effects, best, command, tables, report = filter(None, output.splitlines())
    assert head == "4 trials: 4 finished"
    assert re.fullmatch(r"mine  method.steps   2: \S+ \(2/2\)   4: \S+ \(2/2\)", effects)
    assert best.startswith("best     quality")
    assert command.split()[:3] == ["boltzwalk", "train", "toy"]
    assert (tables.split()[0], report.split()[0]) == ("tables", "report")
    assert not (tmp_path / "studies/mine/answers.csv").exists()
    text = "".join(p.read_text() for p in (tmp_path / "studies/mine").glob("*.[chy]*"))
    for word in ("thesis", "undecided", "spectral norm", "Claims"):
        assert word not in text


OWN = """
from pathlib import Path

from boltzwalk.reporting.html import Section
from boltzwalk.study.analysis import Analysis
from boltzwalk.study.answers import Sheet, answer

from .rule import LIMIT

Path("ran").touch()


def analyse(study, outcomes):
    worst = max(outcome.quality for outcome in outcomes)
    return Analysis(
        {"Mine": [answer("A", "every trial is good", worst < LIMIT, f"worst {worst:.3g}")],
         "Others": [answer("B", "nobody knows", None, "no trials")]},
        {"seeds": Sheet("The seeds", ("seed",), [(str(seed),) for seed in study.seeds])},
        [Section("My section", "My text.")],
    )
"""


@pytest.fixture
def own_study(tmp_path, monkeypatch):
    """The folder of a finished study with an analysis of its own."""
    spec = tmp_path / "spec"
    spec.mkdir()
    (spec / "mine.yaml").write_text("analysis: analysis.py\n" + FOUR)
    (spec / "analysis.py").write_text(OWN)
    (spec / "rule.py").write_text("LIMIT = 1e-9\n")
    code, output = invoke(tmp_path, monkeypatch, "study", "spec/mine.yaml", "--quiet")
    assert code == 0, output
    assert "A   every trial is good: does not hold" in output
    assert "nobody knows" not in output  # only the first heading
    (tmp_path / "ran").unlink()
    return tmp_path / "studies/mine"


@pytest.mark.slow
def test_a_study_runs_its_own_analysis(own_study):
    assert [row["answer"] for row in rows(own_study / "answers.csv")] == [
        "does not hold",
        "undecided",
    ]
    assert [row["seed"] for row in rows(own_study / "seeds.csv")] == ["0", "1"]
    page = (own_study / "report.html").read_text()
    for title in ("Answers", "My section", "The seeds"):
        assert f"<h2>{title}</h2>" in page
    assert page.index("every trial is good") < page.index("<h2>")


@pytest.mark.slow
def test_a_study_folder_runs_no_code(own_study, monkeypatch):
    """Neither its report nor its continuation, even where the file was copied into it."""
    root = own_study.parents[1]
    (own_study / "analysis.py").write_text(OWN)
    for words in (
        ["study", "report", own_study],
        ["study", own_study, "--quiet"],
        ["study", own_study / "study.yaml", "--quiet"],
        ["report", own_study],
    ):
        code, output = invoke(root, monkeypatch, *words)
        assert code == 0, output
        assert not (root / "ran").exists()
        assert "every trial is good" not in output
        page = (own_study / "report.html").read_text()
        assert f"--analysis {root / 'spec/analysis.py'}" in page
    assert list((root / "studies").iterdir()) == [own_study]


@pytest.mark.slow
def test_an_analysis_is_given_again_and_a_change_is_noted(own_study, monkeypatch):
    root = own_study.parents[1]
    words = ["study", "report", own_study, "--analysis", "spec/analysis.py"]
    code, output = invoke(root, monkeypatch, *words)
    assert code == 0, output
    assert (root / "ran").exists()
    assert "every trial is good: does not hold" in output
    assert "has changed" not in output
    (root / "spec/rule.py").write_text("LIMIT = 1e9  # another rule\n")
    code, output = invoke(root, monkeypatch, *words)
    assert code == 0, output
    assert "every trial is good: holds" in output
    assert "The analysis has changed" in output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "must be a Python file (analysis.py), got no file"),
        ("x = 1", "must define analyse"),
        ("def analyse(study, outcomes): return {}", "must return an Analysis"),
        (OWN.replace('"seeds"', '"trials"'), "must have a plain name other than"),
    ],
)
def test_a_wrong_analysis_is_refused(finished, tmp_path, monkeypatch, text, words):
    _, folder = finished
    (tmp_path / "rule.py").write_text("LIMIT = 1")
    if text:
        (tmp_path / "a.py").write_text(text)
    command = ["study", "report", folder, "--analysis", "a.py", "--out", "page.html"]
    code, output = invoke(tmp_path, monkeypatch, *command)
    assert code == 2
    assert words in output


def test_a_missing_analysis_is_refused_before_the_trials(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("analysis: analysis.py\n" + FOUR)
    code, output = invoke(tmp_path, monkeypatch, "study", "mine.yaml", "--quiet")
    assert code == 2
    assert "got no file analysis.py" in output
    assert not (tmp_path / "studies").exists()


DIGITS = THESIS / "thesis_digits.yaml"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study", "thesis_digits"], "shipped studies are in the folder studies/"),
        (["study", DIGITS, "stepps=3"], "unknown setting 'stepps'; did you mean"),
        (["study", DIGITS, "budget=10"], "budget must be at least the"),
        (["study", DIGITS, "seeds=[]"], "seeds must be different, one or more"),
        (["study", "report"], "report takes one study folder"),
        (["study", "report", "nothing"], "a study folder must hold study.yaml"),
        (["study", "bad.yaml"], "must be YAML"),
        (["studies"], "must hold studies as .yaml files"),
        (["tune", "digits", "--budget", "soon"], "a budget must be a time such as"),
        (["tune", "digitz"], "did you mean digits"),
    ],
)
def test_a_wrong_command_ends_in_one_message(tmp_path, monkeypatch, words, message):
    (tmp_path / "bad.yaml").write_text("recipe: [")
    code, output = invoke(tmp_path, monkeypatch, *words)
    assert code == 2
    assert message in output
    assert not (tmp_path / "studies").exists()


def test_shipped_studies_are_listed_and_suggested(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, output = invoke(STUDIES.parent, monkeypatch, "studies")
    assert code == 0
    for name in ("thesis_digits", "thesis_mnist", "vae_teaching_ablation", "toy_convergence"):
        assert f"{name}.yaml" in output
    assert "Reached: not run." in output
    code, output = invoke(STUDIES.parent, monkeypatch, "study", "thesis_digit")
    assert code == 2
    assert "did you mean studies/thesis/thesis_digits.yaml" in output


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path):
    import os
    import signal
    import time

    (tmp_path / "mine.yaml").write_text(TINY.replace("updates=40", "updates=20000"))
    words = [sys.executable, "-m", "boltzwalk", "study", "mine.yaml", "seeds=[0]", "--workers", "2"]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "BOLTZWALK_DATA": ""}, start_new_session=True,
    )  # fmt: skip
    while not list(tmp_path.glob("studies/mine/trials/*/log.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 130, out + err
    assert "continue with: boltzwalk study mine.yaml" in out
    assert list(tmp_path.glob("studies/mine/claims/*.1")) == []  # anyone may take them up
    assert list(tmp_path.glob("studies/mine/trials/*/checkpoints/*.safetensors"))
