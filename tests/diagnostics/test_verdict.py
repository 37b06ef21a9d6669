"""Each label on a series made for it, on its near misses, and on small runs that go that way."""

import numpy as np
import pytest
import torch

from boltzwalk.data import Dataset, Digits
from boltzwalk.diagnostics.findings import training_findings
from boltzwalk.diagnostics.oscillation import WINDOW
from boltzwalk.diagnostics.verdict import CURES, TOO_SHORT, verdict
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA, noise_temperature, run_chain
from boltzwalk.kernels.chain import chain_metrics
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import DataStart, NoiseStart, ReplayStart
from boltzwalk.networks import Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.optimizers import SGD, Adam
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import Trace, read_rows, read_trace
from boltzwalk.training.loop import train_loop
from boltzwalk.walkers import walkers_at

NOTHING = Trace(np.zeros(0), np.zeros(0))
DRIFT, DISTANCE = 50.0, 8.0  # 50 steps of size 1


def noise(n, size, seed=0):
    return size * np.random.default_rng(seed).standard_normal(n)


def row(update, v, **more):
    return {"update": update, "gradient_mean": v, "travel": DRIFT * v, **more}


def from_noise(d, v):
    """What a run logs whose walkers start from noise."""
    n = len(d)
    ends = [*range(10, n, 10), n]
    rows = [row(u, v[u - 1], energy_gap=d[u - 1], loss=d[u - 1], distance=DISTANCE) for u in ends]
    return rows, Trace(d, v)


def persistent(d, v, out=0.2, displacement=1.5):
    """What a run logs whose walkers go on where they were."""
    n = len(d)
    more = {"displacement": displacement, "out_of_range": out}
    ends = [*range(10, n, 10), n]
    return [row(u, v[u - 1], energy_gap=d[u - 1], **more) for u in ends], Trace(d, v)


def healthy(n=1000, kind=from_noise):
    return kind(noise(n, 0.02), 0.14 + noise(n, 0.002, seed=1))


@pytest.mark.parametrize("kind", [from_noise, persistent])
def test_healthy(kind):
    rows, trace = healthy(kind=kind)
    found = verdict(rows, trace)
    assert found.label == "healthy"
    assert found.update == 1000
    assert "weak oscillation" in found.reason
    assert ("of the distance 8;" in found.reason) == (kind is from_noise)


@pytest.mark.parametrize("kind", [from_noise, persistent])
@pytest.mark.parametrize("flat", [0, 150])
@pytest.mark.parametrize("growing", [60, 300, 1500])
def test_the_growth_of_a_start_is_healthy_all_the_way(kind, flat, growing):
    grown = np.r_[np.zeros(flat), np.linspace(0, 1, growing), np.ones(600)]
    v = 1e-6 * 1.4e5**grown
    # the gap is as large as the energy is steep, until walkers come near the data
    d = np.where(grown < 1, -4 * v * (1 - v / 0.14), 0.02 * np.sin(np.arange(len(v))))
    for n in range(10, len(v) + 1, 10):
        found = verdict(*kind(d[:n], v[:n]))
        assert found.label == ("healthy" if n >= 200 else TOO_SHORT), (n, found)


def explosion(n=600, growing=60, factor=1e4):
    growth = factor ** np.r_[np.zeros(n - growing), np.linspace(0, 1, growing)]
    return np.where(growth > 1, -0.02 * growth, noise(n, 0.02)), 0.14 * growth


@pytest.mark.parametrize(
    ("kind", "what"), [(from_noise, "times the distance 8 "), (persistent, "times the usual 0.14 ")]
)
def test_exploded(kind, what):
    found = verdict(*kind(*explosion()))
    assert found.label == "exploded"
    assert what in found.reason
    assert found.reason.endswith(f"{CURES['exploded']}.")


def test_exploded_before_the_window():
    d, v = explosion(growing=550)
    assert verdict(*from_noise(d, v)).label == "exploded"
    assert verdict(*persistent(d, v, out=1.0)).label == "exploded"
    assert "100% of the coordinates" in verdict(*persistent(d, v, out=1.0)).reason
    # walkers out of the range of the data that were there from the first, or data without a range
    assert verdict(*healthy(kind=lambda d, v: persistent(d, v, out=1.0))).label == "healthy"


def test_an_explosion_is_seen_after_a_few_updates():
    d, v = explosion(n=30, growing=28)
    assert verdict(*from_noise(d, v)).label == "exploded"


@pytest.mark.parametrize("kind", [from_noise, persistent])
@pytest.mark.parametrize("updates", [1, 8])
def test_an_overshoot_that_is_over_or_short_is_healthy(kind, updates):
    rows, trace = healthy(kind=kind)
    for end in (1000, 990, 500):
        d, v = trace.energy_gap.copy(), trace.gradient_mean.copy()
        d[end - updates : end] = -1e5
        v[end - updates : end] = 1e4
        assert verdict(rows, Trace(d, v)).label == "healthy"


def test_three_times_the_distance_is_the_limit():
    rows, trace = healthy()
    for factor, label in ((0.9, "healthy"), (2.8, "healthy"), (3.2, "exploded")):
        v = np.full(1000, factor * DISTANCE / DRIFT)
        assert verdict(rows, trace._replace(gradient_mean=v)).label == label


def test_the_travel_is_that_of_the_steps_of_now():
    """A run that goes on with steps ten times as large travels ten times as far."""
    rows, trace = healthy()
    rows[0] = rows[0] | {"travel": rows[0]["travel"] / 10}
    v = np.full(1000, 3.2 * DISTANCE / DRIFT)
    assert verdict(rows, trace._replace(gradient_mean=v)).label == "exploded"


def test_nan():
    rows, trace = healthy()
    d, v = trace.energy_gap.copy(), trace.gradient_mean.copy()
    d[989:] = np.nan
    found = verdict(rows, Trace(d, v))
    assert found.label == "nan"
    assert found.update == 990
    assert "energy gap" in found.reason
    v[979:] = np.inf
    assert verdict(rows, Trace(trace.energy_gap, v)).update == 980
    assert verdict(rows, trace, failure="update 1001: loss nan").label == "nan"
    assert (
        "update 1001: loss nan. Go on"
        in verdict(rows, trace, failure="update 1001: loss nan").reason
    )
    rows[-3]["energy_data"] = -np.inf
    found = verdict(rows, trace)
    assert found[::2] == ("nan", rows[-3]["update"])
    assert "energy_data is -inf" in found.reason


def test_nan_after_an_explosion_says_so():
    d, v = explosion()
    rows, trace = from_noise(np.r_[d, np.nan], np.r_[v, np.nan])
    found = verdict(rows, trace)
    assert found.label == "nan"
    assert found.update == 601
    assert "before that, travel" in found.reason


def test_what_a_method_does_not_log_is_not_nan():
    rows, trace = healthy()
    assert verdict(rows, trace._replace(gradient_mean=np.full(1000, np.nan))).label == "healthy"
    assert verdict([{"update": 1000}], trace).label == "healthy"
    assert verdict([], trace).label == "healthy"
    assert verdict([], NOTHING).label == "unknown"
    assert training_findings([], NOTHING) == []


def test_stalled():
    n = 1000
    d, v = -1.5 + noise(n, 0.1), 0.5 * DISTANCE / DRIFT + noise(n, 0.002)
    found = verdict(*from_noise(d, v))
    assert found.label == "stalled"
    assert "0.50 of the distance 8 (limit 0.6)" in found.reason
    # near misses: far enough; on its way; a gap of both signs, as in the plane; kept walkers
    assert verdict(*from_noise(d, v * 1.3)).label == "healthy"
    assert verdict(*from_noise(d, v * np.linspace(0.5, 1, n))).label == "healthy"
    assert verdict(*from_noise(d + 1.5, v)).label == "healthy"
    assert verdict(*persistent(d, v)).label == "healthy"
    assert verdict(*from_noise(d[:150], v[:150])).label == TOO_SHORT


@pytest.mark.parametrize("n", [700, 20_000])
def test_collapsed(n):
    d, v = -np.linspace(0, 0.02, n), 0.14 + noise(n, 0.002)
    for kind in (from_noise, persistent):
        found = verdict(*kind(d, v))
        assert found.label == "collapsed", found
        assert "d -0.0" in found.reason
        assert "positive at 0%" in found.reason
        assert found.reason.endswith(f"{CURES['collapsed']}.")


def test_a_gap_that_stays_negative_has_not_collapsed():
    n = 1000
    v = 0.14 + noise(n, 0.002)
    for d in (
        np.full(n, -0.2),
        -0.2 + noise(n, 0.05),
        -np.linspace(0.2, 0.3, n),  # spectral normalisation
        -(np.linspace(0, 0.02, n) ** 0.1),
        np.linspace(0, 0.02, n),  # grows on the other side
        -np.linspace(0, 0.02, n) + noise(n, 0.02),  # of both signs
        -np.interp(np.arange(n), [0, 500, 800, n], [0.01, 0.01, 0.04, 0.02]),  # turned back
        -np.interp(np.arange(n), [0, 200, 300, 500, n], [0.1, 0.3, 0.3, 0.15, 0.36]),  # comes back
    ):
        assert verdict(*from_noise(d, v)).label == "healthy"
        assert verdict(*persistent(d, v)).label == "healthy"
    d = -np.linspace(0, 0.02, n)
    assert verdict(*from_noise(d[:450], v[:450])).label == "healthy"  # too early to say


def turning(n, size):
    return size * (-1.0) ** np.arange(n) + noise(n, 0.01)


def test_oscillating():
    v = np.full(600, 0.14)
    taken = DRIFT * 0.14**2
    found = verdict(*from_noise(turning(600, 0.15 * taken), v))
    assert found.label == "oscillating"
    assert "15% of the energy 0.98" in found.reason
    growing = verdict(*persistent(turning(600, 0.05 * np.geomspace(1e-2, 1, 600)), v))
    assert growing.label == "oscillating"
    assert "with swings of" in growing.reason


def test_a_strong_oscillation_alone_is_healthy():
    v = np.full(600, 0.14)
    for kind, size in ((from_noise, 0.04), (persistent, 0.15)):
        found = verdict(*kind(turning(600, size * 0.98), v))
        assert found.label == "healthy"
        assert "strong oscillation" in found.reason
    loose = noise(601, 0.1)
    assert "strong" in verdict(*from_noise(loose[1:] - 0.9 * loose[:-1], v)).reason  # near -0.5


def test_rows_alone_tell_as_well():
    d, v = explosion()
    n = 1000
    stalled = from_noise(-1.5 + noise(n, 0.1), 0.5 * DISTANCE / DRIFT + noise(n, 1e-4))
    collapsed = from_noise(-np.linspace(0, 0.02, n), np.full(n, 0.14))
    for (rows, _), label in (
        (healthy(), "healthy"),
        (from_noise(d, v), "exploded"),
        (persistent(d, v), "exploded"),
        (stalled, "stalled"),
        (collapsed, "collapsed"),
        (from_noise(np.r_[d, np.nan], np.r_[v, np.nan]), "nan"),
        # a row in ten shows no turns of updates, even if the rows turn
        (from_noise(np.repeat(turning(n // 10, 0.5), 10), np.full(n, 0.14)), "healthy"),
    ):
        found = verdict(rows, NOTHING)
        assert found.label == label
        assert found.update == rows[-1]["update"]


class Counted:
    """A sequence that counts the values read from it: those that become an array, or one."""

    ndim = 1

    def __init__(self, values, read):
        self.values, self.read = values, read

    def __len__(self):
        return len(self.values)

    def __getitem__(self, part):
        if isinstance(part, slice):
            return Counted(self.values[part], self.read)
        self.read.append(1)
        return self.values[part]

    def __array__(self, dtype=None, copy=None):
        self.read.append(len(self))
        return np.asarray(self.values, dtype)


def test_a_long_run_costs_no_more_than_a_short_one():
    counts = []
    for n in (20_000, 200_000):
        (rows, trace), read = healthy(n), []
        counted = Trace(*(Counted(series, read) for series in trace))
        assert verdict(Counted(rows, read), counted) == verdict(rows, trace)
        counts.append(sum(read))
    assert counts[0] == counts[1] > 2 * WINDOW


def test_anatomy():
    rows, trace = healthy()
    found = {finding.name: finding for finding in training_findings(rows, trace)}
    d, v = trace.energy_gap[500:], trace.gradient_mean
    assert found["energy gap"].text == f"{d.mean():.3g} ± {np.sqrt((d * d).mean()):.3g}"
    assert found["positive gaps"].text == f"{(d > 0).mean():.0%}"
    assert found["oscillation"].text == "weak"
    assert found["travel"].text == f"{DRIFT * np.median(v[-20:]):.3g} of 8"
    assert "temperature" not in found


@pytest.mark.parametrize(
    ("temperature", "meaning"), [(0.0, "no noise"), (1.0, "temperature)"), (5e-5, "not exp(-U)")]
)
def test_anatomy_says_what_a_temperature_means(temperature, meaning):
    _, trace = healthy()
    last = training_findings([{"update": 1000, "temperature": temperature}], trace)[-1]
    assert last.name == "temperature"
    assert last.text == f"{temperature:.3g}"
    assert meaning in last.meaning


# Small runs


def run(folder, updates, optimizer, start=None, steps=5, spectral_norm=False):
    """Trains on 8x8 digits; returns rows, trace and the message it broke off with."""
    torch.set_default_dtype(torch.float32)
    settings = resolve_auto(
        Settings(
            data=Digits(),
            energy=NetworkEnergy(
                Multilayer((64, 64), activation="leaky_relu"), spectral_norm=spectral_norm
            ),
            method=Contrastive(
                start=start or NoiseStart(),
                kernel=ULA(1.0, noise_temperature(1.0, 0.01)),
                steps=steps,
                data_noise=0.15,
            ),
            optimizer=optimizer,
            updates=updates,
            batch=64,
            threads=1,
            guard="off",
            output=Output(picture_every=0),
        )
    )
    message = ""
    try:
        for _ in execute(settings, folder):
            pass
    except FloatingPointError as error:
        message = str(error)
    return read_rows(folder / "log.jsonl"), read_trace(folder), message


def labels(rows, trace):
    """The verdicts that a run gets on its way."""
    found = []
    for i, now in enumerate(rows, 1):
        n = now["update"]
        part = Trace(trace.energy_gap[:n], trace.gradient_mean[:n])
        found.append(verdict(rows[:i], part).label)
    return found


def test_a_run_that_holds(tmp_path):
    rows, trace, message = run(tmp_path, 300, Adam(1e-3))
    assert not message
    assert set(labels(rows[:-1], trace)) == {"healthy", TOO_SHORT}
    assert {finding.name for finding in training_findings(rows, trace)} >= {"travel", "temperature"}
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text()[:-30])  # cut off in the middle of its last line
    assert len(read_rows(log)) == len(rows) - 1
    assert verdict(read_rows(log), trace).label == "healthy"
    assert {"energy_train", "validation_rank", "sample_distance"} <= rows[-1].keys()
    assert [row["update"] for row in rows if "energy_train" in row] == [100, 200, 300]


def test_a_rate_that_is_too_large_explodes_and_breaks(tmp_path):
    rows, trace, message = run(tmp_path, 300, Adam(10.0))
    assert message
    assert verdict(rows, trace).label == "exploded"
    broken = verdict(rows, trace, message)
    assert broken.label == "nan"
    assert "before that, travel" in broken.reason


def test_kept_walkers_explode_as_well(tmp_path):
    rows, trace, _ = run(tmp_path, 100, Adam(0.1), start=ReplayStart(size=0), steps=10)
    assert "distance" not in rows[-1]
    found = verdict(rows, trace)
    assert found.label == "exploded"
    assert "out of the range" in found.reason


@pytest.mark.slow
def test_a_bounded_slope_stalls(tmp_path):
    rows, trace, _ = run(tmp_path, 400, Adam(1e-3), spectral_norm=True)
    found = verdict(rows, trace)
    assert found.label == "stalled"
    assert set(labels(rows, trace)) == {"stalled", TOO_SHORT}
    assert "spectral normalisation" in found.reason


@pytest.mark.slow
def test_a_large_rate_of_sgd_turns_at_every_update(tmp_path):
    rows, trace, _ = run(tmp_path, 220, SGD(0.2))
    assert verdict(rows, trace).label == "oscillating"
    assert set(labels(rows, trace)) == {"oscillating", TOO_SHORT}


@pytest.mark.slow
def test_chains_from_a_single_point_collapse():
    torch.set_default_dtype(torch.float32)
    data = Dataset(torch.full((64, 64), -1.0), torch.zeros(0, 64), torch.zeros(0, 64))
    energy = NetworkEnergy(Multilayer((64, 64))).build((64,), 0)
    method = Contrastive(DataStart(), ULA(1.0, noise_temperature(1.0, 0.03)), steps=10)
    state = method.init(energy, data.train, generator(0, "init"))
    optimizer = Adam(1e-3).build(energy.parameters())
    rows = []
    for done in train_loop(
        energy,
        method,
        lambda rng: data.batch(64, rng),
        optimizer,
        state=state,
        updates=1500,
        seed=0,
    ):
        rows.append({"update": done.update} | {k: float(v) for k, v in done.info.items()})
    trace = Trace(*(np.array([now[k] for now in rows]) for k in ("energy_gap", "gradient_mean")))
    assert set(labels(rows[9::10], trace)) == {"healthy", "collapsed", TOO_SHORT}


@pytest.mark.parametrize("stiffness", [0.01, 0.5, 1.5])
def test_walkers_at_rest_under_their_noise_have_not_exploded(stiffness, rng):
    """Drift answers the noise of every step, however far that is in all: for any stable step."""
    kernel, steps, x = ULA(1.0, temperature=0.5), 200, torch.zeros(64, 20)

    def energy(y):
        return stiffness * y.square().sum(1) / 2

    for _ in range(3):  # the last chain begins at rest
        walkers, chain = run_chain(kernel, energy, walkers_at(energy, x), steps, rng)
        x = walkers.x
    found = {k: float(v) for k, v in chain_metrics(kernel, steps, x, x, chain).items()}
    exact = steps * (stiffness * 0.5 * 20 / (1 - stiffness / 2)) ** 0.5  # v² = T λ D / (1 - ελ/2)
    assert found["travel"] == pytest.approx(exact, rel=0.03)
    assert found["noise_path"] == pytest.approx(steps * (2 * 0.5 * 20) ** 0.5)
    v = np.full(1000, found["gradient_mean"])
    rows = [found | {"update": 1000, "distance": 1.0}]
    assert found["travel"] > 3
    assert verdict(rows, Trace(noise(1000, 0.02), v)).label != "exploded"
    far = verdict([row | {"travel": 10 * row["travel"] + 1e4} for row in rows], Trace(v, v))
    assert far.label == "exploded"
    assert f"the path {found['noise_path']:.3g} of its noise" in far.reason
