"""Long chains: the label by its rule, and numbers that do not depend on how often they stopped."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from boltzwalk.data import Modes
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation import long_run
from boltzwalk.evaluation.long_run import LongRun, checkpoint_steps, label_chains, run_long
from boltzwalk.kernels import MALA, ULA, AdamDescent, KineticLangevin
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.metrics.frechet import frechet_distance
from boltzwalk.networks import Multilayer
from boltzwalk.settings.settings import Settings, resolve_auto
from boltzwalk.training.run import start

STEPS = 5
SHORT = ULA(0.3)


class Known(nn.Module):
    """An energy that is known, with a gradient that is; counts the rows it is asked for."""

    def __init__(self, kind="gaussian"):
        super().__init__()
        self.kind, self.rows = kind, 0
        self.register_buffer("mean", torch.zeros(2, dtype=torch.float32))

    def forward(self, x):
        self.rows += len(x)
        y = x - self.mean
        if self.kind == "flat":
            return 0 * y.sum(1)
        return y.square().sum(1) / 2 if self.kind == "gaussian" else -y.pow(4).sum(1)

    @torch.no_grad()
    def energy_and_grad(self, x):
        y = x - self.mean
        grad = {"gaussian": y, "flat": 0 * y, "unbounded": -4 * y**3}[self.kind]
        return self.forward(x), grad


def known(energy=None, kernel=SHORT, n=500):
    """A run whose data are a standard normal in the plane and whose energy is put in its place."""
    settings = Settings(
        data=Modes(2, (0.0,), (1.0,), rows=n),
        energy=NetworkEnergy(Multilayer((4,))),
        method=Contrastive(NoiseStart("gaussian"), kernel, steps=STEPS),
        batch=16,
        threads=1,
        device="cpu",
    )
    run = start(resolve_auto(settings))
    run = replace(run, energy=Known() if energy is None else energy)
    return run.judged_on(run.dataset)


def far(model):
    """A distance to held-out rows."""
    return lambda x: frechet_distance(x, model.data.test)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes by what an energy was asked for: one second a step of 2 x 10 chains."""
    energy = Known()
    counted = SimpleNamespace(monotonic=lambda: energy.rows / 20)
    monkeypatch.setattr(long_run, "time", counted)
    return energy


def test_looks_end_at_the_last_step():
    assert list(checkpoint_steps(100)) == [100]
    assert list(checkpoint_steps(1)) == [1]
    assert list(checkpoint_steps(101)) == [100, 101]
    assert list(checkpoint_steps(5000)) == [100, 200, 500, 1000, 2000, 5000]
    assert len(list(checkpoint_steps(100_000))) == 10


@pytest.mark.parametrize("wrong", [{"seconds": 0.0}, {"steps": 0}, {"chains": 3}])
def test_no_time_no_steps_or_no_chains_are_refused(wrong):
    with pytest.raises(ValueError, match="seconds must be > 0, steps >= 1 and chains >= 4"):
        LongRun(**wrong)


def past(*rows, base=1.0, beyond=0.0, far=1.0, r_hat=1.0):
    """What was seen; each row is (steps, distance, energy); chains from noise are `far`."""
    row = {"start": "data", "out_of_range": beyond, "energy_spread": 2.0}
    seen = [row | {"steps": s, "distance": q, "energy": u} for s, q, u in rows]
    noise = [one | {"start": "noise", "distance": far * base, "energy": math.nan} for one in seen]
    return {"rows": [*seen, *noise], "base": base, "base_out_of_range": 0.1, "r_hat": r_hat}


def growing(*distances):
    """Four looks at which the energy has settled."""
    steps = (1000, 2000, 5000, 10_000)
    return past(*[(at, value, 3.0) for at, value in zip(steps, distances, strict=True)])


SETTLED = [(5000, 1.0, 3.0), (10_000, 1.0, 3.0)]


@pytest.mark.parametrize(
    ("seen", "training", "expected", "because"),
    [
        (past(), 50, "undecided", "no chain has run"),
        (past(*SETTLED), 50, "convergent", "settled"),
        (past((100, math.nan, 0.0)), 50, "short-run only", "infinity within 100 steps"),
        (past((100, 1.0, math.inf)), 50, "short-run only", "infinity"),
        (past((100, 2.01, 0.0)), 50, "short-run only", "more than 2 times"),
        (past((100, 2.0, 0.0)), 50, "undecided", "10,000 steps are needed"),
        (past(*SETTLED, beyond=0.16), 50, "short-run only", "16% of the entries"),
        (past(*SETTLED, beyond=0.14), 50, "convergent", "settled"),
        (past((5000, 1.0, 3.0), (9999, 1.0, 3.0)), 50, "undecided", "10,000 steps are needed"),
        (past((100, 1.0, 9.0), *SETTLED), 50, "convergent", "settled"),
        (past(*SETTLED), 1000, "convergent", "settled"),
        (past(*SETTLED), 1001, "undecided", "10,010 steps are needed"),
        (past((5000, 1.5, 3.0), (10_000, 1.5, 3.0)), 50, "convergent", "settled"),
        (
            growing(0.98, 1.13, 1.3, 1.5),
            50,
            "undecided",
            "from checkpoint to checkpoint: 0.98, 1.13, 1.3, 1.5",
        ),
        (growing(1.0, 1.13, 1.3, 1.5), 50, "convergent", "settled"),
        (growing(0.98, 1.13, 1.31, 1.5), 50, "convergent", "settled"),
        (growing(9.0, 1.13, 1.3, 1.5), 50, "convergent", "settled"),
        (growing(0.1, 0.2, 0.4, 1.0), 50, "convergent", "settled"),
        (past((5000, 1.0, 3.0), (10_000, 1.51, 3.0)), 50, "undecided", "between 1.5 and 2 times"),
        (past((5000, 1.0, 3.0), (10_000, 1.0, 4.0)), 50, "convergent", "settled"),
        (past((5000, 1.0, 3.0), (10_000, 1.0, 4.1)), 50, "undecided", "moved by 1.1 between 5,000"),
        (past((5000, 1.0, 5.1), (10_000, 1.0, 4.0)), 50, "undecided", "moved by 1.1"),
        (past((5000, 9.0, 3.0), (5001, 1.0, 9.0), (10_000, 1.0, 3.0)), 50, "convergent", ""),
        (past(*SETTLED, far=1.5, r_hat=1.1), 50, "convergent", "starts agree"),
        (past(*SETTLED, far=1.51), 50, "undecided", "not convergent"),
        (past(*SETTLED, far=34.0, r_hat=1.55), 50, "undecided", "from noise have 34 (limit 1.5)"),
        (past(*SETTLED, r_hat=1.55), 50, "undecided", "R-hat of their energies is 1.55"),
        (past(*SETTLED, r_hat=math.nan), 50, "undecided", "R-hat of their energies is nan"),
        (past(*SETTLED, far=math.nan), 50, "undecided", "from noise have nan"),
    ],
)
def test_the_rule(seen, training, expected, because):
    found = label_chains(seen, training)
    assert found.label == expected
    assert because in found.reason


@pytest.mark.parametrize("worse", [2.0, 2.01])
def test_the_distance_is_held_against_that_of_the_samples(worse):
    found = label_chains(past(*[(s, 7 * worse, u) for s, _, u in SETTLED], base=7.0), 50)
    assert (found.label == "short-run only") == (worse > 2)


def test_an_exact_model_converges(tmp_path):
    model = known(kernel=ULA(0.1))
    effort = LongRun(seconds=1e9, steps=10_000, chains=200)
    found = run_long(model, far(model), tmp_path / "chains.safetensors", effort)
    assert found["label"] == "convergent", found["reason"]
    last = found["rows"][-2:]
    assert [row["start"] for row in last] == ["data", "noise"]
    for row in last:  # U of a normal in the plane is exponential: mean and deviation 1
        assert row["energy"] == pytest.approx(1, abs=0.3)
        assert row["energy_spread"] == pytest.approx(1, abs=0.4)
        assert row["gradient"] == pytest.approx(math.sqrt(math.pi / 2), abs=0.25)
    assert found["r_hat"] < 1.05
    assert found["ess"] > 1000
    assert found["steps"] == 10_000


def test_chains_that_explode_are_short_run_only(tmp_path):
    model = known(Known("unbounded"), ULA(0.01))
    effort = LongRun(seconds=1e9, steps=1000, chains=10)
    found = run_long(model, far(model), tmp_path / "chains.safetensors", effort)
    assert found["label"] == "short-run only"
    assert "infinity within 100 steps" in found["reason"]
    assert len(found["rows"]) == 2  # they are not run on
    assert math.isnan(found["r_hat"])
    assert not (tmp_path / "chains.safetensors").exists()
    again = run_long(model, far(model), tmp_path / "chains.safetensors", effort)
    assert numbers(again) == numbers(found)


def test_the_base_is_what_perfect_samples_may_have(tmp_path):
    model, path, effort = known(n=40), tmp_path / "chains.safetensors", LongRun(steps=1, chains=20)
    distances = iter([2.0, *range(10), 0.5, 0.5])
    assert run_long(model, lambda x: float(next(distances)), path, effort)["base"] == 9
    distances = iter([20.0, *range(10), 0.5, 0.5])
    assert run_long(model, lambda x: float(next(distances)), path, effort, seed=1)["base"] == 20


def test_chains_that_stand_still_have_no_r_hat(tmp_path):
    """Their energies are one number; nothing can be compared."""
    model = known(Known("flat"))
    effort = LongRun(seconds=1e9, steps=100, chains=10)
    found = run_long(model, far(model), tmp_path / "chains.safetensors", effort)
    assert math.isnan(found["r_hat"])
    assert math.isnan(found["ess"])
    assert found["rows"][0]["energy_spread"] == 0


def numbers(found):
    """All but the time, with nan equal to itself."""
    return json.dumps({key: value for key, value in found.items() if key != "pace"})


@pytest.mark.parametrize(
    "kernel",
    [
        ULA(0.3),
        pytest.param(MALA(0.3), marks=pytest.mark.slow),
        KineticLangevin(0.3, friction=1.0),
        AdamDescent(0.01),
    ],
    ids=repr,
)
def test_a_budget_stops_it_and_more_goes_on_with_the_same_numbers(tmp_path, clock, kernel):
    model = known(clock, kernel)
    cost = kernel.gradients
    said = []
    whole = LongRun(seconds=1e9, steps=1000, chains=10, report=said.append)
    expected = run_long(model, far(model), tmp_path / "whole.safetensors", whole)
    assert [row["steps"] for row in expected["rows"][::2]] == [100, 200, 500, 1000]
    assert said[-1] == "long chains: 1,000 of 1,000 steps"

    path = tmp_path / "parts.safetensors"
    first = run_long(model, far(model), path, replace(whole, seconds=250.0 * cost))
    assert [row["steps"] for row in first["rows"][::2]] == [100, 200]
    again = run_long(model, far(model), path, replace(whole, seconds=250.0 * cost))
    assert numbers(again) == numbers(first)  # 300 more steps would take longer
    second = run_long(model, far(model), path, replace(whole, seconds=400.0 * cost))
    assert [row["steps"] for row in second["rows"][::2]] == [100, 200, 500]
    assert numbers(run_long(model, far(model), path, whole)) == numbers(expected)

    before = clock.rows
    assert numbers(run_long(model, far(model), path, whole)) == numbers(expected)
    assert clock.rows == before  # nothing is left to do


@pytest.mark.parametrize("steps", [3, 37, 137, 200])
def test_the_gradients_that_are_evaluated_are_those_of_the_chains(tmp_path, clock, steps):
    model = known(clock)
    effort = LongRun(seconds=1e9, steps=steps, chains=10)
    run_long(model, far(model), tmp_path / "chains.safetensors", effort)
    drawn = 10 * (1 + STEPS)  # those to compare with: at their start, and one a step of ULA
    assert clock.rows == drawn + 2 * 10 * (len(list(checkpoint_steps(steps))) + steps)


def test_the_noise_between_two_looks_is_not_that_before(tmp_path):
    """Where the energy is flat a chain moves by its noise alone, and 100 steps by N(0, 2 h 100)."""
    model, chosen = known(Known("flat"), ULA(0.02)), []
    effort = LongRun(seconds=1e9, steps=200, chains=250)
    path = tmp_path / "chains.safetensors"
    run_long(model, lambda x: chosen.append(x) or 1.0, path, effort)
    first, _, second, _ = chosen[-4:]  # of chains from data and from noise, at either look
    moved = torch.stack([first - model.data.test[::2], second - first]).reshape(2, 500)
    assert moved.std(1).tolist() == pytest.approx([2, 2], abs=0.3)
    assert abs(float(torch.corrcoef(moved)[0, 1])) < 0.2


@pytest.mark.parametrize("change", ["model", "settings", "seed", "chains", "cut short", "no file"])
def test_other_chains_start_anew(tmp_path, change):
    model, path, seed = known(n=40), tmp_path / "chains.safetensors", 0
    effort = LongRun(seconds=1e9, steps=100, chains=10)
    run_long(model, far(model), path, effort)
    other = replace(effort, chains=12) if change == "chains" else effort
    if change == "model":
        model.module.mean += 1
    elif change == "settings":
        model = known(kernel=ULA(0.2), n=40)
    elif change == "seed":
        seed = 1
    elif change == "cut short":
        path.write_bytes(path.read_bytes()[:-7])
    elif change == "no file":
        path.write_bytes(b"")
    before = model.module.rows
    found = run_long(model, far(model), path, other, seed)
    assert model.module.rows - before == other.chains * (1 + STEPS) + 2 * other.chains * 101
    fresh = run_long(model, far(model), tmp_path / "fresh.safetensors", other, seed)
    assert numbers(found) == numbers(fresh)


def test_the_chains_start_at_held_out_rows_and_at_noise(tmp_path):
    """A kernel that hardly moves leaves them where they started."""
    model = known(kernel=ULA(1e-9))
    chosen = []
    effort = LongRun(seconds=1e9, steps=1, chains=50)
    run_long(model, lambda x: chosen.append(x) or 1.0, tmp_path / "chains.safetensors", effort)
    *_, train, data, noise = chosen
    test = model.data.test
    torch.testing.assert_close(data, test[::10], atol=1e-3, rtol=0)  # spread over all 500
    assert len(train) == 50
    low, high = model.data.train.amin(0), model.data.train.amax(0)
    assert bool(((noise > low - 1e-3) & (noise < high + 1e-3)).all())
    assert float(noise.std()) > 1.5  # a uniform one over about [-3, 3]
