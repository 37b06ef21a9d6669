"""The guard: identities that damage breaks, batches, going back, remedies, the record."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from boltzwalk.bases import FlowEnergy
from boltzwalk.checkpoint import load_checkpoint
from boltzwalk.data import Dataset
from boltzwalk.data.toy import Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import MALA, ULA
from boltzwalk.methods import (
    Contrastive,
    ExactStart,
    Jarzynski,
    MaximumLikelihood,
    NoiseStart,
    ReplayStart,
)
from boltzwalk.networks import Multilayer
from boltzwalk.settings.given import GivenEnergy
from boltzwalk.settings.optimizers import SGD, Adam, Schedule
from boltzwalk.settings.settings import Output, Settings
from boltzwalk.training import folder as run_folder
from boltzwalk.training import guard_record, recovery
from boltzwalk.training.execute import execute
from boltzwalk.training.guard import Alarm
from boltzwalk.training.row_scale import SAME, Batches, row_scale
from boltzwalk.training.run import open_run
from boltzwalk.training.signals import StopRequest

pytestmark = pytest.mark.filterwarnings("ignore:guard. after update")

NETWORK = NetworkEnergy(Multilayer((16, 16)), reference_scale=1.5, zero_start=True)
PERSISTENT = Contrastive(
    ReplayStart(size=60, restart_share=0.02, noise=NoiseStart("gaussian")), MALA(0.05), steps=1
)
RUN = Settings(
    data=Toy("two_moons", n=300),
    energy=NETWORK,
    method=PERSISTENT,
    optimizer=Adam(3e-3),
    updates=50,
    batch=16,
    threads=1,
    device="cpu",
    output=Output(log_every=5, save_every=40, pictures=False, events=False),
)
OTHERS = {
    "sgd": replace(RUN, optimizer=SGD(1e-2, momentum=0.9)),
    "decay": replace(RUN, optimizer=Adam(3e-3, weight_decay=0.01), clip_gradient=0.1),
    "warm-up": replace(RUN, schedule=Schedule(warmup=30, anneal=0.3), average=0.99),
    "jarzynski": replace(RUN, method=Jarzynski(ExactStart(100), ULA(0.02), steps=1)),
    "likelihood": replace(RUN, method=MaximumLikelihood(), energy=FlowEnergy()),
}


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Checkpoints for the guard are made more often, and proven sooner, so that runs are short."""
    monkeypatch.setattr(recovery, "EVERY", 20)
    monkeypatch.setattr(recovery, "PROOF", 10)


def train(settings, folder, plant=None, at=(33,), stop_at=0):
    """Trains in a folder; `plant` damages the run after each of these updates, once."""
    left, stop = list(at), StopRequest()
    for done in execute(settings, folder, stop):
        if plant is not None and left and done.update == left[0]:
            left.pop(0)
            with torch.no_grad():
                plant(done.run)
        stop.asked = done.update == stop_at
    return done.run


def ended(folder):
    """Tensors of the last checkpoint, and the log."""
    tensors, _ = load_checkpoint(run_folder.checkpoints(folder)[0])
    bits = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    return bits, (folder / "log.jsonl").read_bytes()


def layer(run):
    next(iter(run.energy.parameters())).mul_(100)


def moments_lost(run):
    for entry in run.optimizer.state.values():
        entry["exp_avg_sq"].zero_()


def moments_noise(run):
    for entry in run.optimizer.state.values():
        entry["exp_avg"].fill_(1e3)


def rate_up(run):
    for group in run.optimizer.param_groups:
        group["initial_rate"] *= 50


def rate_gone(run):
    for group in run.optimizer.param_groups:
        group["initial_rate"] = 0.0


def not_finite(run):
    next(iter(run.energy.parameters())).fill_(math.nan)


NOWHERE = Path("nowhere")
DAMAGE = {
    "parameters": layer,
    "optimizer": moments_lost,
    "optimizer ": moments_noise,
    "rate": rate_up,
    "rate ": rate_gone,
    "not finite": not_finite,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    train(RUN, folder)
    return folder


@pytest.mark.parametrize("diagnosis", DAMAGE)
def test_damage_is_named_at_the_next_update_and_leaves_no_trace(tmp_path, undisturbed, diagnosis):
    """The run goes back before the damage, so its end is that of a run without it, bit for bit."""
    train(RUN, tmp_path, DAMAGE[diagnosis])
    (action,) = guard_record.actions(tmp_path)
    assert action.diagnosis == diagnosis.strip()
    assert (action.update, action.back_to, action.remedy) == (34, 20, "go back")
    assert ended(tmp_path) == ended(undisturbed)


def test_it_goes_back_to_a_checkpoint_that_is_proven(tmp_path, undisturbed):
    """One with 10 updates after it without an alarm."""
    for at, back_to in ((28, 0), (29, 20)):
        train(RUN, tmp_path / str(at), layer, at=(at,))
        assert [one.back_to for one in guard_record.actions(tmp_path / str(at))] == [back_to]
        assert ended(tmp_path / str(at)) == ended(undisturbed)


@pytest.mark.parametrize("name", OTHERS)
def test_every_method_goes_back(tmp_path, name):
    settings = OTHERS[name]
    train(settings, tmp_path / "hit", layer)
    train(settings, tmp_path / "not")
    assert [one.remedy for one in guard_record.actions(tmp_path / "hit")] == ["go back"]
    assert ended(tmp_path / "hit") == ended(tmp_path / "not")


def test_a_module_given_in_python_goes_back_to_its_first_parameters(tmp_path):
    ends = []
    for hit in (True, False):
        torch.manual_seed(0)
        parts = (torch.nn.Linear(2, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))
        module, folder = torch.nn.Sequential(*parts, torch.nn.Flatten(0)), tmp_path / str(hit)
        settings, damaged = replace(RUN, energy=GivenEnergy("Sequential")), not hit
        for done in execute(settings, folder, energy=module):
            if done.update == 3 and not damaged:
                damaged = True
                with torch.no_grad():
                    layer(done.run)
        assert [one.back_to for one in guard_record.actions(folder)] == [0] * hit
        ends.append(ended(folder))
    assert ends[0] == ends[1]


def test_a_run_that_is_killed_meanwhile_ends_the_same(tmp_path, undisturbed, monkeypatch):
    """Between the checkpoints that are discarded and the record, and after the record."""
    honest = guard_record.record

    def killed(folder, action):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(guard_record, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            train(RUN, tmp_path, layer, at=(33,))
    assert not guard_record.actions(tmp_path)

    def killed_after(folder, action):
        honest(folder, action)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(guard_record, "record", killed_after)
        with pytest.raises(KeyboardInterrupt):
            train(RUN, tmp_path, layer, at=(33,))
    assert len(guard_record.actions(tmp_path)) == 1
    train(RUN, tmp_path)
    assert ended(tmp_path) == ended(undisturbed)


@pytest.mark.parametrize("name", OTHERS)
def test_a_healthy_run_is_the_same_with_and_without(tmp_path, name):
    settings = OTHERS[name]
    for guard in ("off", "act"):
        train(replace(settings, guard=guard), tmp_path / guard)
        assert not guard_record.actions(tmp_path / guard), guard
    assert ended(tmp_path / "act") == ended(tmp_path / "off")
    assert not (tmp_path / "off" / "proven").exists()


def test_a_stopped_run_knows_as_much_when_it_goes_on(tmp_path, undisturbed):
    """The values that the rules compare are those of a run without a stop."""
    for update in (17, 43):
        train(RUN, tmp_path, stop_at=update)
    train(RUN, tmp_path)
    texts = [load_checkpoint(run_folder.checkpoints(f)[0])[1] for f in (tmp_path, undisturbed)]
    assert texts[0]["guard"] == texts[1]["guard"] != ""
    assert ended(tmp_path) == ended(undisturbed)


def test_watching_tells_and_changes_nothing(tmp_path):
    for guard in ("off", "watch"):
        train(replace(RUN, guard=guard), tmp_path / guard, layer)
    told = guard_record.actions(tmp_path / "watch")
    assert (told[0].update, told[0].diagnosis) == (34, "parameters")
    assert {(action.remedy, action.back_to) for action in told} == {("", -1)}
    assert ended(tmp_path / "watch") == ended(tmp_path / "off")
    assert not (tmp_path / "watch" / "proven").exists()


def test_settings_that_explode_get_another_rate(tmp_path):
    """A rate of 1000 times: going back helps nothing, a lower rate does."""
    wild = replace(RUN, optimizer=Adam(3.0), updates=120)
    train(wild, tmp_path)
    remedies = [action.remedy for action in guard_record.actions(tmp_path)]
    assert remedies[0] == "go back"
    assert "lower rate" in remedies
    run = open_run(tmp_path)
    assert run.settings.optimizer.learning_rate < 3.0
    assert run_folder.read_settings(tmp_path).optimizer.learning_rate == 3.0
    assert run.update == 120


def test_a_run_that_no_remedy_helps_ends_with_a_proven_model(tmp_path):
    with pytest.raises(FloatingPointError, match=r"parameters.*after 3 remedies.*update 20"):
        train(RUN, tmp_path, layer, at=(33,) * 10)
    assert guard_record.actions(tmp_path)[-1].remedy == "stop"
    assert run_folder.saved_update(tmp_path) == 20
    assert open_run(tmp_path).update == 20


def test_settings_of_a_user_count_at_once_and_end_the_remedies(tmp_path):
    train(replace(RUN, optimizer=Adam(3.0), updates=60), tmp_path)
    assert open_run(tmp_path).settings.optimizer.learning_rate < 3.0
    other = replace(RUN, optimizer=Adam(1e-4), updates=70)
    rates = [done.run.settings.optimizer.learning_rate
             for done in execute(other, tmp_path, changed=True)]  # fmt: skip
    assert rates == [1e-4] * 10
    assert not guard_record.in_force(guard_record.actions(tmp_path))
    assert open_run(tmp_path).settings.optimizer.learning_rate == 1e-4


def test_a_run_that_began_without_the_guard_loses_nothing(tmp_path):
    """It goes back to where the guard came in, as there is no proven checkpoint before."""
    train(replace(RUN, guard="off", updates=40), tmp_path)
    kept = run_folder.checkpoints(tmp_path)[0].read_bytes()
    changed = replace(RUN, updates=60)
    hit = False
    for done in execute(changed, tmp_path, changed=True):
        if done.update == 43 and not hit:
            hit = True
            with torch.no_grad():
                layer(done.run)
    assert [one.back_to for one in guard_record.actions(tmp_path)] == [40]
    assert run_folder.checkpoint_path(tmp_path, 40).read_bytes() == kept
    assert open_run(tmp_path).update == 60


def test_the_same_alarm_after_a_change_of_settings_is_recorded_again(tmp_path):
    action = guard_record.Action(30, "explosion", "travel", "go back", 20)
    assert guard_record.record(tmp_path, action)
    assert not guard_record.record(tmp_path, action)
    assert guard_record.record(tmp_path, guard_record.Action(20, "settings", "batch: 8, now 16"))
    assert guard_record.record(tmp_path, action)


def test_a_user_who_changes_settings_begins_the_list_again():
    alarm = Alarm("explosion", "travel", 300)
    first = guard_record.Action(290, "explosion", "travel", "go back", 200)
    user = guard_record.Action(200, "settings", "optimizer.learning_rate: 3.0, now 0.1")
    cases = ([], [first], [first, user])
    names = [recovery.plan(alarm, done, RUN, NOWHERE).remedy for done in cases]
    assert names == ["go back", "lower rate", "go back"]


def test_far_alarms_are_not_the_same_fault():
    action = guard_record.Action(300, "explosion", "travel", "go back", 200)
    near, far = Alarm("explosion", "", 310), Alarm("explosion", "", 310 + guard_record.SOON)
    assert recovery.plan(near, [action], RUN, NOWHERE).remedy == "lower rate"
    assert recovery.plan(far, [action], RUN, NOWHERE).remedy == "go back"


def test_weighted_walkers_never_start_again():
    """Their weights belong to the path from the first start."""
    settings, done = OTHERS["jarzynski"], []
    for _ in range(recovery.MOST + 1):
        action = recovery.plan(Alarm("explosion", "", 100), done, settings, NOWHERE)
        done.append(action)
    assert "restart of chains" not in [action.remedy for action in done]
    assert done[-1].remedy == "stop"


@pytest.mark.parametrize("newest", [300, 1000, 12800])
def test_of_each_octave_of_age_one_checkpoint_is_left(tmp_path, newest):
    for update in range(0, newest + 1, 20):
        path = recovery.proven_path(tmp_path, update)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        recovery.thin(tmp_path, update)
    ages = [(newest - run_folder.update_of(path)) // 20 for path in recovery.proven(tmp_path)]
    assert ages[:2] == [0, 1]
    assert len(ages) <= 3 + math.log2(newest / 20)
    for age in range(2, newest // 20):  # at most four times as old as needed
        assert any(age <= other <= 4 * age for other in ages) or max(ages) < age


# Batches.

ROWS = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))


def batches():
    return Batches(row_scale(ROWS), len(ROWS))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda x: x, ""),
        (lambda x: torch.where(x == x[3, 1], math.nan, x), "not finite"),
        (lambda x: torch.where(x == x[3, 1], math.inf, x), "not finite"),
        (lambda x: torch.where(x == x[3, 1], 1e6, x), "from the mean of the data"),
        (lambda x: 255 * x, "from the mean of the data"),
        (lambda x: x + 30, "from the mean of the data"),
        (lambda x: x + 2, "standard errors"),
        (lambda x: 0.001 * x, "from the mean of the data"),
        (lambda x: 0 * x, "from the mean of the data"),
        (lambda x: x[:1].expand_as(x), "one point"),
    ],
)
def test_batches_off_the_scale_of_the_data_are_refused(change, problem):
    x = ROWS[:32]
    x = x[x.norm(dim=1) > 1]  # a first row that is not near the mean
    got = batches().problem(change(x).clone())
    assert (problem in got) if problem else (got == "")


def test_batches_of_the_data_are_not_refused():
    """Heavy tails, few values, sparse rows: 500 batches of each."""
    rng = torch.Generator().manual_seed(1)
    heavy = torch.randn(1000, 3, generator=rng) / torch.rand(1000, 1, generator=rng)
    binary = torch.randint(0, 2, (1000, 4), generator=rng).float()
    sparse = (torch.rand(1000, 20, generator=rng) < 0.02).float()
    far = torch.cat([torch.randn(999, 2, generator=rng), torch.tensor([[1e6, 0.0]])])
    for rows in (heavy, binary, sparse, far, ROWS.reshape(500, 1, 2, 2)):
        rule = Batches(row_scale(rows), len(rows))
        for _ in range(500):
            assert rule.problem(rows[torch.randint(len(rows), (16,), generator=rng)]) == ""


def test_a_loader_that_is_stuck_is_refused_unless_batches_have_all_rows():
    rule = batches()
    got = [rule.problem(ROWS[:32].clone()) for _ in range(SAME + 1)]
    assert got[:SAME] == [""] * SAME
    assert "equals" in got[SAME]
    every = Batches(row_scale(ROWS), len(ROWS))
    assert not any(every.problem(ROWS) for _ in range(2 * SAME))


def test_one_bad_batch_is_drawn_again(tmp_path, undisturbed, monkeypatch):
    sound, calls = Dataset.batch, []

    def batch(self, n, rng):
        x = sound(self, n, rng)
        calls.append(0)
        if len(calls) == 38:
            x = x.clone()
            x[3] = math.nan
        return x

    monkeypatch.setattr(Dataset, "batch", batch)
    train(RUN, tmp_path)
    (action,) = guard_record.actions(tmp_path)
    assert (action.update, action.diagnosis, action.remedy) == (38, "batch", "")
    before, after = (run_folder.read_rows(f / "log.jsonl") for f in (undisturbed, tmp_path))
    assert before[:7] == after[:7]
    assert before[7]["loss"] != after[7]["loss"]


def test_batches_that_are_all_bad_end_the_run_with_their_cause(tmp_path, monkeypatch):
    monkeypatch.setattr(Dataset, "batch", lambda self, n, rng: self.train[:n] * math.nan)
    with pytest.raises(FloatingPointError, match=r"No batch can be learnt from: .* not finite"):
        train(RUN, tmp_path)
    assert [action.remedy for action in guard_record.actions(tmp_path)] == ["stop"]


def test_the_record_is_plain_rows(tmp_path):
    train(RUN, tmp_path, layer)
    (row,) = map(json.loads, (tmp_path / "guard.jsonl").read_text().splitlines())
    assert row["diagnosis"] == "parameters"
    assert "something else wrote to them" in row["reason"]
