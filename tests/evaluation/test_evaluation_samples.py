"""Samples judged where the answer is known: they are the data, or lack a mode, or are noise."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from boltzwalk.data import Digits, Modes, Toy
from boltzwalk.data.dataset import Dataset
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.learnt_mixture import LearntMixture, MixtureEnergy
from boltzwalk.evaluation.features import distance_to, features_for
from boltzwalk.evaluation.goodness import goodness
from boltzwalk.evaluation.modes import modes
from boltzwalk.evaluation.quality import _frechet, make_comparison, quality
from boltzwalk.evaluation.samples import SampleSet, draw_samples, keep_finite
from boltzwalk.kernels import ULA, Descent
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski, Weighted
from boltzwalk.methods.starts import NoiseStart, ReplayStart
from boltzwalk.networks import Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.settings import Settings, resolve_auto
from boltzwalk.training.run import start
from boltzwalk.walkers import walkers_at

STEPS = 5
NORMAL = Modes(2, (0.0,), (1.0,), rows=400)
THREE = Modes(4, (-8.0, 0.0, 8.0), (1.0, 1.0, 2.0), rows=400)
NETWORK = NetworkEnergy(Multilayer((16,)))


class Normal(nn.Module):
    """U = |x|^2 / 2 to the right of the origin; what lies left of a wall is not finite."""

    def __init__(self, wall=-math.inf, beyond=math.nan):
        super().__init__()
        self.wall, self.beyond, self.rows = wall, beyond, 0

    def forward(self, x):
        self.rows += len(x)
        u = x.square().flatten(1).sum(1) / 2
        return torch.where(x.flatten(1)[:, 0] < self.wall, self.beyond, u)

    @torch.no_grad()
    def energy_and_grad(self, x):
        u = self.forward(x)
        return u, torch.where(u.isnan()[:, None], torch.nan, x)


class Density(nn.Module):
    """The energy of a known density at a temperature."""

    def __init__(self, density, temperature=1.0):
        super().__init__()
        self.density, self.temperature = density, temperature

    def forward(self, x):
        return -self.temperature * self.density.log_density(x.double()).to(x)


def ready(data, method, energy=None):
    """A run that was not trained, with an energy in the place of its own."""
    own = MixtureEnergy() if isinstance(method, Jarzynski) else NETWORK
    settings = Settings(data=data, energy=own, method=method, batch=16, threads=1, device="cpu")
    run = start(resolve_auto(settings))
    model = run.judged_on(run.dataset)
    return model if energy is None else replace(model, module=energy)


def from_noise(kernel=None):
    return Contrastive(NoiseStart("gaussian"), kernel or ULA(0.3), steps=STEPS)


def equal(x):
    """Samples that count the same."""
    return SampleSet(x, None, "drawn", "", len(x))


def by_name(part):
    return {measure.name: measure for measure in part.measures}


# Drawing.


def test_a_chain_from_noise_draws_as_many_as_are_wanted():
    model = ready(NORMAL, from_noise(), Normal())
    found = draw_samples(model, 120, generator(0, "test"))
    assert found.x.shape == (120, 2)
    assert model.module.rows == 120 * (1 + STEPS)
    assert (found.log_w, found.not_finite, found.requested) == (None, "", 120)
    assert found.protocol == "120 samples, 5 steps each"


def test_few_walkers_are_visited_again_after_the_steps_of_training():
    method = Contrastive(ReplayStart(size=50), ULA(1e-12), steps=STEPS)
    model = ready(NORMAL, method, Normal())
    found = draw_samples(model, 120, generator(0, "test"))
    assert found.x.shape == (120, 2)
    assert found.protocol == "120 samples: 50 walkers, 3 times, 5 steps apart"
    assert model.module.rows == 50 * (1 + STEPS) + 2 * 50 * STEPS
    torch.testing.assert_close(found.x[50:100], found.x[:50], atol=1e-3, rtol=0)  # they hardly move
    torch.testing.assert_close(found.x[100:], found.x[:20], atol=1e-3, rtol=0)
    ordered = model.state.x[model.state.x[:, 0].argsort()]  # each of the store, once a visit
    mine = found.x[:50][found.x[:50, 0].argsort()]
    torch.testing.assert_close(mine, ordered, atol=1e-3, rtol=0)
    assert len(draw_samples(model, 50, generator(0, "test")).x) == 50


def test_samples_that_are_not_finite_are_counted_and_named():
    model = ready(NORMAL, from_noise(ULA(1e-6)), Normal(wall=0.0))
    found = draw_samples(model, 200, generator(0, "test"))
    assert found.requested == 200
    assert 60 < len(found.x) < 140  # half of a normal
    assert bool(found.x.isfinite().all())
    assert bool((found.x[:, 0] > -0.1).all())
    assert f"{200 - len(found.x)} of 200 rows with nan or inf" in found.not_finite
    part = quality(model.data, found, features_for(model.data), generator(0, "test"))
    assert part.measures[0].name == "not finite"
    assert part.measures[0].value == pytest.approx(1 - len(found.x) / 200)
    assert part.measures[0].meaning == found.not_finite


def weighted(x, log_w, steps=STEPS):
    """A run whose walkers are these, under a standard normal."""
    model = ready(NORMAL, Jarzynski(ExactStart(len(x)), ULA(0.1), steps=steps))
    model = replace(model, module=LearntMixture(torch.zeros(1, x.shape[1])))
    walkers = walkers_at(model.module, x, log_w)
    return replace(model, state=Weighted(walkers, torch.zeros((), dtype=torch.int64)))


def test_weighted_walkers_are_all_taken_with_their_weights(rng):
    x = torch.randn(40, 2, generator=rng)
    log_w = torch.tensor([0.0, 0.0] + [-torch.inf] * 38)
    found = draw_samples(weighted(x, log_w), 7, rng)
    assert torch.equal(found.x, x)
    assert torch.equal(found.log_w, log_w)
    assert found.protocol == "40 weighted walkers, 2 in effect"
    assert found.weights.tolist() == [0.5, 0.5] + [0.0] * 38
    rows = found.rows(1000, rng)
    assert len(rows) == 40
    of_first = (rows == x[0]).all(1)
    assert int(of_first.sum()) == 20
    assert bool((of_first | (rows == x[1]).all(1)).all())
    assert not torch.equal(of_first, torch.arange(40) < 20)  # in random order
    assert len(found.rows(5, rng)) == 5
    assert equal(x).weights is None
    once = equal(x).rows(1000, rng)
    assert torch.equal(once[once[:, 0].argsort()], x[x[:, 0].argsort()])


def test_weights_stay_with_their_walkers_where_others_are_lost(rng):
    x = torch.randn(6, 2, generator=rng)
    x[2, 1] = torch.nan
    log_w = torch.arange(6.0)
    found = keep_finite(x, log_w, "test")
    assert found.log_w.tolist() == [0, 1, 3, 4, 5]
    assert torch.equal(found.x, x[[0, 1, 3, 4, 5]])
    assert found.not_finite == "1 of 6 rows with nan or inf (rows 2)"


# Features.


def test_rows_of_a_table_are_compared_as_they_are(rng):
    found = features_for(NORMAL.load())
    x = torch.randn(5, 2, generator=rng)
    assert torch.equal(found.extract(x), x)
    assert (found.name, found.probabilities, found.classes) == ("Fréchet distance", None, None)


def images(n, rank, rng, side=9):
    """Images without labels that lie in a subspace."""
    flat = torch.randn(n, rank, generator=rng) @ torch.randn(rank, side * side, generator=rng)
    flat = flat.reshape(n, 1, side, side)
    return Dataset(flat, flat[:0], flat[:0])


def test_principal_components_keep_distances_in_the_space_of_the_data(rng):
    data = images(300, 10, rng)
    found = features_for(data)
    assert "64 principal components" in found.protocol
    assert found.extract(data.train[:7]).shape == (7, 64)
    x, features = data.train[:50].flatten(1).double(), found.extract(data.train[:50]).double()
    torch.testing.assert_close(
        torch.cdist(features, features), torch.cdist(x, x), atol=1e-2, rtol=1e-3
    )
    assert float(found.extract(data.train).mean(0).abs().max()) < 1e-3
    # Few rows span few axes.
    assert features_for(images(20, 10, rng)).extract(data.train[:7]).shape == (7, 20)
    # Small images are left as they are.
    small = images(30, 10, rng, side=8)
    assert torch.equal(features_for(small).extract(small.train), small.train.flatten(1))


def test_labelled_images_have_the_features_of_a_classifier():
    data = Digits().load()
    found = features_for(data)
    assert found.name == "classifier-FID"
    assert len(found.extract(data.test)) == len(data.test)
    p = found.classes(data.test)
    assert p.shape == (len(data.test), 10)
    assert float((p.argmax(1) == data.test_labels).float().mean()) > 0.9
    unlabelled = replace(data, train_labels=None)
    assert features_for(unlabelled).classes is None
    nothing_held_out = replace(
        data, validation=data.test[:0], test=data.test[:0], validation_labels=None, test_labels=None
    )
    assert features_for(nothing_held_out).classes is None


def test_the_inception_network_needs_images(tmp_path):
    with pytest.raises(ValueError, match="needs images, got events of shape"):
        features_for(NORMAL.load(), tmp_path / "weights.pth")
    with pytest.raises(FileNotFoundError):
        features_for(Digits().load(), tmp_path / "weights.pth")


def test_total_variation_of_histograms_in_closed_cases():
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    name, distance = distance_to(corners, features_for(NORMAL.load()), 1000)
    assert name == "total variation of histograms of 1,000 samples"
    assert distance(corners) == 0
    assert distance(corners[[0, 0, 1, 1, 2, 2, 3, 3]]) == 0
    assert distance(corners[:2]) == 0.5
    assert distance(corners[[0, 0, 0, 1]]) == 0.5
    assert distance(corners[:1]) == 0.75
    assert distance(corners + 1e-3 * (1 - 2 * corners)) == 0  # the edge lies inside
    assert distance(corners + 1e-3 * (2 * corners - 1)) == 1  # a little outside is outside
    assert distance(corners * 0.5 + 0.25) == 1  # the same outline, other cells
    assert distance(corners + 1000) == 1
    assert distance(1e6 * corners) == 0.75  # one corner is the same
    assert distance_to(2 * corners, features_for(NORMAL.load()), 4)[1](2 * corners) == 0
    inside = torch.rand(4, 2) * 0.8 + 0.1
    _, distance = distance_to(torch.cat([corners, inside]), features_for(NORMAL.load()), 8)
    assert distance(torch.cat([inside, corners])) == 0


def test_elsewhere_the_distance_is_that_of_the_features(rng):
    data = THREE.load()
    name, distance = distance_to(data.test, features_for(data), len(data.test))
    assert name == f"Fréchet distance of {len(data.test):,} samples"
    assert distance(data.test) == pytest.approx(0, abs=1e-6)
    assert distance(data.test + 1) == pytest.approx(4, rel=1e-4)  # |shift|^2


# Quality.


def judged(data, x):
    return by_name(quality(data, equal(x), features_for(data), generator(0, "test")))


@pytest.fixture(scope="module")
def three():
    """Data, and what is said of training data, noise, and data without a mode."""
    torch.set_default_dtype(torch.float32)
    data = THREE.load()
    kept = data.train[data.train_labels != 0]
    noise = data.noise(len(data.train), generator(0, "noise"))
    return data, judged(data, data.train), judged(data, noise), judged(data, kept)


def test_training_data_as_samples_are_as_good_as_the_floor(three):
    _, best, noise, _ = three
    assert not any(measure.refusal for measure in best.values())
    distance = best["Fréchet distance"]
    assert distance.low < distance.floor < distance.high
    for name in (
        "MMD, Gaussian",
        "energy distance",
        "precision",
        "recall",
        "density",
        "coverage",
    ):
        assert best[name].value == pytest.approx(best[name].floor, abs=1e-6), name
    assert best["C2ST accuracy"].low < 0.5 < best["C2ST accuracy"].high
    gap = best["kernel distance"].value - best["kernel distance"].floor
    assert abs(gap) < 0.01 * noise["kernel distance"].value
    assert best["Wasserstein"].value == pytest.approx(best["Wasserstein"].floor, rel=1e-4)
    assert best["memorisation"].value == 0
    assert "100.0% are copies" in best["memorisation"].protocol
    assert all(measure.floor == measure.floor for measure in best.values() if measure.better)


def test_noise_is_worse_than_data_whichever_is_asked(three):
    _, best, noise, _ = three
    assert noise.keys() == best.keys()
    for name, measure in noise.items():
        if name == "recall":
            continue  # the large balls of noise hold everything, as the reference of it says
        if measure.better == "lower":
            assert measure.value > max(best[name].value, measure.floor), name
        elif measure.better == "higher":
            assert measure.value < min(best[name].value, measure.floor), name
    assert noise["memorisation"].low > 1


def test_data_without_a_mode_are_worse_where_it_must_show(three):
    _, best, _, lost = three
    for name in ("recall", "coverage"):
        assert lost[name].value < best[name].value - 0.2, name  # a quarter of the data
    distance = best["Fréchet distance"]
    assert distance.low < distance.floor < distance.high
    for name in (
        "MMD, Gaussian",
        "energy distance",
        "sliced Wasserstein",
        "Wasserstein",
        "C2ST accuracy",
    ):
        assert lost[name].value > best[name].value, name
    assert lost["precision"].value == pytest.approx(best["precision"].value, abs=0.05)


def test_the_interval_of_a_distance_holds_it(three):
    for found in three[1:]:
        measure = found["Fréchet distance"]
        assert measure.low < measure.value < measure.high


def test_the_interval_of_a_distance_is_one_of_95_percent(rng):
    """Ten from the data, |shift|^2 moves by twice the shift times the error of the mean."""
    x, y = torch.randn(2, 400, 1, generator=rng)
    data = Dataset(y, y, y[:0])
    both = make_comparison(data, equal(x + 10), features_for(data), rng)
    (found,) = _frechet(both, rng)
    assert found.value == pytest.approx(100, abs=5)
    half = 2.09 * 2 * 10 * math.sqrt(2 / 400)
    assert found.high - found.value == pytest.approx(half, rel=0.4)  # of 20 splits: 0.16
    assert found.value - found.low == pytest.approx(found.high - found.value, rel=1e-6)


def test_samples_that_are_all_the_same_or_missing_are_refused(three):
    data = three[0]
    for x, why in (
        (data.train[:1].expand(50, -1), "collapsed"),
        (data.train[:1], "fewer than 2"),
        (data.train[:0], "fewer than 2"),
    ):
        (only,) = judged(data, x).values()
        assert (only.name, only.text) == ("samples", "refused")
        assert why in only.refusal


def test_fewer_samples_than_features_have_no_frechet_distance_and_the_number_is_named(three):
    data = three[0]
    found = judged(data, data.train[:4])
    assert "10 rows or more" in found["Fréchet distance"].refusal
    assert "got 4" in found["Fréchet distance"].refusal
    assert found["energy distance"].refusal == ""  # which needs none
    assert "20 rows" in found["C2ST accuracy"].refusal
    assert judged(data, data.train[:10])["Fréchet distance"].refusal == ""


def test_weighted_samples_are_judged_by_their_weights(three):
    """Half of the samples are noise, of no weight."""
    data, best, noise, _ = three
    x = torch.cat([data.noise(400, generator(0, "noise")), data.train])
    log_w = torch.cat([torch.full((400,), -torch.inf), torch.zeros(400)])
    both = SampleSet(x, log_w, "weighted", "", 800)
    found = by_name(quality(data, both, features_for(data), generator(0, "test")))
    distance = found["Fréchet distance"]
    assert distance.low < best["Fréchet distance"].value < distance.high
    assert found["precision"].value > noise["precision"].value + 0.2


def test_held_out_rows_are_spread_over_all_that_there_are():
    data = THREE.load()
    rows, name = data.held_out(8)
    assert name == "8 held-out rows"
    assert torch.equal(rows, torch.cat([data.validation, data.test])[::100])
    rows, name = data.held_out()
    assert (len(rows), name) == (800, "800 held-out rows")
    none = replace(
        data, validation=data.test[:0], test=data.test[:1], validation_labels=None, test_labels=None
    )
    rows, name = none.held_out()
    assert torch.equal(rows, data.train)
    assert name == "400 training rows, as none were held out"


# Modes.


def test_the_masses_of_a_learnt_mixture_are_exact():
    """Means at the centres of the data, with masses of our own."""
    model = ready(THREE, Jarzynski(ExactStart(50), ULA(0.1)))
    energy = LearntMixture(torch.tensor([[c, 0, 0, 0] for c in (-8.0, 0.0, 8.0, 8.5)]))
    masses = torch.tensor([0.5, 0.2, 0.1, 0.2])
    with torch.no_grad():
        energy.zeta.copy_(masses[0].log() - masses[1:].log())
    model = replace(model, module=energy)
    found = modes(model, draw_samples(model, 50, generator(0, "test")), features_for(model.data))
    table = found.details["classes"]
    assert list(table) == ["mode -8", "mode 0", "mode 8"]
    for row, share, wanted in zip(table.values(), (0.5, 0.2, 0.3), (0.25, 0.25, 0.5), strict=True):
        assert row["share"] == row["low"] == row["high"] == pytest.approx(share, abs=1e-6)
        assert row["data"] == wanted
    assert by_name(found)["classes off"].value == pytest.approx(0.25, abs=1e-6)
    assert by_name(found)["mode coverage"].value == 1
    assert "exact" in by_name(found)["classes off"].protocol


def test_a_mode_that_is_missing_is_seen():
    model = ready(THREE, from_noise())
    data = model.data
    features = features_for(data)
    all_of_them = by_name(modes(model, equal(data.train), features))
    assert all_of_them["classes off"].value == pytest.approx(0, abs=1e-9)
    assert all_of_them["mode coverage"].value == 1
    part = modes(model, equal(data.train[data.train_labels != 0]), features)
    found, table = by_name(part), part.details["classes"]
    assert found["classes off"].value == pytest.approx(0.25, abs=1e-6)  # 1/3, 2/3 for 1/4, 1/2
    assert found["mode coverage"].value == pytest.approx(2 / 3)
    assert found["mode coverage"].protocol.startswith("2 of 3 classes")
    assert table["mode -8"]["share"] == table["mode -8"]["low"] == 0
    assert 0 < table["mode -8"]["high"] < 0.02
    assert table["mode 8"]["share"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("percent", "covered"), [(1, 2), (2, 2), (3, 3)])
def test_a_mode_with_less_than_a_tenth_of_its_mass_is_not_covered(percent, covered):
    """The first of three should have a quarter."""
    model = ready(THREE, from_noise())
    data = model.data
    rare, others = (data.train[rows] for rows in (data.train_labels == 0, data.train_labels != 0))
    x = torch.cat([rare[:percent], others[: 100 - percent]])
    found = by_name(modes(model, equal(x), features_for(data)))
    assert found["mode coverage"].value == pytest.approx(covered / 3)
    assert found["mode coverage"].protocol.startswith(f"{covered} of 3 classes")


def test_the_clarity_of_classes_is_weighted():
    """A row that may be of two classes has three quarters of the weight, a clear one the rest."""
    model = ready(THREE, from_noise())
    p = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    features = features_for(model.data)._replace(classes=lambda x: p)
    for weights, nats in (([0.75, 0.25], 0.75), ([0.25, 0.75], 0.25), (None, 0.5)):
        log_w = None if weights is None else torch.tensor(weights).log()
        drawn = SampleSet(model.data.train[:2], log_w, "weighted", "", 2)
        found = by_name(modes(model, drawn, features))
        entropy = nats * math.log(2)
        assert found["class entropy"].value == pytest.approx(entropy, rel=1e-6)
        together = torch.tensor([1 - nats / 2, nats / 2]).double()
        score = math.exp(float(torch.special.entr(together).sum()) - entropy)
        assert found["class score"].value == pytest.approx(score, rel=1e-6)


def test_weights_count_in_the_shares():
    """Without weights the samples have no class off, by their weights one class is all."""
    model = ready(THREE, from_noise())
    data = model.data
    log_w = torch.where(data.train_labels == 1, 0.0, -torch.inf)
    drawn = SampleSet(data.train, log_w, "weighted", "", 400)
    found = modes(model, drawn, features_for(data))
    assert [row["share"] for row in found.details["classes"].values()] == [0, 1, 0]
    assert by_name(found)["classes off"].value == pytest.approx(0.75)


def test_classes_of_images_are_those_of_a_classifier():
    model = ready(Digits(), from_noise())
    data, features = model.data, features_for(model.data)
    x, labels = data.test, data.test_labels
    part = modes(model, equal(x[labels < 5]), features)
    found, table = by_name(part), part.details["classes"]
    true = labels[labels < 5].bincount(minlength=10) / int((labels < 5).sum())
    for name, row in table.items():
        assert row["share"] == pytest.approx(float(true[int(name)]), abs=0.03)
    assert found["mode coverage"].value in (0.5, 0.6)  # one image may be taken for another
    assert 4 < found["class score"].value < 5.2  # five clear classes
    assert 0 <= found["class entropy"].value < 0.3
    log_w = torch.where(labels == 3, 0.0, -torch.inf)
    alone = modes(model, SampleSet(x, log_w, "weighted", "", len(x)), features)
    assert by_name(alone)["class score"].value < 1.5  # one class
    assert alone.details["classes"]["3"]["share"] > 0.9


def test_classes_that_were_chosen_have_their_names_in_any_order():
    model = ready(Digits(classes=(7, 2), proportions=(3, 1)), from_noise())
    data, features = model.data, features_for(model.data)
    for label in (2, 7):
        part = modes(model, equal(data.test[data.test_labels == label]), features)
        table = part.details["classes"]
        assert sorted(table) == ["2", "7"]
        assert table[str(label)]["share"] > 0.9
        assert table["7"]["data"] == pytest.approx(0.75, abs=0.01)


def test_without_labels_there_are_no_classes():
    model = ready(Toy("eight_gaussians", n=200), from_noise())
    assert modes(model, equal(model.data.train), features_for(model.data)) == ([], {}, "", "")
    model = ready(THREE, from_noise())
    assert modes(model, equal(model.data.train[:0]), features_for(model.data)).measures == []


# Goodness of fit.


def p_value(measure):
    return float(measure.protocol.split("p = ")[1].split(";")[0])


def test_exact_samples_fit_and_others_do_not(rng):
    model = ready(NORMAL, from_noise(), Normal())
    x = torch.randn(300, 2, generator=rng)
    fits = by_name(goodness(model, equal(x), generator(0, "test")))
    assert p_value(fits["Stein discrepancy, samples"]) > 0.05
    assert p_value(fits["Stein discrepancy, data"]) > 0.05  # the data are a normal
    other = by_name(goodness(model, equal(x + 0.5), generator(0, "test")))
    assert p_value(other["Stein discrepancy, samples"]) < 0.01
    assert other["Stein discrepancy, samples"].value > fits["Stein discrepancy, samples"].value
    assert fits["KL(data, model)"].value == pytest.approx(0, abs=1e-4)  # the energy is exact
    assert "KL(data, model)" not in by_name(
        goodness(ready(THREE, from_noise()), equal(torch.randn(50, 4, generator=rng)), rng)
    )


def test_the_temperature_is_that_of_training(rng):
    """Samples of variance T are exact at temperature T alone."""
    x = 0.5 * torch.randn(300, 2, generator=rng)
    found = {}
    for temperature in (0.25, 1.0):
        model = ready(NORMAL, from_noise(ULA(0.3, temperature)), Normal())
        part = goodness(model, equal(x), generator(0, "test"))
        found[temperature] = p_value(by_name(part)["Stein discrepancy, samples"])
    assert found[0.25] > 0.05
    assert found[1.0] < 0.01


def test_weighted_walkers_are_judged_by_their_weights(rng):
    """Walkers of another density, weighted for this one."""
    x = 0.7 + 1.3 * torch.randn(1000, 2, generator=rng)
    log_w = ((x - 0.7) / 1.3).square().sum(1) / 2 - x.square().sum(1) / 2
    model = weighted(x, log_w)
    drawn = draw_samples(model, 1000, rng)
    found = by_name(goodness(model, drawn, generator(0, "test")))
    assert p_value(found["Stein discrepancy, samples"]) > 0.01
    found = by_name(goodness(model, equal(x), generator(0, "test")))
    assert p_value(found["Stein discrepancy, samples"]) < 0.002


def test_copies_of_few_walkers_are_moved_apart(rng):
    """A tenth of the walkers have all of the weight; their copies alone would not fit."""
    log_w = torch.full((400,), -torch.inf)
    log_w[:40] = 0.0
    model = weighted(torch.randn(400, 2, generator=rng), log_w, steps=60)
    drawn = draw_samples(model, 400, rng)
    found = by_name(goodness(model, drawn, generator(0, "test")))
    assert p_value(found["Stein discrepancy, samples"]) > 0.01
    copies = by_name(goodness(model, equal(drawn.rows(400, rng)), generator(0, "test")))
    assert p_value(copies["Stein discrepancy, samples"]) < 0.01


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_an_energy_that_is_the_density_diverges_by_nothing(temperature):
    toy = Toy("eight_gaussians", n=200)
    model = ready(toy, from_noise(ULA(0.3, temperature)), Density(toy.density(), temperature))
    found = by_name(goodness(model, equal(model.data.train), generator(0, "test")))
    assert found["KL(data, model)"].value == pytest.approx(0, abs=1e-5)
    assert found["total variation"].value == pytest.approx(0, abs=1e-5)
    wrong = replace(model, module=Density(toy.density(), 2 * temperature))
    found = by_name(goodness(wrong, equal(model.data.train), generator(0, "test")))
    assert found["KL(data, model)"].value > 0.05


@pytest.mark.parametrize("beyond", [math.nan, -math.inf])
def test_a_density_that_is_singular_far_from_the_data_is_refused_in_the_plane(beyond):
    """The wall stands between the data and the edge of the grid."""
    model = ready(Toy("eight_gaussians", n=200), from_noise())
    x = model.data.train
    model = replace(model, module=Normal(1.5 * float(x[:, 0].min()), beyond))
    found = by_name(goodness(model, equal(x), generator(0, "test")))
    assert found["Stein discrepancy, samples"].refusal == ""
    assert "singularity on the grid" in found["KL(data, model)"].refusal
    assert "total variation" not in found


def test_what_has_no_density_or_no_gradient_is_refused(rng):
    model = ready(NORMAL, Contrastive(ReplayStart(size=50), Descent(0.01), steps=2), Normal())
    (only,) = goodness(model, equal(model.data.train), rng).measures
    assert "noiseless descent" in only.refusal
    model = ready(NORMAL, from_noise(), Normal(wall=0.0))
    samples, *_ = goodness(model, equal(model.data.train), rng).measures
    assert "finite" in samples.refusal
    one, *_ = goodness(model, equal(model.data.train[:1]), rng).measures
    assert "2 rows or more" in one.refusal
