"""Claims of the paper on generalized energy-based models, on a curve and on 8x8 digits.

Every test prints its numbers: `pytest -m slow tests/claims/test_claims_generalized.py -s`.
"""

import functools
from collections import deque
from dataclasses import replace

import pytest
import torch

from boltzwalk.data import Toy
from boltzwalk.evaluation.features import features_for
from boltzwalk.kernels import MALA, ULA, KineticLangevin, NormalProposals, Transport
from boltzwalk.methods.latents import StepDecay, latent_chain, latent_energy
from boltzwalk.methods.objectives import donsker_varadhan
from boltzwalk.metrics.frechet import frechet_distance
from boltzwalk.networks.fusion import fuse_for_inference
from boltzwalk.networks.spectral import power_iteration
from boltzwalk.recipes import RECIPES
from boltzwalk.rng import generator
from boltzwalk.settings.settings import resolve_auto
from boltzwalk.training.execute import updates
from boltzwalk.training.run import start
from conftest import REAL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CHAINS = 4000


def trained(settings):
    run = start(resolve_auto(replace(settings, threads=1, device="cpu")))
    done = deque(updates(run), maxlen=1).pop()
    return replace(run, state=done.state, update=done.update)


def digits(seed=0, **changes):
    return learnt("gebm_digits", seed, **changes)


@functools.cache
def learnt(recipe, seed, **changes):
    """A run of a recipe, its features, and the distance of samples to held-out rows."""
    settings = RECIPES[recipe]()
    method = replace(settings.method, **changes)
    run = trained(replace(settings, method=method, seed=seed))
    features = features_for(run.dataset)
    reference = features.extract(run.dataset.held_out()[0])
    return run, features, lambda x: frechet_distance(features.extract(x), reference)


def chains(run, kernel, beta, looks, decay=None, n=CHAINS):
    """Decoded latent chains at each look, from the same latent noise for every kernel."""
    rng = generator(1, "claims")
    base, energy = (
        fuse_for_inference(run.method.base),
        run.method.relative_energy(fuse_for_inference(run.model().module)),
    )
    z = base.latents(n, rng)
    u = latent_energy(base, energy, kernel, beta, rng)
    return [base.decode(w.x) for w in latent_chain(kernel, decay or StepDecay(), u, z, looks, rng)]


def on_curve(x, density, points=4001):
    """The distance to the bare curve, and the place along it."""
    s = torch.linspace(-1, 1, points)
    curve = torch.stack([density.half_length * s, density.curve(s)], 1)
    length = torch.cat([torch.zeros(1), curve.diff(dim=0).norm(dim=1).cumsum(0)])
    distance, index = torch.cdist(x, curve).min(1)
    return distance.mean().item(), length[index]


def wasserstein(a, b):
    """The distance of two sets of numbers, by their quantiles."""
    q = (torch.arange(1000) + 0.5) / 1000
    return (torch.quantile(a, q) - torch.quantile(b, q)).abs().mean().item()


@functools.cache
def curve():
    """Distance and place of the base, the model, and an energy alone, by a recipe that holds."""
    settings = RECIPES["gebm_manifold"]()
    density, run = settings.data.density(), trained(settings)
    plain = trained(replace(RECIPES["toy"](), data=settings.data))
    samples = {
        "base": run.model().propose(20_000, generator(1, "claims")),
        "model": run.model().draw(20_000, generator(1, "claims")).x,
        "energy alone": plain.model().draw(2000, generator(1, "claims")).x,
    }
    return {name: on_curve(x, density) for name, x in samples.items()}


def test_a_generalized_model_has_the_support_of_its_base():
    """C1, first half."""
    found = {name: distance for name, (distance, _) in curve().items()}
    print("\nmean distance to the curve", found)
    assert found["model"] <= 0.5 * found["energy alone"]


def test_a_generalized_model_has_the_masses_of_its_energy():
    """C1, second half: along the curve, against a million rows."""
    density = Toy("damped_curve").density()
    truth = on_curve(density.sample(100_000, torch.Generator().manual_seed(9)), density)[1]
    found = {name: wasserstein(place, truth) for name, (_, place) in curve().items()}
    print("\ndistance of the places along the curve", found)
    assert found["model"] <= 0.6 * found["base"]


def order(run, distance, samplers, n=CHAINS, steps=100):
    """The distances of the base and of each sampler, from the same latent noise."""
    fd = {"base": distance(chains(run, ULA(1e-3), 1.0, [0], n=n)[0])}
    for name, (kernel, beta) in samplers.items():
        fd[name] = distance(chains(run, kernel, beta, [steps], n=n)[0])
    print(f"\nseed {run.settings.seed}: classifier-FID", {k: round(v, 2) for k, v in fd.items()})
    return fd


def gains(fd):
    """Langevin takes a tenth off the base or more, and more than the other samplers."""
    return fd["langevin"] <= 0.9 * fd["base"] and fd["langevin"] == min(fd.values())


def is_in_order(fd):
    """The published order."""
    return fd["base"] > fd["proposals"] > fd["transport"] > fd["langevin"]


@functools.cache
def compared(recipe, seed):
    """C6: proposals and transport as published, Langevin as in the recipe."""
    run, _, distance = learnt(recipe, seed)
    own = run.settings.method
    samplers = {
        "transport": (Transport(0.3), 1.0),
        "proposals": (NormalProposals(), 1.0),
        "proposals at the same beta": (NormalProposals(), own.inverse_temperature),
        "langevin": (own.kernel, own.inverse_temperature),
    }
    n = 20_000 if recipe == "gebm_digits" else 2000  # what differs by less needs more chains
    fd = order(run, distance, samplers, n=n, steps=own.sample_steps)
    return {name: value for name, value in fd.items() if "same" not in name}


@pytest.mark.xfail(
    reason="none of three seeds: the bases have 3.2, 2.1, 2.4, data themselves 1.9; Langevin takes "
    "off 15, 5 and 13 %, transport 20, 12 and 10 %",
    strict=True,
)
def test_latent_langevin_improves_the_base_of_digits_most():
    assert sum(gains(compared("gebm_digits", seed)) for seed in range(3)) >= 2


@pytest.mark.timeout(7200)
def test_latent_langevin_improves_the_base_of_mnist_most(mnist):
    assert sum(gains(compared("gebm_mnist", seed)) for seed in range(3)) >= 2


@pytest.mark.timeout(7200)
def test_the_samplers_of_mnist_have_the_published_order(mnist):
    assert sum(is_in_order(compared("gebm_mnist", seed)) for seed in range(3)) >= 2


@pytest.fixture
def mnist(monkeypatch):
    if not (REAL / "MNIST").is_dir():
        pytest.skip(f"no data in {REAL}; name their folder with BOLTZWALK_DATA")
    monkeypatch.setenv("BOLTZWALK_DATA", str(REAL))


def test_constant_steps_blow_up_where_falling_ones_do_not():
    """C8: at an inverse temperature of 100, the first steps gain and later ones lose."""
    run, _, distance = digits()
    looks = [0, 50, 200, 400]
    constant, falling = (
        [distance(x) for x in chains(run, ULA(1e-4), 100.0, looks, decay)]
        for decay in (StepDecay(), StepDecay(10.0, 50))
    )
    print("\nclassifier-FID at steps", looks, "constant", constant, "falling", falling)
    assert constant[1] < constant[0]
    assert constant[-1] > 1.2 * constant[1]
    assert falling[-1] < 1.1 * falling[1]


def test_kinetic_chains_change_their_class_more_often():
    """C10: in 100 steps of h = 0.2 and little friction, against Langevin steps of h² / 2."""
    run, features, _ = digits()
    h, looks = 0.2, list(range(0, 101, 10))
    switches = {}
    for kernel in (KineticLangevin(h, friction=1.0), ULA(h**2 / 2)):
        films = chains(run, kernel, 1.0, looks, n=1000)
        labels = torch.stack([features.classes(x).argmax(1) for x in films])
        switches[type(kernel).__name__] = (labels.diff(dim=0) != 0).double().sum(0).mean().item()
    print("\nchanges of class in 100 steps", switches)
    assert switches["KineticLangevin"] > 1.2 * switches["ULA"]


def fitted_kale(data, samples, held_out, fresh, seed=0):
    """KALE from samples to data in nats, by an energy that has seen neither of the last two."""
    settings = RECIPES["gebm_digits"]()
    energy = settings.energy.build(data.shape[1:], seed)
    optimizer = torch.optim.Adam(energy.parameters(), lr=1e-3, betas=(0.5, 0.999))
    rng, penalty = generator(seed, "fit"), settings.method.gradient_penalty
    for _ in range(1500):
        x, y = (rows[torch.randint(len(rows), (100,), generator=rng)] for rows in (data, samples))
        share = torch.rand(100, 1, 1, 1, generator=rng)
        between = (share * x + (1 - share) * y).requires_grad_()
        (slope,) = torch.autograd.grad(energy(between).sum(), between, create_graph=True)
        loss = -donsker_varadhan(energy(x), energy(y))
        loss = loss + penalty * slope.flatten(1).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        power_iteration(energy)
    with torch.no_grad():
        return donsker_varadhan(energy(held_out), energy(fresh)).item()


def drawn(run, kernel, steps, n=8000):
    """Samples in two halves, to fit by and to judge by; 0 steps are those of the base."""
    return chains(run, kernel, 1.0, [steps], n=n)[0].chunk(2)


def test_kale_falls_in_training_and_with_the_energy():
    """C12: KALE(P, B) falls while both learn, and KALE(P, Q) is at most twice KALE(P, B)."""
    settings = RECIPES["gebm_digits"]()
    young = trained(replace(settings, updates=settings.updates // 4))
    run, _, _ = digits()
    data, held_out = run.dataset.train, run.dataset.held_out()[0]
    found = {
        "base, a quarter": fitted_kale(data, *interleaved(drawn(young, ULA(1e-3), 0), held_out)),
        "base": fitted_kale(data, *interleaved(drawn(run, ULA(1e-3), 0), held_out)),
        "model": fitted_kale(data, *interleaved(drawn(run, MALA(0.05), 100), held_out)),
    }
    print("\nKALE to held-out data, by fresh energies, in nats", found)
    assert found["base"] < found["base, a quarter"]
    assert found["model"] <= 2 * found["base"]


def interleaved(halves, held_out):
    """The arguments of a fit: samples to fit by, data and samples to judge by."""
    return halves[0], held_out, halves[1]


def test_what_the_weights_of_the_base_do():
    """C11, whose direction is not published: a base that learns without them, beside one with."""
    for reweight in (True, False):
        run, _, distance = digits(reweight=reweight)
        data, held_out = run.dataset.train, run.dataset.held_out()[0]
        base, model = drawn(run, ULA(1e-3), 0), drawn(run, MALA(0.05), 100)
        kale = fitted_kale(data, *interleaved(base, held_out))
        fd = [round(distance(torch.cat(pair)), 2) for pair in (base, model)]
        print(f"\nreweight={reweight}: classifier-FID of base and model {fd}, KALE {kale:.3f}")
        assert fd[1] < fd[0]
