"""The report of a small study says what its trials say, and the commands make it."""

import csv
import re
import subprocess
import sys
from statistics import median

import pytest
import yaml
from study_cases import TINY, run, tiny
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.report.figures import heat_map
from boltzwalk.study.outcome import by_point, outcomes
from boltzwalk.study.report import write_study_report
from boltzwalk.study.spec import from_yaml

TABLES = (
    "anatomy", "answers", "effects", "failures", "frontier", "importance", "interactions", "maps",
    "recommended", "same", "survival", "trials",
)  # fmt: skip


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
    paths = write_study_report(folder)
    assert {p.stem for p in paths} == {"report", *TABLES}
    found = {o.trial.name: o for o in outcomes(study, folder)}
    listed = {row["trial"]: row for row in rows(folder / "trials.csv")}
    assert listed.keys() == found.keys()
    failed = {name for name, o in found.items() if o.failed}
    assert failed, "a learning rate of 10 breaks"
    assert {row["trial"] for row in rows(folder / "failures.csv")} == failed
    for name, row in listed.items():
        if not found[name].failed:
            assert float(row["quality"]) == pytest.approx(found[name].quality, rel=1e-3)
    cells = {(r["level"],): r for r in rows(folder / "effects.csv") if r["axis"] == "learning_rate"}
    assert cells["10",]["survived"].endswith(" of 4")
    ways = rows(folder / "anatomy.csv")
    assert len(ways) == len({o.point for o in found.values()})
    points = by_point(found.values()).values()
    seeds = min(points, key=lambda group: median(o.quality for o in group))
    for column, measure in (("K v", "travel"), ("d > 0", "gap_positive")):
        mean = sum(o.measure(measure) for o in seeds) / len(seeds)
        assert float(ways[0][column]) == pytest.approx(mean, rel=1e-3)
    assert ways[-1]["ended"] != "finished"
    page = (folder / "report.html").read_text()
    for title in (
        "How trials learnt",
        "Claims",
        "Stability maps",
        "Main effects",
        "Survival",
        "Frontier",
        "Failures",
    ):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<svg") >= 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert not re.search(r"\bnan\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).replace(
        "<td class=\"\">nan</td>", ""))  # fmt: skip


def test_the_page_in_markdown_says_the_same(finished, tmp_path):
    study, folder = finished
    (path, *_) = write_study_report(folder, tmp_path / "report.md")
    text = path.read_text()
    for row in rows(tmp_path / "answers.csv"):
        assert f"| {row['']} | {row['claim']} | {row['answer']} |" in text
    for row in rows(tmp_path / "recommended.csv"):
        assert f"```\n{row['command']}\n```" in text
    for row in rows(tmp_path / "maps.csv"):
        cell = row["survived"].replace(" of ", "/") + f": {row['quality']}"
        assert cell in text
    assert "learning_rate \\ method.steps" in text or "method.steps \\ learning_rate" in text
    assert from_yaml(text.split("```yaml\n")[1].split("```")[0]) == study
    with pytest.raises(ValueError, match=r"got 'report\.pdf'"):
        write_study_report(folder, tmp_path / "report.pdf")


def test_the_same_trials_make_the_same_page(finished, tmp_path):
    _, folder = finished
    pages = [write_study_report(folder, tmp_path / n / "report.html")[0] for n in "ab"]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_a_map_shows_every_cell():
    cells = {("5", "0.1"): (0.0, "0/3\n-"), ("50", "0.1"): (1.0, "3/3\n20")}
    drawn = heat_map("a map", ["5", "50"], ["0.1"], cells, "note", ("steps", "noise"))
    assert drawn.startswith("<svg")
    for text in ("0/3", "3/3", "20", "steps", "noise", "a map"):
        assert text in drawn
    assert "currentColor" in drawn


def test_the_commands_make_a_study_and_its_report(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(TINY)
    words = ("study", "mine.yaml", "seeds=[0]", "--quiet")
    code, said = invoke(tmp_path, monkeypatch, *words, "--most", 2)
    assert code == 0, said
    assert "2 trials: 2 finished" in said
    code, said = invoke(tmp_path, monkeypatch, *words)
    assert code == 0, said
    assert "4 trials: 4 finished" in said
    assert "the number of steps matters most" in said
    assert "boltzwalk train digits" in said
    assert (tmp_path / "studies/mine/report.html").exists()
    again = ["study", "report", "studies/mine", "--out", "page/report.html"]
    assert invoke(tmp_path, monkeypatch, *again)[0] == 0
    assert (tmp_path / "page/trials.csv").exists()
    code, said = invoke(tmp_path, monkeypatch, "report", "studies/mine")
    assert code == 0
    assert "studies/mine/report.html" in said
    assert yaml.safe_load((tmp_path / "studies/mine/study.yaml").read_text())["seeds"] == [0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study", "thesis_digit"], "did you mean thesis_digits"),
        (["study", "thesis_digits", "stepps=3"], "unknown setting 'stepps'; did you mean"),
        (["study", "thesis_digits", "budget=10"], "budget must be at least the"),
        (["study", "thesis_digits", "seeds=[]"], "seeds must be different, one or more"),
        (["study", "report"], "report takes one study folder"),
        (["study", "report", "nothing"], "a study folder must hold study.yaml"),
        (["study", "bad.yaml"], "must be YAML"),
        (["tune", "digits", "--budget", "soon"], "a budget must be a time such as"),
        (["tune", "digitz"], "did you mean digits"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(tmp_path, monkeypatch, words, said):
    (tmp_path / "bad.yaml").write_text("recipe: [")
    code, output = invoke(tmp_path, monkeypatch, *words)
    assert code == 2
    assert said in output
    assert not (tmp_path / "studies").exists()


def test_shipped_studies_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, said = invoke(tmp_path, monkeypatch, "studies")
    assert code == 0
    for name in ("thesis_digits", "thesis_mnist", "vae_teaching_ablation", "toy_convergence"):
        assert name in said


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
    assert "go on with: boltzwalk study mine.yaml" in out
    assert list(tmp_path.glob("studies/mine/claims/*.1")) == []  # anyone may take them up
    assert list(tmp_path.glob("studies/mine/trials/*/checkpoints/*.safetensors"))
