"""The likelihood of a run: right against quadrature, exact where it can be, or refused."""

import dataclasses
import json
import math

import pytest
import torch

from boltzwalk.data import Digits, Modes, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.evaluation.cache import format_lines, write_evaluation
from boltzwalk.evaluation.likelihood import held_out_likelihood, likelihood_section
from boltzwalk.kernels import MALA, ULA, Descent
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.methods.starts import ReplayStart
from boltzwalk.metrics.quadrature import log_z_in_the_plane
from boltzwalk.metrics.skewed_mean import skewed_mean
from boltzwalk.networks import Multilayer
from boltzwalk.rng import generator
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.smc.from_samples import Effort
from boltzwalk.smc.log_z import Annealing
from boltzwalk.training.execute import updates
from boltzwalk.training.run import start

LITTLE = Effort(samples=200, steps=60, annealing=Annealing(walkers=256))
CONFINED = NetworkEnergy(Multilayer((32, 32)), reference_fit=0.3, zero_start=True)
TOY = Settings(
    data=Toy("eight_gaussians", n=1000),
    energy=CONFINED,
    method=Jarzynski(ExactStart(500), MALA(0.02), steps=3),
    updates=60,
    batch=64,
    threads=1,
    device="cpu",
    output=Output(picture_every=0),
)


def trained(settings):
    run = start(resolve_auto(settings))
    for done in updates(run):
        run = dataclasses.replace(run, update=done.update, state=done.state)
    return run.judged_on(run.dataset)


@pytest.mark.parametrize("temperature", [pytest.param(1.0, marks=pytest.mark.slow), 0.7])
def test_it_is_that_of_quadrature(temperature):
    """log Z within its interval, and the mean over the test rows in their own units."""
    method = dataclasses.replace(TOY.method, kernel=MALA(0.02, temperature))
    model = trained(dataclasses.replace(TOY, method=method))
    found = held_out_likelihood(model, generator(0, "test"), LITTLE)
    log_z = log_z_in_the_plane(model.module, 2 * model.data.train, temperature)
    assert found.log_z.refusal == ""
    assert abs(found.log_z.estimate - log_z) < 2 * found.log_z.half_width < 0.2
    with torch.no_grad():
        nats = model.module(model.data.test).double() / temperature + log_z + model.data.log_volume
    assert abs(found.nll - float(nats.mean())) < 2 * found.log_z.half_width
    error = skewed_mean(nats).half_width
    assert 0 <= error / (1.96 * float(nats.std()) / math.sqrt(len(nats))) - 1 < 0.2
    assert found.half_width == pytest.approx(math.hypot(error, found.log_z.half_width), rel=1e-4)
    assert (found.split, found.rows, found.dimensions) == ("test", len(nats), 2)
    assert found.bits == found.nll / (2 * math.log(2))
    assert not found.dequantised


def test_an_energy_that_knows_its_log_z_is_asked():
    method = Jarzynski(ExactStart(100), ULA(0.1))
    settings = dataclasses.replace(TOY, data=Modes(5, rows=400), energy=MixtureEnergy())
    model = trained(dataclasses.replace(settings, method=method, updates=3))
    found = held_out_likelihood(model, generator(0, "test"), LITTLE)
    assert found.log_z.estimate == model.module.log_z
    assert found.log_z.half_width == 0
    assert "exact" in format_lines(likelihood_section(found))[1]


def test_a_network_without_bounds_is_refused_with_the_reason(tmp_path):
    """The last layer of a new piecewise linear network falls for ever in some direction."""
    network = NetworkEnergy(Multilayer((32, 32), activation="leaky_relu"))
    method = Contrastive(ReplayStart(size=200), ULA(0.01), steps=2)
    settings = dataclasses.replace(TOY, data=Digits(), energy=network, method=method, updates=2)
    found = held_out_likelihood(trained(settings), generator(0, "test"), LITTLE)
    assert "Z does not exist" in found.log_z.refusal
    (line,) = format_lines(likelihood_section(found))
    assert "refused" in line
    assert "does not outgrow the volume" in line
    write_evaluation(
        {"likelihood": likelihood_section(found)}, tmp_path / "evaluation.json", {"update": 3}
    )
    tree = json.loads((tmp_path / "evaluation.json").read_text())
    assert tree["likelihood"]["measures"][0]["value"] is None
    assert tree["likelihood"]["measures"][0]["refusal"] == found.log_z.refusal
    assert tree["likelihood"]["details"]["nll"] is None


def test_noiseless_descent_samples_no_density():
    method = Contrastive(ReplayStart(size=200), Descent(0.01), steps=2)
    model = trained(dataclasses.replace(TOY, method=method, updates=2))
    found = held_out_likelihood(model, generator(0, "test"), LITTLE)
    assert "noiseless descent" in found.log_z.refusal
    assert math.isnan(found.nll)


@pytest.mark.slow
def test_what_is_read_has_numbers_intervals_and_protocol(tmp_path):
    model = trained(dataclasses.replace(TOY, data=Digits(dequantise=True), updates=3))
    said = []
    found = held_out_likelihood(
        model, generator(0, "test"), dataclasses.replace(LITTLE, report=said.append)
    )
    nll, bits, log_z = format_lines(likelihood_section(found))
    assert f"{found.nll:.2f} ± {found.half_width:.2f} nats" in nll
    assert f"{found.nll / 64 / math.log(2):.3f}" in bits
    assert "8 replicates" in log_z
    assert "back: " in log_z
    assert len(said) == 2
    write_evaluation(
        {"likelihood": likelihood_section(found)}, tmp_path / "evaluation.json", {"update": 3}
    )
    tree = json.loads((tmp_path / "evaluation.json").read_text())
    assert tree["likelihood"]["measures"][1]["value"] == found.bits
    assert tree["protocol"] == {"update": 3}
    assert len(tree["likelihood"]["details"]["log_z"]["replicates"]) == 8


@pytest.mark.parametrize("change", [{"steps": 0}, {"samples": 31}])
def test_too_little_effort_is_refused(change):
    with pytest.raises(ValueError, match="steps must be >= 1 and samples four for each of the 8"):
        dataclasses.replace(LITTLE, **change)


def test_long_chains_that_would_take_too_long_are_refused_at_once():
    """The estimate comes from the warm-up; the message says what to write instead."""
    model = trained(dataclasses.replace(TOY, updates=2))
    found = held_out_likelihood(
        model, generator(0, "test"), dataclasses.replace(LITTLE, seconds=1e-6)
    )
    assert "more than the 0 s allowed; give it more, --log-z-seconds" in found.log_z.refusal
    assert found.log_z.evaluations == 0
