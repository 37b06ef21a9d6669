"""Independence Metropolis against its formula."""

import pytest
import torch

from boltzwalk.energies.analytic import Gaussian, GumbelProduct
from boltzwalk.kernels import Independence, NormalProposals
from boltzwalk.walkers import walkers_at


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_a_step_accepts_by_the_ratio_of_the_densities(rng, temperature):
    energy, proposal = GumbelProduct(2), Gaussian(2, 0.5, (1.5, 2.0))
    x = energy.sample(400, rng)
    stream = torch.Generator().manual_seed(7)
    y = proposal.sample(400, stream)
    u = torch.rand(400, generator=stream)

    def log_p(z):
        return -energy(z) / temperature

    normal = torch.distributions.Normal(torch.tensor(0.5), torch.tensor([1.5, 2.0]))

    def log_q(z):
        return normal.log_prob(z).sum(-1)

    ratio = log_p(y) - log_p(x) + log_q(x) - log_q(y)
    kernel = Independence(proposal, temperature)
    moved, info = kernel.step(energy, walkers_at(energy, x), torch.Generator().manual_seed(7))
    torch.testing.assert_close(info.acceptance, ratio.exp().clamp(max=1))
    assert torch.equal(info.accepted, u < info.acceptance)
    assert 0 < info.accepted.sum() < 400
    assert torch.equal(moved.x, torch.where(info.accepted[:, None], y, x))


def test_the_target_as_proposal_is_always_accepted(rng):
    energy = GumbelProduct(3)
    _, info = Independence(energy).step(energy, walkers_at(energy, energy.sample(50, rng)), rng)
    torch.testing.assert_close(info.acceptance, torch.ones(50))


def test_a_walker_outside_the_support_is_brought_back(rng):
    def energy(x):
        return torch.where(x[:, 0].abs() < 1, x.sum(-1), torch.inf)

    walkers = walkers_at(energy, torch.full((64, 1), 5.0))
    for _ in range(20):
        walkers, _ = Independence(Gaussian(1)).step(energy, walkers, rng)
    assert walkers.energy.isfinite().all()


def test_a_proposal_of_another_shape_is_refused(rng):
    energy = GumbelProduct(3)
    kernel = Independence(Gaussian(2))
    with pytest.raises(ValueError, match=r"must have shape \(5, 3\), got \(5, 2\); write"):
        kernel.step(energy, walkers_at(energy, torch.zeros(5, 3)), rng)


def test_normal_proposals_leave_the_difference_of_the_rest(rng):
    """For |x|^2 / 2 + f(x): min(1, exp(f(x) - f(y))), which is always for a constant f."""

    def rest(x):
        return (3 * x[:, 0]).sin() + x[:, 1].abs()

    x = torch.randn(400, 2, generator=rng)
    y = torch.randn(400, 2, generator=torch.Generator().manual_seed(7))
    for f, t in ((rest, 1.0), (rest, 0.7), (lambda x: 0 * x[:, 0] + 5, 1.0)):

        def target(x, f=f, t=t):
            return t * (x.square().sum(1) / 2 + f(x))

        walkers = walkers_at(target, x)
        kernel = NormalProposals(t)
        moved, info = kernel.step(target, walkers, torch.Generator().manual_seed(7))
        torch.testing.assert_close(info.acceptance, (f(x) - f(y)).exp().clamp(max=1))
        assert torch.equal(moved.x, torch.where(info.accepted[:, None], y, x))
    assert info.accepted.all()
    with pytest.raises(ValueError, match="temperature"):
        NormalProposals(0.0)
