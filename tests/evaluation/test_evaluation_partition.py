"""The log-partition of a run: where it must be exact, where it is estimated, where nothing is."""

import math
from dataclasses import replace

import pytest
import torch

from boltzwalk.bases.flow import Flow
from boltzwalk.bases.flow_energy import FlowEnergy
from boltzwalk.data import Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation.likelihood import held_out_likelihood
from boltzwalk.evaluation.partition import Partition, model_partition, partition_section
from boltzwalk.kernels import MALA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.generalized import Generalized
from boltzwalk.metrics.quadrature import log_z_in_the_plane
from boltzwalk.networks import Multilayer
from boltzwalk.settings.settings import Settings, resolve_auto
from boltzwalk.smc.from_samples import Effort
from boltzwalk.smc.log_z import Annealing
from boltzwalk.training.run import start

FLOW = Flow(transforms=3, widths=(12,), activation="tanh")
SETTINGS = Settings(
    data=Toy("two_moons", n=200),
    energy=FlowEnergy(FLOW),
    method=Generalized(base=FLOW, relative=False),
    updates=1,
    batch=10,
    threads=1,
    device="cpu",
)


def ready(settings):
    run = start(resolve_auto(settings))
    return run.judged_on(run.dataset)


@pytest.fixture
def model():
    return ready(SETTINGS)


def test_of_a_base_that_is_the_model_every_sample_weighs_the_same(model, rng):
    """E = U + log b is then -log Z at every x, so that one sample is enough."""
    model.method.base.load_state_dict(model.module.flow.state_dict())
    found = model_partition(model, rng, samples=50)
    assert found.estimate == pytest.approx(found.exact, abs=1e-4)
    assert found.exact == model.module.log_z
    assert found.effective == pytest.approx(50, rel=1e-4)


def test_of_another_base_the_truth_is_within_the_interval(model, rng):
    found = model_partition(model, rng, samples=200_000)
    assert found.effective > 1000
    assert 0 < found.half_width < 0.1
    assert abs(found.estimate - found.exact) < 5 / 1.96 * found.half_width
    # The interval is that of the spread of repeated estimates.
    few = torch.tensor([model_partition(model, rng, samples=2000).estimate for _ in range(40)])
    stated = model_partition(model, rng, samples=2000).half_width / 1.96
    assert 0.6 < float(few.std()) / stated < 1.7


def test_what_the_run_learnt_is_told_beside_the_truth(model, rng):
    with torch.no_grad():
        model.method.log_partition.fill_(-2.0)
    found = model_partition(model, rng, samples=1000)
    assert found.learnt == -2.0
    part = partition_section(found)
    texts = {measure.name: (measure.text, measure.meaning) for measure in part.measures}
    assert list(texts) == [
        "log-partition",
        "log-partition, learnt",
        "log-partition, fresh samples",
        "effective sample size",
    ]
    assert f"{-2.0 - found.exact:+.3g} from the truth" in texts["log-partition, learnt"][1]
    assert "1,000 base samples" in texts["log-partition, fresh samples"][1]


def test_too_few_samples_in_effect_have_no_interval():
    found = Partition(-7.46, -1.9, math.nan, 12.0, 1000, -1.84)
    _, learnt, fresh, share = partition_section(found).measures
    assert "-5.62 from the truth" in learnt.meaning
    assert "±" not in fresh.text
    assert "12 in effect: fewer than 100, so that it is likely too small" in fresh.meaning
    assert share.value == pytest.approx(0.012)


def test_of_an_energy_relative_to_its_base_the_truth_is_another_one(rng):
    """log Z of exp(-E) by itself is not E_B[exp(-E)]."""
    method = Generalized(base=FLOW, relative=True)
    found = model_partition(ready(replace(SETTINGS, method=method)), rng, samples=1000)
    assert math.isnan(found.exact)
    assert math.isfinite(found.estimate)
    assert "from fresh samples" in partition_section(found).measures[0].meaning


def test_without_a_base_there_is_the_truth_or_nothing(rng):
    model = ready(replace(SETTINGS, method=Contrastive()))
    found = model_partition(model, rng)
    assert [measure.name for measure in partition_section(found).measures] == ["log-partition"]
    energy = NetworkEnergy(Multilayer((4,)))
    model = ready(replace(SETTINGS, energy=energy, method=Contrastive()))
    assert partition_section(model_partition(model, rng)).measures == []


@pytest.mark.slow
@pytest.mark.parametrize("relative", [False, True])
def test_a_free_energy_on_a_flow_is_judged_by_annealing(relative, rng):
    """Against quadrature in the plane, which also says what fresh base samples estimate."""
    energy = NetworkEnergy(Multilayer((16,), activation="silu"), reference_scale=2.0)
    method = Generalized(base=FLOW, relative=relative, kernel=MALA(0.1), sample_steps=20)
    model = ready(replace(SETTINGS, energy=energy, method=method))
    found = held_out_likelihood(
        model, rng, Effort(samples=200, steps=20, annealing=Annealing(walkers=256))
    )
    energy = model.density_energy()
    truth = log_z_in_the_plane(energy, model.data.train, 1.0, 400)
    assert not found.log_z.refusal
    assert abs(found.log_z.estimate - truth) < max(3 * found.log_z.half_width, 0.05)
    rows = model.data.test
    nll = float(energy(rows).detach().double().mean()) + truth
    assert found.nll == pytest.approx(nll, abs=max(3 * found.log_z.half_width, 0.05))
    fresh = model_partition(model, rng)
    assert math.isnan(fresh.exact)
    assert abs(fresh.estimate - truth) < 5 / 1.96 * fresh.half_width + 0.01
