"""The command line as a user meets it: what it says when all goes well, and when it does not."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from boltzwalk.cli import app

SMALL = ["updates=20", "energy.network.widths=[16]", "method.steps=3", "log_every=5", "threads=1"]
TOY = [*SMALL, "start.size=300", "batch=32", "data.n=1000"]


def boltzwalk(*words, cwd, code=0, env=None):
    done = subprocess.run(
        [sys.executable, "-m", "boltzwalk", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "BOLTZWALK_DATA": "", **(env or {})},
        timeout=300,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def within(*words, cwd, monkeypatch):
    """The same in this process, without the seconds of an import; returns exit code and words."""
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("BOLTZWALK_DATA", "")
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command in this process and the test's folder; returns what it says."""

    def call(*words, code=0):
        ended, said = within(*words, cwd=tmp_path, monkeypatch=monkeypatch)
        assert ended == code, said
        return said

    return call


def test_help_answers_at_once_and_imports_nothing_heavy(tmp_path):
    program = (
        "import sys; from boltzwalk import cli\n"
        "try: cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert "boltzwalk train digits" in done.stdout


def test_train_resume_sample(tmp_path, command):
    said = boltzwalk("train", "digits", *SMALL, cwd=tmp_path)
    for part in ("class entropy", "class coverage", "runs/digits/samples.png", "report.html"):
        assert part in said, said
    assert (tmp_path / "runs/digits/report.html").stat().st_size > 10_000
    again = command("train", "digits", *SMALL)
    assert "runs/digits/samples.png" in again
    command("resume", "runs/digits", "--quiet")
    command("sample", "runs/digits", "--noise", "--out", "y.png")
    command("sample", "runs/digits", "-n", "7", "--out", "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        assert file["x"].shape == (7, 1, 8, 8)
        assert file["energy"].shape == (7,)
        np.testing.assert_allclose(file["original"], (file["x"] + 1) * 8, atol=1e-4)
    with Image.open(tmp_path / "x_picture.png") as image:
        assert image.size[0] > 20


@pytest.mark.slow
def test_a_settings_file_is_taken_back(tmp_path, command):
    command("train", "toy", *TOY, "--name", "a")
    command("train", "runs/a/settings.yaml", "--name", "b")
    logs = [(tmp_path / f"runs/{name}/log.jsonl").read_bytes() for name in "ab"]
    assert logs[0] == logs[1]


def test_overrides_may_be_written_as_options(tmp_path, command):
    said = command(
        "train", "toy", "--dry-run", "kernel=HMC", "--kernel.leapfrog_steps", "4",
        "--data.n=500", "--seed", "9", "--precision", "bf16",
    )  # fmt: skip
    settings = yaml.safe_load(said)
    assert settings["method"]["kernel"]["kind"] == "HMC"
    assert settings["method"]["kernel"]["leapfrog_steps"] == 4
    assert settings["data"]["n"] == 500
    assert (settings["seed"], settings["precision"]) == (9, "bf16")
    assert not (tmp_path / "runs").exists()


def test_own_table_by_path(tmp_path, command):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 3)) * [1, 10, 100] + [0, 50, -200]
    header = "height,weight,depth"
    np.savetxt(tmp_path / "my.csv", rows, "%.5f", ",", header=header, comments="")
    small = [*SMALL, "batch=32"]
    said = command("train", "my.csv", *small)
    assert "runs/my/report.html" in said
    command("sample", "runs/my", "-n", "200", "--out", "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == header
    drawn = np.loadtxt(tmp_path / "out.csv", delimiter=",", skiprows=1)
    assert drawn.shape == (200, 3)
    assert np.abs(drawn.mean(0) - rows.mean(0)).max() < 50  # in the units of the file


def test_own_images_by_path(tmp_path, command):
    (tmp_path / "pics").mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pics" / f"{i}.png")
    small = ["updates=4", "network.width=4", "method.steps=2", "start.size=60", "batch=8"]
    said = command("train", "pics", *small, "data.size=16")
    assert "runs/pics/samples.png" in said


def test_recipes_are_listed_with_what_they_reach(command, monkeypatch):
    from boltzwalk.recipes import RECIPES

    monkeypatch.setenv("COLUMNS", "200")
    said = command("recipes")
    for name, recipe in RECIPES.items():
        assert name in said
        assert "Reached:" in recipe.__doc__, f"{name} must say what it reached, or why not"
        assert "TODO" not in recipe.__doc__


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    words = ["train", "toy", *TOY, "updates=100000", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "boltzwalk", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "runs/toy/log.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, out + err
    assert "saved" in out
    assert "boltzwalk resume runs/toy" in out
    assert "Traceback" not in err
    assert list((tmp_path / "runs/toy/checkpoints").glob("*.safetensors"))


def csv(path, text):
    path.write_text(text)
    return path.name


MISTAKES = [
    (["train", "digit"], "did you mean digits"),
    (["train", "nothing-like-it"], "no recipe and no file is called 'nothing-like-it'; there are"),
    (["train", "digits", "kernel.step_sise=0.1"], "did you mean method.kernel.step_size"),
    (["train", "digits", "kernel.step_size=fast"], "kernel.step_size must be of type float"),
    (["train", "digits", "kernel.step_size=-1"], "-1"),
    (["train", "digits", "kernel.step_size=0"], "step_size > 0"),
    (["train", "digits", "batch=5000"], "at most the 1200 rows of training data, got 5000"),
    (["train", "digits", "batch=0"], "batch must be >= 1, got 0"),
    (["train", "digits", "updates"], "must have the form key=value, got 'updates'"),
    (["train", "digits", "--kernel.step_size"], "needs a value"),
    (["train", "digits", "--device", "cuda:77"], "device must exist here, got 'cuda:77'"),
    (["train", "digits", "--precision", "fp8"], "precision must be"),
    (["train", "mnist", "data.root=nowhere"], "nowhere"),
    (["train", "table", "data.path=missing.csv"], "missing.csv"),
    (["resume", "runs/none"], "a run folder must hold settings.yaml, found none in runs/none"),
    (["sample", "runs/none"], "a run folder must hold settings.yaml, found none in runs/none"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda v: " ".join(v)[:40])
def test_a_mistake_gives_one_message_and_leaves_nothing_behind(
    tmp_path, monkeypatch, words, message
):
    code, said = within(*words, cwd=tmp_path, monkeypatch=monkeypatch)
    assert code == 2
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1, said
    assert message in said
    assert not any(tmp_path.iterdir())


TABLES = {
    "empty": ("", "at least one row"),
    "one_row": ("a,b\n1,2\n", "row"),
    "missing": ("a,b\n1,2\n3,\n5,6\n", "got 2 rows"),
    "text": ("a,name\n1,x\n2,y\n3,z\n", "got 3 rows"),
    "nan": ("a,b\n1,nan\n2,3\n4,5\n", "got 2 rows"),
    "constant": ("a,b\n" + "".join(f"{i},7\n" for i in range(20)), "b"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_refused_by_its_column(tmp_path, monkeypatch, name):
    text, part = TABLES[name]
    (tmp_path / "my.csv").write_text(text)
    code, said = within("train", "my.csv", cwd=tmp_path, monkeypatch=monkeypatch)
    assert code == 2
    assert said.startswith("error: ")
    assert part in said
    assert not (tmp_path / "runs").exists()


def test_a_run_that_goes_wrong_says_why_and_where_to_return(command):
    said = command(
        "train", "toy", *TOY, "optimizer=SGD", "learning_rate=1e20", "warmup=1000",
        "save_every=1", "updates=200", "average=0", "kernel=ULA", "kernel.step_size=1",
        "reference_scale=null", "zero_start=false", "guard=off", code=3,
    )  # fmt: skip
    assert "loss" in said
    assert "is not finite" in said or "ran away" in said
    assert "last good checkpoint" in said


def test_debug_shows_the_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "boltzwalk", "train", "digit", "--debug"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Traceback" in done.stderr
    assert done.returncode == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    (tmp_path / "runs").mkdir(mode=0o500)
    assert "Permission denied" in boltzwalk("train", "toy", *TOY, cwd=tmp_path, code=2)


def test_a_full_disk(tmp_path):
    """No file may grow beyond 8 kB, so the first checkpoint cannot be written."""
    words = ["train", "toy", *TOY, "energy.network.widths=[64,64]"]
    command = " ".join(f"'{word}'" for word in [sys.executable, "-m", "boltzwalk", *words])
    limited = ["bash", "-c", f"ulimit -f 8; exec {command}"]
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: File too large")
    assert "nothing that was saved is lost" in last


def test_a_run_without_held_out_rows_says_what_it_is_judged_by(tmp_path, monkeypatch):
    words = ["train", "toy", *TOY, "data.split=1,0,0"]
    code, said = within(*words, cwd=tmp_path, monkeypatch=monkeypatch)
    assert code == 0
    assert "training nll" in said


def test_a_run_is_not_taken_for_a_folder_of_images(tmp_path, monkeypatch):
    within("train", "toy", *TOY, "--quiet", cwd=tmp_path, monkeypatch=monkeypatch)
    code, said = within("train", "runs/toy", cwd=tmp_path, monkeypatch=monkeypatch)
    assert code == 2
    assert "boltzwalk resume runs/toy" in said


def test_resume_with_changes(tmp_path, monkeypatch):
    within("train", "toy", *TOY, "--quiet", cwd=tmp_path, monkeypatch=monkeypatch)
    (tmp_path / "runs/toy/samples.png").unlink()
    words = ["resume", "runs/toy", "updates=25", "learning_rate=1e-4", "--quiet"]
    code, said = within(*words, cwd=tmp_path, monkeypatch=monkeypatch)
    assert code == 0, said
    assert (tmp_path / "runs/toy/samples.png").exists()
    settings = yaml.safe_load((tmp_path / "runs/toy/settings.yaml").read_text())
    assert (settings["updates"], settings["optimizer"]["learning_rate"]) == (25, 1e-4)
    code, said = within("resume", "runs/toy", "data.n=5", cwd=tmp_path, monkeypatch=monkeypatch)
    assert code == 2
    assert "a run cannot go on with another data.n" in said


def test_a_data_path_is_found_from_any_folder(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(100, 2))
    np.savetxt(tmp_path / "my.csv", rows, "%.5f", ",", header="a,b", comments="")
    small = [*SMALL, "batch=32", "--quiet"]
    within("train", "my.csv", *small, cwd=tmp_path, monkeypatch=monkeypatch)
    (tmp_path / "below").mkdir()
    words = ["sample", "../runs/my", "--out", "x.csv"]
    code, said = within(*words, cwd=tmp_path / "below", monkeypatch=monkeypatch)
    assert code == 0, said


def test_too_little_memory_is_one_message(tmp_path, monkeypatch):
    words = ["train", "toy", "energy.network.widths=[3000000,3000000]"]
    code, said = within(*words, cwd=tmp_path, monkeypatch=monkeypatch)
    assert code == 2
    assert "take a smaller batch" in said
