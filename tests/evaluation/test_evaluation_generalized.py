"""Generalized models judged: what needs a density works with one, and says why it cannot."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from boltzwalk.bases import Generator
from boltzwalk.bases.flow import Flow
from boltzwalk.bases.flow_energy import FlowEnergy
from boltzwalk.completion import CompletionPlan, complete_rows, make_inputs
from boltzwalk.data import Digits, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation import evaluate as judging
from boltzwalk.evaluation.likelihood import held_out_likelihood, likelihood_section
from boltzwalk.evaluation.long_run import LongRun
from boltzwalk.evaluation.score import score_rows
from boltzwalk.kernels import MALA, Transport
from boltzwalk.method import with_defaults
from boltzwalk.methods.generalized import Generalized, GeneralizedMethod
from boltzwalk.networks import DenseGenerator, Multilayer
from boltzwalk.reporting.figures import chain_pictures
from boltzwalk.reporting.summary import summarise
from boltzwalk.settings.optimizers import Adam
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.smc.from_samples import Effort
from boltzwalk.smc.log_z import Annealing
from boltzwalk.training.evidence import validation_metrics
from boltzwalk.training.execute import execute
from boltzwalk.training.run import open_model, start

METHOD = Generalized(
    Generator(DenseGenerator((12,)), 3),
    energy_steps=2,
    first_energy_steps=3,
    gradient_penalty=1.0,
    sample_steps=4,
    kernel=MALA(0.05),
)
SMALL = resolve_auto(
    Settings(
        data=Digits(),
        energy=NetworkEnergy(Multilayer((16,)), spectral_norm=True),
        method=METHOD,
        optimizer=Adam(1e-3, beta1=0.5),
        updates=24,
        batch=32,
        threads=1,
        output=Output(picture_every=0),
    )
)


class Affine(nn.Module):
    """A base with a density: x = m + s z."""

    def __init__(self):
        super().__init__()
        self.m, self.s = (
            nn.Parameter(torch.tensor([0.3, -0.2])),
            nn.Parameter(torch.tensor([1.5, 0.8])),
        )

    def latents(self, n, rng):
        return torch.randn(n, 2, generator=rng)

    def decode(self, z):
        return self.m + self.s * z

    def log_density(self, x):
        z = (x - self.m) / self.s
        return -z.square().sum(1) / 2 - self.s.log().sum() - math.log(2 * math.pi)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "generalized"
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    for _ in execute(SMALL, folder):
        pass
    torch.set_default_dtype(before)
    return folder


def test_every_part_is_found_or_refused_with_a_reason(finished):
    model = open_model(finished)
    plan = judging.EvaluationPlan(samples=200, long_run=LongRun(seconds=2, chains=8))
    parts = dict(judging.evaluate_sections(model, finished, plan))
    assert {m.name for m in parts["base"].measures} >= {"classifier-FID, proposals"}
    for name in ("likelihood", "goodness", "long_run"):
        refusals = [m.refusal for m in parts[name].measures if m.refusal]
        assert refusals, name
        assert any("density" in text or "latent variables" in text for text in refusals), refusals
    names = [finding[0] for finding in parts["training"].details["findings"]]
    assert "log-partition" in names


def test_the_summary_says_whose_energy_it_is(finished):
    numbers = {n.name: n for n in summarise(open_model(finished), finished)}
    assert numbers["energy"].meaning.endswith("relative to the base")
    assert "log-partition" in numbers
    assert "temperature" not in numbers


def test_scores_are_relative_and_have_no_density(finished):
    model = open_model(finished)
    found = score_rows(model, finished, model.data.test[:20], 0.1)
    assert "energy, relative to the base, above" in found.protocol
    assert np.isnan(found.log_density).all()
    np.testing.assert_allclose(found.energy, model.module(model.data.test[:20]).detach(), rtol=1e-5)


def test_completion_is_by_latent_variables(finished):
    model = open_model(finished)
    inputs = make_inputs(model.data, model.data.test[:3], "lower", None)
    plan = CompletionPlan("latent", n=2, latent_steps=20)
    found = complete_rows(model, inputs, plan, torch.Generator().manual_seed(0))
    shown = ~inputs.hidden
    for i in range(2):
        torch.testing.assert_close(found.x[:, i][shown], inputs.x[shown])
    assert found.x.shape == (3, 2, 1, 8, 8)
    for variant in ("conditional", "kernel", "encode"):
        with pytest.raises(ValueError, match="write --variant latent"):
            complete_rows(model, inputs, CompletionPlan(variant), torch.Generator())


def test_the_film_is_of_latent_chains(finished):
    model = open_model(finished)
    png, said = chain_pictures(model, from_data=False)
    assert png[:4] == b"\x89PNG"
    assert "4 in training" in said
    assert chain_pictures(model, from_data=True) is None


@pytest.mark.parametrize("relative", [True, False])
def test_a_base_with_a_density_gives_a_likelihood(relative):
    """E = 0 on a normal base, and U of a normal: the model is known."""
    energy = NetworkEnergy(
        Multilayer((8,)), reference_scale=None if relative else 0.9, zero_start=True
    )
    settings = replace(SMALL, data=Toy("damped_sine", n=2000), energy=energy)
    base, run = Affine(), start(settings)
    method = GeneralizedMethod(replace(METHOD, relative=relative), base)
    model = replace(run, method=with_defaults(method)).judged_on(run.dataset)
    effort = Effort(samples=200, steps=20, annealing=Annealing(replicates=8))
    found = held_out_likelihood(model, torch.Generator().manual_seed(0), effort)
    x = model.data.test
    if relative:
        log_p = base.log_density(x)
    else:
        log_p = -(x / 0.9).square().sum(1) / 2 - math.log(2 * math.pi * 0.81)
    assert found.log_z.refusal == ""
    truth = -float(log_p.detach().mean()) + model.data.log_volume
    assert abs(found.nll - truth) < max(0.05, 3 * found.log_z.half_width)
    constant = (model.density_energy()(x) + log_p).detach()  # U = -log p - log Z
    torch.testing.assert_close(constant, constant[:1].expand(len(x)))


@pytest.mark.parametrize("kernel", [MALA(0.05), Transport(0.05)])
def test_the_likelihood_is_of_the_model_however_samples_are_drawn(kernel):
    """A noiseless kernel and another inverse temperature change samples, not the density."""
    method = replace(METHOD, kernel=kernel, base=Flow(transforms=1), relative=False)
    energy = FlowEnergy(Flow(transforms=1, widths=(8,)))
    settings = replace(SMALL, data=Toy("damped_sine", n=2000), energy=energy)
    run = start(replace(settings, method=replace(method, inverse_temperature=10.0)))
    model = run.judged_on(run.dataset)
    found = held_out_likelihood(model, torch.Generator().manual_seed(0))
    x = model.data.test
    truth = -float(model.module.flow.log_density(x).detach().mean()) + model.data.log_volume
    assert found.nll == pytest.approx(truth, rel=1e-5)
    (first, *_) = likelihood_section(found).measures
    assert "samples are drawn with beta = 10" in first.protocol
    assert validation_metrics(run, {})["nll_validation"] == pytest.approx(
        -float(model.module.flow.log_density(model.data.validation).detach().mean()), rel=1e-5
    )
