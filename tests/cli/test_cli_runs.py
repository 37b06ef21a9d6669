"""Runs and their folders: a refusal changes nothing, a finished run stays, names are names."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from boltzwalk import recipes
from boltzwalk.cli import app
from boltzwalk.training.process import only_process
from boltzwalk.training.signals import stop_on_signal

TOY = [
    *("updates=4", "energy.network.widths=[8]", "method.steps=2", "log_every=2", "threads=1"),
    *("start.size=100", "batch=16", "data.n=400", "pictures=false", "events=false", "--quiet"),
]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command in this process and the test's folder; returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOLTZWALK_DATA", "")

    def call(*words, code=0):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, done.output
        return done.output

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that is trained once; each test gets a copy."""
    folder = tmp_path_factory.mktemp("trained")
    done = CliRunner().invoke(app, ["train", "toy", *TOY, "--runs", str(folder)])
    assert done.exit_code == 0, done.output
    return folder / "toy"


@pytest.fixture
def run(tmp_path, command, trained):
    shutil.copytree(trained, tmp_path / "runs" / "toy")
    return tmp_path / "runs" / "toy"


def content(folder):
    """The bytes of all files of a folder."""
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kernel=HMC"], "is at 4 of 4 updates, so a change (method.kernel.kind: MALA, now HMC"),
        (["updates=2"], "updates must be at least the 4 that are done, got 2"),
        (["learning_rate=1e-5"], "write updates=1004 as well, or train a new run"),
        (["updates=9", "data.n=300"], "a run cannot go on with another data.n"),
        (["updates=9", "method.steps=010"], "decimal or scientific"),
        (["updates=9", "learning_rate=-1"], "learning_rate must be > 0"),
        (["updates=9", "batch=5000"], "batch must be at most"),
        (["updates=9", "device=gpu"], "device=cuda"),
    ],
)
def test_a_refused_resume_writes_nothing(run, command, words, message):
    before = content(run)
    assert message in command("resume", "runs/toy", *words, code=2)
    assert content(run) == before
    assert "already at 4 of 4, nothing done" in command("train", "toy", *TOY)


def test_a_finished_run_has_nothing_to_do(run, command):
    before = content(run)
    told = command("resume", "runs/toy")
    assert "already at 4 of 4, nothing done" in told
    assert "log.jsonl" in {p.name for p, b in content(run).items() if before.get(p) == b}
    assert yaml.safe_load((run / "settings.yaml").read_text())["updates"] == 4


def test_a_resume_refused_for_other_data_writes_nothing(tmp_path, command):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 2)))
    words = [word for word in TOY if word != "data.n=400"]
    command("train", "table_walkers", "data.path=x.npy", "--name=x", *words)
    before = content(tmp_path / "runs" / "x")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(200, 2)))
    told = command("resume", "runs/x", "updates=8", code=2)
    assert "the data are not those" in told
    assert content(tmp_path / "runs" / "x") == before


def test_a_resume_beside_another_process_writes_nothing(run, command):
    before = content(run)
    with only_process(run):
        told = command("resume", "runs/toy", "updates=8", code=2)
    assert "is being trained by another process" in told
    assert content(run) == before
    command("resume", "runs/toy", "updates=5", "--quiet")
    assert yaml.safe_load((run / "settings.yaml").read_text())["updates"] == 5


def test_a_lock_that_is_a_link_is_not_followed(tmp_path, run, command):
    (tmp_path / "precious.txt").write_text("mine")
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(tmp_path / "precious.txt")
    command("resume", "runs/toy", "updates=5", code=2)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_second_try_gets_a_numbered_name(tmp_path, run, command):
    before = content(run)
    told = command("train", "toy", *TOY, "learning_rate=1e-5")
    assert "runs/toy holds a run with other settings (optimizer.learning_rate" in told
    assert "this one goes to runs/toy_2" in told
    assert content(run) == before
    again = command("train", "toy", *TOY, "learning_rate=1e-5")
    assert "already at 4 of 4" in again
    command("train", "toy", *TOY, "learning_rate=1e-6")
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["toy", "toy_2", "toy_3"]
    assert yaml.safe_load((tmp_path / "runs/toy_3/settings.yaml").read_text())["optimizer"][
        "learning_rate"
    ] == pytest.approx(1e-6)


@pytest.fixture
def bare(monkeypatch):
    """Training alone, without summaries, pictures and reports."""
    monkeypatch.setattr(importlib.import_module("boltzwalk.cli.train"), "_conclude", lambda *_: 1)
    tables = importlib.import_module("boltzwalk.reporting.tables")
    monkeypatch.setattr(tables, "results_of_runs", lambda groups: "")


@pytest.mark.slow
def test_a_second_try_of_several_seeds_gets_one_numbered_name(tmp_path, command, bare):
    command("train", "toy", *TOY, "--seeds=2")
    before = content(tmp_path / "runs")
    words = ["train", "toy", *TOY, "--seeds=2", "updates=3"]
    told = command(*words)
    assert "runs/toy_seed0 holds a run with other settings (updates: 4, now 3" in told
    assert "these runs go to runs/toy_2_seed0, runs/toy_2_seed1" in told
    assert content(tmp_path / "runs").items() >= before.items()
    assert command(*words).count("already at 3 of 3") == 2
    command("train", "toy", *TOY, "--seeds=3")  # one more seed of the first settings
    names = [f"toy_{n}" for n in ("2_seed0", "2_seed1", "seed0", "seed1", "seed2")]
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == names


def test_one_changed_seed_numbers_all_of_them(tmp_path, command, bare):
    command("train", "toy", *TOY, "--name=toy_seed1", "seed=1", "updates=2")
    told = command("train", "toy", *TOY, "--seeds=2")
    assert "runs/toy_seed1 holds a run with other settings (updates: 2, now 4" in told
    assert "toy_seed0" not in {p.name for p in (tmp_path / "runs").iterdir()}


def test_a_second_try_with_companions_gets_one_numbered_name(tmp_path, command, monkeypatch, bare):
    monkeypatch.setitem(recipes.COMPANIONS, "toy", ("toy_jarzynski",))
    monkeypatch.setitem(recipes.RECIPES, "toy_jarzynski", recipes.RECIPES["toy"])
    command("train", "toy", *TOY)
    told = command("train", "toy", *TOY, "updates=3")
    assert "these runs go to runs/toy_2, runs/toy_2_jarzynski" in told
    names = ["toy", "toy_2", "toy_2_jarzynski", "toy_jarzynski"]
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == names


def test_a_folder_of_other_files_is_told_before_the_first_seed_starts(tmp_path, command):
    (tmp_path / "runs" / "toy_seed1").mkdir(parents=True)
    (tmp_path / "runs" / "toy_seed1" / "letter.txt").write_text("mine")
    told = command("train", "toy", *TOY, "--seeds=2", code=2)
    assert "must be empty or hold a run, found letter.txt" in told
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["toy_seed1"]


def test_a_setting_that_was_deleted_from_the_file_is_told(run, command):
    lines = (run / "settings.yaml").read_text().splitlines()
    (run / "settings.yaml").write_text("\n".join(x for x in lines if not x.startswith("batch:")))
    taken = r"settings.yaml was edited or is damaged .* settings of update_00000004.* are taken"
    with pytest.warns(UserWarning, match=taken):
        command("resume", "runs/toy")
    assert "batch: 16" in (run / "settings.yaml").read_text(), "a resumed run mends it"


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "a/b",
        "a\\b",
        "..",
        ".",
        ".hidden",
        "-x",
        "",
        " ",
        "a\nb",
        "a\x1b[31mb",
        "x" * 300,
    ],
)
def test_names_are_names(tmp_path, command, name):
    told = command("train", "toy", *TOY, f"--name={name}", code=2)
    assert "the name of a run must be" in told
    assert "\x1b" not in told
    assert not any(tmp_path.iterdir())


def test_printed_commands_work_when_they_are_copied(tmp_path, command):
    told = command("train", "toy", *TOY, "--name", "a b;c")
    line = next(line for line in told.splitlines() if line.startswith("samples "))
    assert line == "samples  boltzwalk sample 'runs/a b;c' -n 1000"
    assert (tmp_path / "runs" / "a b;c" / "settings.yaml").exists()


def test_numbers_of_options_are_whole_or_scientific(run, command):
    command("sample", "runs/toy", "-n", "1e1", "--steps", "1", "--out", "x.npz")
    with np.load("x.npz") as file:
        assert len(file["x"]) == 10
    for text in ("1_0", "0x10", "010", "1.5", "ten", "0", "-1", "1e999"):
        told = command("sample", "runs/toy", f"-n={text}", code=2)
        assert "must be" in told.replace("\n", " ")


def test_blanks_around_the_sign_are_no_matter(tmp_path, command):
    told = command("train", "toy", "updates", "=", "7", "batch=", "9", "seed", "=3", "--dry-run")
    settings = yaml.safe_load(told)
    assert (settings["updates"], settings["batch"], settings["seed"]) == (7, 9, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "0.1"], "did you mean optimizer.learning_rate"),
        (["batch_size=3"], "did you mean batch"),
        (["split=0.5"], "data.split must be 3 numbers separated by commas, such as 0.8,0.1,0.1"),
        (["--device", "gpu"], "device=cuda"),
        (["updates=2:00"], "numbers are decimal or scientific"),
    ],
)
def test_words_of_other_libraries_are_answered(command, words, message):
    assert message in command("train", "toy", *words, code=2)


def test_size_of_images_offers_that_of_the_data_first(tmp_path, command):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (9, 8, 8), np.uint8))
    told = command("train", "x.npy", "size=16", code=2)
    assert "'size' names several settings: data.size, method.start.size" in told
    assert "such as data.size=..." in told


@pytest.mark.pictures
def test_a_column_name_is_no_formula_and_no_picture_costs_a_run(tmp_path, command, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(200, 3))
    np.savetxt(tmp_path / "x.csv", rows, "%.5f", ",", header=r"$\frac{$,x$^^$,y", comments="")
    words = [word for word in TOY if word not in ("data.n=400", "pictures=false")]
    command("train", "table_walkers", "data.path=x.csv", "--name=x", *words)
    assert (tmp_path / "runs/x/samples/update_00000004.png").exists()
    from boltzwalk.training import pictures

    def broken(*_):
        raise ValueError("no picture today")

    monkeypatch.setattr(pictures, "pair_plot", broken)
    with pytest.warns(UserWarning, match="no picture of update 6|no report"):
        command("resume", "runs/x", "updates=6", "--quiet")
    assert (tmp_path / "runs/x/checkpoints/update_00000006.safetensors").exists()


@pytest.mark.slow
@pytest.mark.pictures
def test_a_picture_that_was_not_drawn_is_drawn_when_the_run_goes_on(tmp_path, command):
    words = [word for word in TOY if word != "pictures=false"]
    command("train", "toy", *words, "picture_every=2", "save_every=2")
    picture = tmp_path / "runs/toy/samples/update_00000004.png"
    expected = picture.read_bytes()
    picture.unlink()
    command("resume", "runs/toy", "updates=5", "--quiet")
    assert picture.read_bytes() == expected


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_asks_to_stop(number):
    before = signal.signal(number, signal.SIG_DFL)  # these tests may run under nohup themselves
    try:
        with stop_on_signal() as stop:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            assert stop.asked
    finally:
        signal.signal(number, before)


def test_a_process_under_nohup_goes_on():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def loaded_by(code, *names):
    """The modules of some packages that a program has loaded at its end."""
    program = f"{code}\nimport sys\nprint(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("words", [["recipes"], ["recipes", "digits"], ["train", "digit"]])
def test_a_list_and_a_wrong_name_need_no_torch(words):
    code = f"from boltzwalk.cli import app\ntry: app({words!r})\nexcept SystemExit: pass"
    assert loaded_by(code, "torch", "numpy", "scipy", "sklearn", "matplotlib") == []


def test_the_first_update_needs_no_compiler_and_no_statistics():
    code = (
        "import torch, boltzwalk.training.execute\n"
        "from boltzwalk.settings.optimizers import SGD, Adam\n"
        "for settings in (Adam(), SGD()):\n"
        "    x = torch.nn.Parameter(torch.ones(3))\n"
        "    optimizer = settings.build([x]); optimizer.zero_grad()\n"
        "    x.square().sum().backward(); optimizer.step(); optimizer.state_dict()\n"
        "    assert float(x.detach()[0]) < 1\n"
    )
    assert loaded_by(code, "torch._dynamo", "scipy.stats", "sympy", "matplotlib", "sklearn") == []


def test_a_path_with_a_typing_error_names_the_nearest_file(tmp_path, command):
    (tmp_path / "measurements.csv").write_text("a,b\n1,2\n")
    told = command("train", "mesurements.csv", code=2)
    assert "did you mean measurements.csv?" in told
    assert "nowhere, which does not exist" in command("train", "nowhere/x.csv", code=2)


def test_recipes_take_words(command):
    told = command("recipes", "red", "wine")
    assert "gebm_red_wine_ml" in told
    assert "Reached:" in told
    assert "cifar" not in told
    every = command("recipes")
    assert max(map(len, every.splitlines())) <= 100
    assert "some recipe must have the words 'zebra'" in command("recipes", "zebra", code=2)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_plain_terminal_is_no_error(encoding):
    code = "from boltzwalk.cli import main\ntry: main()\nexcept SystemExit: print('1 ± 2 Å → b')"
    done = subprocess.run(
        [sys.executable, "-c", code, "recipes", "red", "wine"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1].decode(encoding)
    assert last == {"ascii": "1 +- 2 \\xc5 -> b", "latin-1": "1 ± 2 Å -> b"}[encoding]


def test_all_checkpoints_truncated(run, command):
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:100])
        (path.parent / "update_00000002.safetensors").write_bytes(b"")
    told = command("sample", "runs/toy", code=2)
    assert "got 2 that are not" in told
    assert "earlier" not in told


def test_ids_near_the_largest_numbers_are_called_ids(tmp_path, command):
    ids = np.uint64(2**63) + np.arange(50, dtype=np.uint64)
    rows = "".join(
        f"{i},{x:.4f}\n" for i, x in zip(ids, np.random.default_rng(0).normal(size=50), strict=True)
    )
    (tmp_path / "ids.csv").write_text("id,x\n" + rows)
    told = command("train", "ids.csv", code=2)
    assert "ids, which float64 cannot tell apart; leave it out with data.drop=id" in told


def test_data_that_moved_are_named_by_the_command_that_takes_them(tmp_path, command):
    """More rows than the folder holds a sample of, so that `resume` needs the file."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(14_000, 2)))
    words = [word for word in TOY if word != "data.n=400"]
    command("train", "table_walkers", "data.path=x.npy", "--name=x", *words)
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    for name in ("sample", "report"):
        command(name, "runs/x")
    told = command("evaluate", "runs/x", "--sections", "training", code=2)
    assert "`boltzwalk resume runs/x data.path=FILE` notes where the data are now" in told
    command("evaluate", "runs/x", "data.path=y.npy", "--sections", "training")
    command("resume", "runs/x", "data.path=y.npy", "--quiet")
    command("evaluate", "runs/x", "--sections", "training")
