"""Flows against change of variables by automatic differentiation, quadrature, and Gaussians."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from boltzwalk.bases.flow import Flow
from boltzwalk.metrics.quadrature import log_z_in_the_plane
from statistics_helpers import assert_mean

each = pytest.mark.parametrize("architecture", ["realnvp", "maf", "nsf"])
SMALL = {"transforms": 3, "widths": (12,), "activation": "tanh"}


def bent(architecture, shape, seed=0):
    """A flow whose maps are far from the identity."""
    flow = Flow(architecture, **SMALL).build(shape, seed)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.4 * torch.randn(parameter.shape, generator=rng)
    return flow


@each
@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (1, 2, 3)])
def test_density_is_that_of_a_change_of_variables(architecture, shape, rng):
    flow = bent(architecture, shape)
    x = 1.5 * torch.randn(4, *shape, generator=rng)
    z = flow.encode(x)
    assert z.shape == (4, math.prod(shape))
    found = flow.log_density(x)
    for row, latent, log_b in zip(x, z, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda y: flow.encode(y[None])[0], row)
        jacobian = jacobian.reshape(len(latent), -1)
        expected = Normal(0.0, 1.0).log_prob(latent).sum() + torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(log_b, expected, rtol=0, atol=1e-9)


@each
@pytest.mark.parametrize("shape", [(1,), (5,), (1, 2, 3)])
def test_decoding_undoes_encoding(architecture, shape, rng):
    flow = bent(architecture, shape)
    x = 1.5 * torch.randn(50, *shape, generator=rng)
    torch.testing.assert_close(flow.decode(flow.encode(x)), x, rtol=0, atol=1e-8)
    z = flow.latents(50, rng)
    torch.testing.assert_close(flow.encode(flow.decode(z)), z, rtol=0, atol=1e-8)


@each
def test_density_integrates_to_one_in_the_plane(architecture, rng):
    flow = Flow(architecture, **SMALL).build((2,), 3)
    x = flow.sample(2000, rng)
    log_z = log_z_in_the_plane(lambda y: -flow.log_density(y), x, 1.0, 800)
    assert log_z == pytest.approx(0, abs=2e-3)


def affine(flow):
    """The flow with maps that ignore what they are conditioned on, and its exact distribution."""
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if "weight" in name:
                parameter.zero_()
    like = torch.zeros(1, flow.latent)
    shift = flow.decode(like)[0]
    matrix = torch.stack([flow.decode(row[None])[0] - shift for row in torch.eye(flow.latent)], 1)
    return MultivariateNormal(shift.detach(), (matrix @ matrix.T).detach())


@pytest.mark.parametrize("architecture", ["realnvp", "maf"])
@pytest.mark.parametrize("d", [1, 4])
def test_of_affine_maps_density_and_samples_are_a_gaussian(architecture, d, rng):
    flow = bent(architecture, (d,))
    truth = affine(flow)
    x = truth.mean + torch.randn(20, d, generator=rng)
    torch.testing.assert_close(flow.log_density(x), truth.log_prob(x), rtol=0, atol=1e-9)
    x = flow.sample(20_000, rng)
    for i in range(d):
        centred = x[:, i] - truth.mean[i]
        assert_mean(centred, 0.0, f"mean {i}")
        assert_mean(centred.square(), float(truth.covariance_matrix[i, i]), f"variance {i}")


@each
def test_samples_have_the_density_that_is_stated(architecture, rng):
    """E_b[q/b] = 1 for a narrower density q, whose ratio is bounded where b is wide."""
    flow = Flow(architecture, **SMALL).build((3,), 1)
    x = flow.sample(20_000, rng)
    centre, spread = x.mean(0), 0.7 * x.std(0)
    log_q = Normal(centre, spread).log_prob(x).sum(1)
    assert_mean(torch.exp(log_q - flow.log_density(x)).detach(), 1.0, "mass of q")


@each
def test_the_gradient_reaches_the_latent_and_the_parameters(architecture, rng):
    flow = bent(architecture, (3,))
    z = flow.latents(6, rng).requires_grad_()
    torch.autograd.gradcheck(flow.decode, (z[:2].detach().requires_grad_(),))
    flow.decode(z).sum().backward()
    assert bool(z.grad.abs().sum() > 0)
    assert all(p.grad is not None for p in flow.parameters())


@each
def test_the_seed_alone_determines_the_flow(architecture, rng):
    state = torch.random.get_rng_state()
    flows = [Flow(architecture, **SMALL).build((4,), seed) for seed in (1, 1, 2)]
    assert bool((torch.random.get_rng_state() == state).all())
    x = torch.randn(3, 4, generator=rng)
    a, b, c = (flow.log_density(x) for flow in flows)
    assert bool((a == b).all())
    assert not bool((a == c).any())
    draws = [flows[0].sample(3, torch.Generator().manual_seed(s)) for s in (5, 5, 6)]
    assert bool((draws[0] == draws[1]).all())
    assert not bool((draws[0] == draws[2]).any())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transforms": 0}, "transforms=0"),
        ({"widths": ()}, "hidden layer"),
        ({"widths": (0,)}, "widths must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Flow(**settings)


def test_events_that_do_not_fit_are_refused():
    for shape in ((), (0,), (3, 32, 32)):
        with pytest.raises(ValueError, match="1 to 1024 entries"):
            Flow().build(shape, 0)
    flow = Flow(**SMALL).build((3,), 0)
    with pytest.raises(ValueError, match=r"takes x of shape \(N, 3\), got \(5, 2\)"):
        flow.log_density(torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"takes z of shape \(N, 3\), got \(5, 2\)"):
        flow.decode(torch.zeros(5, 2))


@pytest.mark.parametrize(
    ("architecture", "depend"),
    [
        ("realnvp", 4),  # two entries on the two others, which pass
        ("maf", 6),  # each on all before it
        ("nsf", 4),
    ],
)
def test_an_entry_depends_on_those_that_its_architecture_says(architecture, depend):
    """Of four entries and one map: how many pairs the Jacobian has beside its diagonal."""
    options = SMALL | {"transforms": 1}
    flow = Flow(architecture, **options).build((4,), 0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.4 * torch.randn(parameter.shape, generator=torch.Generator())
    x = torch.linspace(-1, 1, 4)
    jacobian = torch.autograd.functional.jacobian(lambda y: flow.encode(y[None])[0], x)
    beside = jacobian - torch.diag(jacobian.diagonal())
    assert int((beside.abs() > 1e-9).sum()) == depend
