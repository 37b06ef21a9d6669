"""`bw.load`: what it takes, what it refuses, and that it executes no code."""

import shutil
import sys

import pytest
import torch
import yaml

import boltzwalk as bw
from boltzwalk.references import digest_of, import_file


@pytest.fixture
def run(train, rows, plain_net, tmp_path):
    """A run with checkpoints of updates 1, 2 and 3."""
    output = bw.settings.Output(save_every=1)
    return train(plain_net, rows, out=tmp_path / "run", output=output)


@pytest.fixture
def own(train, rows, toys, tmp_path):
    """The same with a module of the user's file, which is not imported any more."""
    output = bw.settings.Output(save_every=1)
    model = train(toys.Net(), rows, out=tmp_path / "own", output=output)
    del sys.modules["api_toys"]
    return model


def rewrite(path, change):
    tree = yaml.safe_load(path.read_text())
    change(tree)
    path.write_text(yaml.safe_dump(tree, sort_keys=False))


def damage(path):
    path.write_bytes(path.read_bytes()[:-100])


def checkpoint(run, update):
    return run.folder / "checkpoints" / f"update_{update:08d}.safetensors"


def test_a_module_of_torch_loads_with_no_code(run, rows):
    model = bw.load(run.folder)
    assert torch.equal(model.energy(rows), run.energy(rows))
    assert torch.equal(model.sample(10, seed=1), run.sample(10, seed=1))
    assert model.digest == run.digest
    assert model.folder == run.folder
    assert not (run.folder / "code.yaml").exists()


def test_every_kernel_that_trains_loads_again(train, rows, plain_net, tmp_path):
    kernel = bw.kernels.NormalProposals(0.5)
    model = train(plain_net, rows, bw.methods.Contrastive(kernel=kernel), out=tmp_path / "run")
    again = bw.load(tmp_path / "run")
    assert again.settings.method.kernel == kernel
    assert torch.equal(again.sample(10), model.sample(10))


def test_a_path_may_be_text_and_a_checkpoint(run, rows):
    assert bw.load(str(run.folder)).update == 3
    early = bw.load(checkpoint(run, 1))
    assert early.update == 1
    assert not torch.equal(early.energy(rows), run.energy(rows))


def test_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("text")
    for name in ("missing", "empty"):
        with pytest.raises(
            FileNotFoundError, match=r"must hold settings.yaml, found none in .*made"
        ):
            bw.load(tmp_path / name)
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        bw.load(tmp_path / "file.txt")


def test_a_run_without_a_checkpoint(run):
    shutil.rmtree(run.folder / "checkpoints")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint yet; `boltzwalk resume"):
        bw.load(run.folder)


def test_a_damaged_checkpoint_falls_back_with_a_warning(run):
    damage(checkpoint(run, 3))
    with pytest.warns(UserWarning, match=r"update_00000003.* is damaged, went back to .*00002"):
        model = bw.load(run.folder)
    assert model.update == 2
    for update in (1, 2):
        damage(checkpoint(run, update))
    with pytest.raises(ValueError, match=r"update_00000003.*it is damaged"):
        bw.load(run.folder)


def test_settings_that_are_damaged(run):
    (run.folder / "settings.yaml").write_text("data: [")
    with pytest.raises(ValueError, match=r"settings.yaml must be YAML"):
        bw.load(run.folder)


@pytest.mark.parametrize("version", ["9.0.0", "0.99", "1.0rc1"])
def test_a_newer_version_is_named(run, version, command):
    rewrite(run.folder / "settings.yaml", lambda tree: tree.update(invention=1))
    rewrite(
        run.folder / "environment.yaml", lambda tree: tree["versions"].update(boltzwalk=version)
    )
    words = f"must be of boltzwalk {bw.__version__} or older, got {version}; update boltzwalk"
    with pytest.raises(ValueError, match=words):
        bw.load(run.folder)
    for name in ("sample", "resume", "report", "evaluate"):
        assert words in command(name, run.folder, code=2).replace("\n", " ")


def test_this_version_is_written_and_a_newer_one_loads_where_it_can(run):
    versions = yaml.safe_load((run.folder / "environment.yaml").read_text())["versions"]
    assert versions["boltzwalk"] == bw.__version__
    rewrite(run.folder / "environment.yaml", lambda tree: tree["versions"].update(boltzwalk="9.0"))
    assert bw.load(run.folder).update == 3


def test_a_run_without_environment_loads(run):
    (run.folder / "environment.yaml").unlink()
    assert bw.load(run.folder).update == 3


def test_code_that_is_needed_is_named_with_its_digest_and_remedies(own, toys_file):
    with pytest.raises(ValueError, match=r"executes no code by itself") as caught:
        bw.load(own.folder)
    text = str(caught.value)
    for part in (
        "api_toys.py:Net",
        str(toys_file),
        f"sha256 {digest_of(toys_file)[:12]}",
        f"--import {toys_file}",
        "energy=",
    ):
        assert part in text, part
    assert "api_toys" not in sys.modules


def test_the_module_or_an_import_opens_it(own, rows, toys_file):
    expected = own.energy(rows)
    toys = import_file(toys_file)
    assert torch.equal(bw.load(own.folder, energy=toys.Net()).energy(rows), expected)
    assert torch.equal(bw.load(own.folder).energy(rows), expected)
    del sys.modules["api_toys"]
    assert torch.equal(bw.load(own.folder, energy=toys.Net()).energy(rows), expected)


def test_another_module_is_refused(own, toys_file):
    toys = import_file(toys_file)
    with pytest.raises(ValueError, match=r"00003.safetensors does not hold this network"):
        bw.load(own.folder, energy=toys.Net(width=9))
    with pytest.raises(ValueError, match=r"Column is no energy: .* got \(4, 1\)"):
        bw.load(own.folder, energy=toys.Column())
    with pytest.raises(
        ValueError, match=r"energy must be a torch.nn.Module, got Net; write energy="
    ):
        bw.load(own.folder, energy=toys.Net)


def test_a_file_that_changed_is_noticed(train, rows, tmp_path):
    path = tmp_path / "api_changed.py"
    path.write_text("from torch import nn\nclass Flat(nn.Sequential):\n    pass\n")
    module = import_file(path)
    layers = torch.nn.Linear(2, 1), torch.nn.Flatten(0)
    train(module.Flat(*layers), rows, out=tmp_path / "run")
    assert bw.load(tmp_path / "run").update == 3
    path.write_text(path.read_text() + "# changed\n")
    with pytest.warns(UserWarning, match=r"api_changed.py has changed since the run was trained"):
        bw.load(tmp_path / "run", energy=module.Flat(*layers))
    del sys.modules["api_changed"]


def test_a_moved_folder_needs_no_data(train, tmp_path, plain_net):
    file = tmp_path / "rows.csv"
    table = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)) * 7 + 3
    file.write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in table.tolist()) + "\n")
    model = train(plain_net, bw.data.Table(path=str(file)), out=tmp_path / "run")
    expected = model.sample(5), model.energy(table), model.score(table)
    file.unlink()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    again = bw.load(tmp_path / "moved")
    assert again.data.columns == ("a", "b")
    for one, two in zip(expected, (again.sample(5), again.energy(table)), strict=False):
        assert torch.equal(one, two)
    assert all(
        torch.equal(a, b) for a, b in zip(expected[2][:3], again.score(table)[:3], strict=True)
    )
    assert bw.report(again).parent == tmp_path / "moved"


FACTORIES = ("os:system", "os.py:system", "subprocess:run", "subprocess.py:Popen", "builtins:exec")
FACTORIES += ("builtins:eval", "pickle:load", "torch:load", "numpy:load", "torch.hub:load")
FACTORIES += ("boltzwalk.references:import_file", "api_names.py:system", "shutil:rmtree")


@pytest.fixture
def names(tmp_path):
    """A file of the user that imports a function of Python under its name."""
    path = tmp_path / "api_names.py"
    path.write_text("from os import system\n")
    yield import_file(path)
    del sys.modules["api_names"]


@pytest.mark.parametrize("role", ["energy", "data", "method"])
@pytest.mark.parametrize("reference", FACTORIES)
def test_a_settings_file_calls_no_function_of_its_choice(run, names, tmp_path, role, reference):
    (run.folder / "data.safetensors").unlink()  # so that the data would have to be loaded
    mark = tmp_path / "executed"
    arguments = {
        "os:system": {"command": f"touch {mark}"},
        "os.py:system": {"command": f"touch {mark}"},
        "api_names.py:system": {"command": f"touch {mark}"},
        "subprocess.py:Popen": {"args": ["touch", str(mark)]},
        "builtins:exec": {"source": f"open({str(mark)!r}, 'w')"},
        "builtins:eval": {"source": f"open({str(mark)!r}, 'w')"},
        "boltzwalk.references:import_file": {"path": str(tmp_path / "planted.py")},
    }
    (tmp_path / "planted.py").write_text(f"open({str(mark)!r}, 'w')\n")
    block = {"kind": reference, **arguments.get(reference, {})}
    rewrite(run.folder / "settings.yaml", lambda tree: tree.update({role: block}))
    with pytest.raises(
        ValueError, match=r"a function of a file of yours|must be a method|not import"
    ):
        bw.load(run.folder)
    assert not mark.exists()


def test_a_file_in_the_folder_is_not_imported(own, toys_file, tmp_path):
    mark = tmp_path / "executed"
    for name in ("api_toys.py", "torch.py", "sitecustomize.py", "my_models.py"):
        for folder in (own.folder, own.folder / "checkpoints"):
            (folder / name).write_text(f"open({str(mark)!r}, 'w')\n")
    with pytest.raises(ValueError, match="executes no code by itself"):
        bw.load(own.folder)
    assert not mark.exists()
    assert "api_toys" not in sys.modules
    assert str(own.folder) not in sys.path


def test_yaml_tags_construct_nothing(run, tmp_path):
    mark = tmp_path / "executed"
    path = run.folder / "settings.yaml"
    path.write_text(path.read_text() + f"seed: !!python/object/apply:os.system ['touch {mark}']\n")
    with pytest.raises(ValueError, match="must be YAML"):
        bw.load(run.folder)
    assert not mark.exists()
