"""Masses beside those of the data: exact of a mixture, weighted where walkers carry weights."""

import math
from dataclasses import replace

import pytest
import torch

from boltzwalk.data import Digits, Modes, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.evaluation.modes import class_shares, has_classes, mode_masses, target_shares
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.methods.starts import DataStart
from boltzwalk.metrics.classifier import classifier_for, fit_classifier
from boltzwalk.metrics.skewed_mean import skewed_mean
from boltzwalk.networks import Multilayer
from boltzwalk.reporting.summary import summarise
from boltzwalk.reporting.tables import _likelihood, comparison_table
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute
from boltzwalk.training.run import start


@pytest.fixture(autouse=True)
def float32(float64):
    torch.set_default_dtype(torch.float32)


MIXTURE = resolve_auto(
    Settings(
        data=Modes(dim=2, rows=400),
        energy=MixtureEnergy(),
        method=Contrastive(DataStart(), ULA(0.1), steps=1),
        updates=3,
        batch=400,
        threads=1,
        output=Output(picture_every=0),
    )
)
WEIGHTED = replace(
    MIXTURE,
    data=Digits(classes=(2, 3, 6)),
    energy=NetworkEnergy(Multilayer((16,)), reference_scale=1.0, zero_start=True),
    method=Jarzynski(ExactStart(40), ULA(0.001)),
    batch=32,
)


def judged(settings):
    """A model of new parameters, with all rows of its data."""
    run = start(settings)
    return run.judged_on(run.dataset)


def mixture(settings, means, level):
    """A run whose model has these means on the first axis, and modes of masses 1 : exp(-level)."""
    model = judged(settings)
    with torch.no_grad():
        model.module.means.zero_()
        model.module.means[:, 0] = torch.tensor(means)
        model.module.zeta.fill_(level / math.sqrt(model.module.log_mass_rate))
    return model


def test_the_shares_of_the_data_have_their_names():
    assert target_shares(MIXTURE.data.load()) == {"mode -10": 0.25, "mode 6": 0.75}
    assert target_shares(Toy(n=100).load()) == {}
    shares = target_shares(Digits(classes=(2, 6), proportions=(3, 1)).load())
    assert shares == {"2": 0.75, "6": 0.25}


@pytest.mark.parametrize(
    ("means", "found"),
    [
        ([-9.0, 5.0], [1 / 9, 8 / 9]),
        ([5.0, -9.0], [8 / 9, 1 / 9]),  # modes have no order
        ([5.0, 7.0], [0.0, 1.0]),  # both in one
        ([-9.0, -11.0], [1.0, 0.0]),  # nothing is left for the last
    ],
)
def test_a_mode_counts_for_the_class_whose_mean_is_nearest(means, found):
    masses = mode_masses(mixture(MIXTURE, means, -math.log(8)))
    assert list(masses) == ["mode -10", "mode 6"]
    assert list(masses.values()) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize(("held_out", "enough"), [(0, False), (1, False), (2, True)])
def test_a_classifier_needs_two_rows_that_it_was_not_fitted_on(held_out, enough):
    data = WEIGHTED.data.load()
    some, none = slice(held_out), slice(0)
    in_test = replace(
        data,
        validation=data.test[none],
        validation_labels=data.test_labels[none],
        test=data.test[some],
        test_labels=data.test_labels[some],
    )
    swapped = replace(
        in_test,
        validation=in_test.test,
        validation_labels=in_test.test_labels,
        test=in_test.validation,
        test_labels=in_test.validation_labels,
    )
    assert has_classes(in_test) == has_classes(swapped) == enough
    assert not has_classes(MIXTURE.data.load())  # a table is no image


def test_masses_are_known_at_temperature_one_only():
    hot = replace(MIXTURE, method=replace(MIXTURE.method, kernel=ULA(0.1, temperature=2.0)))
    assert mode_masses(judged(hot)) is None
    assert mode_masses(judged(replace(MIXTURE, data=Toy(n=1000), batch=10))) is None
    network = NetworkEnergy(Multilayer((8,)))
    assert mode_masses(judged(replace(MIXTURE, energy=network))) is None


def test_the_summary_of_a_mixture_has_its_masses(tmp_path):
    numbers = summarise(mixture(MIXTURE, [-9.0, 5.0], math.log(4)), tmp_path)
    (found,) = (number for number in numbers if number.name == "mode masses")
    assert found.text == "0.8000 / 0.2000"
    assert "mode -10 / mode 6, exact; the data have 0.2500 / 0.7500" in found.meaning


def weigh(model, log_w):
    walkers = replace(model.state.walkers, log_w=log_w)
    return replace(model, state=replace(model.state, walkers=walkers))


def test_class_shares_are_weighted():
    """All the weight on one walker gives its class all the share."""
    model = judged(WEIGHTED)
    classifier = fit_classifier(model.data, updates=200)
    guess = classifier.probabilities(model.state.walkers.x).argmax(1)
    counted = class_shares(model, classifier)
    expected = (guess.bincount(minlength=3) / 40).tolist()
    assert counted == pytest.approx(dict(zip("236", expected, strict=True)))
    log_w = torch.full((40,), -torch.inf)
    log_w[7] = 3.0
    assert class_shares(weigh(model, log_w), classifier) == pytest.approx(
        {name: float(i == guess[7]) for i, name in enumerate("236")}
    )


def test_weights_are_those_for_the_model_of_now():
    """The walkers saw the energy before the last update, and are asked about the one after it."""
    model = judged(WEIGHTED)
    before = model.weighted_walkers()
    torch.testing.assert_close(before.log_w, model.state.walkers.log_w)
    with torch.no_grad():
        model.module.energy.head.bias += 2.0
    torch.testing.assert_close(model.weighted_walkers().log_w, before.log_w - 2.0)
    assert judged(MIXTURE).weighted_walkers() is None


def test_the_summary_of_weighted_walkers_has_class_shares(tmp_path):
    model = judged(WEIGHTED)
    numbers = {number.name: number for number in summarise(model, tmp_path)}
    found = class_shares(model, classifier_for(model.data))
    target = target_shares(model.data)
    off = sum(abs(found[name] - target[name]) for name in "236") / 2
    assert numbers["class shares"].text == f"{off:.1%}"
    ours, theirs = (" ".join(f"{k}:{v:.0%}" for k, v in s.items()) for s in (found, target))
    meaning = (
        f"in the wrong class: 40 weighted walkers (effective: 40) have {ours}, the data {theirs}"
    )
    assert numbers["class shares"].meaning == meaning
    unweighted = replace(WEIGHTED, method=Contrastive(kernel=ULA(1.0, 5e-5), steps=2))
    assert "class shares" not in {n.name for n in summarise(judged(unweighted), tmp_path)}


def test_walkers_that_are_not_finite_have_no_shares():
    model = judged(WEIGHTED)
    classifier = fit_classifier(model.data, updates=50)
    x = model.state.walkers.x.clone()
    x[3] = torch.nan
    broken = replace(model.state, walkers=replace(model.state.walkers, x=x))
    assert class_shares(replace(model, state=broken), classifier) is None


def test_the_table_of_a_mixture(tmp_path):
    """The cross-entropy by the definition, the divergence from it, both on the test rows."""
    for name, seed in (("a", 0), ("long_name", 1)):
        for _ in execute(replace(MIXTURE, seed=seed), tmp_path / name):
            pass
    lines = comparison_table([tmp_path / "a", tmp_path / "long_name"]).splitlines()
    assert [line.split()[0] for line in lines] == ["mode", "data", "a", "long_name"]
    settings = MIXTURE.data
    density, x = settings.density(), settings.load().test.double()
    nats = density(x) + density.log_z
    # Hall's interval of a skewed mean is never narrower than that of a normal one, here by 10 %.
    half = skewed_mean(nats).half_width
    assert 1.96 * nats.std() / 20 <= half < 1.2 * 1.96 * nats.std() / 20
    assert lines[1].split()[1:] == [
        "0.2500",
        "0.7500",
        f"{nats.mean():.2f}",
        "±",
        f"{half:.2f}",
        "0",
    ]
    starts = {line.index(" 0.") for line in lines[1:]}
    assert len(starts) == 1, "columns are aligned"
    assert all(" ms" in line for line in lines[2:])


def test_cross_entropy_and_divergence_against_another_mixture(tmp_path):
    model = mixture(replace(MIXTURE, data=Modes(dim=2, rows=4000)), [-9.0, 5.0], -math.log(4))
    nll, divergence = _likelihood(model)
    masses = torch.distributions.Categorical(torch.tensor([0.2, 0.8], dtype=torch.float64))
    centres = torch.tensor([[-9.0, 0.0], [5.0, 0.0]], dtype=torch.float64)
    modes = torch.distributions.MultivariateNormal(centres, torch.eye(2, dtype=torch.float64))
    known = torch.distributions.MixtureSameFamily(masses, modes)
    nats = -known.log_prob(model.data.test.double())
    assert nll == f"{nats.mean():.2f} ± {1.96 * nats.std() / 4000**0.5:.2f}"
    # The modes are far apart: half the squared distance of the means, and that of the masses.
    exact = 0.5 + 0.25 * math.log(0.25 / 0.2) + 0.75 * math.log(0.75 / 0.8)
    found, _, error = divergence.split()
    assert float(found) == pytest.approx(exact, abs=5 / 1.96 * float(error))


def test_the_table_of_images(tmp_path):
    unweighted = replace(WEIGHTED, method=Contrastive(kernel=ULA(1.0, 5e-5), steps=2))
    for name, settings in (("weighted", WEIGHTED), ("unweighted", unweighted)):
        for _ in execute(settings, tmp_path / name):
            pass
    lines = comparison_table([tmp_path / "weighted", tmp_path / "unweighted"]).splitlines()
    assert lines[0].split()[:3] == ["2", "3", "6"]
    for line in lines[1:]:
        shares = [float(word) for word in line.split()[1:4]]
        assert sum(shares) == pytest.approx(1, abs=2e-4)
