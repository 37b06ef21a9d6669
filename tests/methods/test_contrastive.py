"""The contrastive gradient is exact where it can be computed, and the start is the method."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from boltzwalk.kernels import HMC, MALA, ULA, AdamDescent, Descent, KineticLangevin
from boltzwalk.method import Batch
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.replay import Replay
from boltzwalk.methods.starts import DataStart, NoiseStart, ReplayStart
from statistics_helpers import assert_mean

STARTS = [NoiseStart(), NoiseStart("gaussian", 2.0), DataStart(), ReplayStart(size=40)]
KERNELS = [
    ULA(0.05),
    MALA(0.05),
    HMC(0.2, 3),
    KineticLangevin(0.2, friction=1.0),
    Descent(0.05),
    Descent(0.05, momentum=0.5),
    AdamDescent(0.05),
]


class Quadratic(nn.Module):
    """U = sum of a x^2 / 2 - b x: an exponential family, so the gradient is a moment difference."""

    def __init__(self, dim=2):
        super().__init__()
        self.a = nn.Parameter(torch.full((dim,), 0.7))
        self.b = nn.Parameter(torch.full((dim,), 0.2))
        self.calls, self.rows = 0, 0

    def forward(self, x):
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        return (self.a * x.square() / 2 - self.b * x).sum(-1)


def step(method, energy, data, seed=0, state=None):
    rng = torch.Generator().manual_seed(seed)
    if state is None:
        state = method.init(energy, Batch(data), rng)
    return method.step(energy, Batch(data), state, rng)


@pytest.mark.parametrize("start", STARTS)
def test_the_gradient_is_the_difference_of_moments(start):
    """The oracle: the negatives are recovered from the loss of a linear probe energy."""
    energy, data = Quadratic(), torch.randn(8, 2)
    method = Contrastive(start, ULA(0.1), steps=3)
    seen = []
    energy.register_forward_hook(lambda module, args, out: seen.append(args[0].detach()))
    loss, _, info = step(method, energy, data)
    loss.backward()
    positive, negative = seen[-2:]
    torch.testing.assert_close(positive, data)
    torch.testing.assert_close(energy.b.grad, -(positive.mean(0) - negative.mean(0)))
    squares = (positive.square().mean(0) - negative.square().mean(0)) / 2
    torch.testing.assert_close(energy.a.grad, squares)
    torch.testing.assert_close(info["energy_gap"], loss.detach())


def test_the_expected_gradient_is_that_of_the_likelihood():
    """Walkers that start at samples of the model and move by MALA give an unbiased gradient."""
    energy, method = Quadratic(1), Contrastive(DataStart(), MALA(0.5), steps=5)
    mean, sd = 0.2 / 0.7, 1 / math.sqrt(0.7)
    rng = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(300):
        data = mean + sd * torch.randn(64, 1, generator=rng)
        energy.zero_grad()
        method.step(energy, Batch(data), None, rng)[0].backward()
        rows.append(torch.cat([energy.a.grad, energy.b.grad]))
    rows = torch.stack(rows)
    # The data are samples of the model, so both gradients are zero on average.
    assert_mean(rows[:, 0], 0.0, "gradient of a")
    assert_mean(rows[:, 1], 0.0, "gradient of b")


def test_the_energy_penalty_adds_the_squares():
    energy, data = Quadratic(), torch.randn(8, 2)
    plain = Contrastive(NoiseStart(), ULA(0.1), steps=2)
    loss, _, info = step(plain, energy, data)
    seen = []
    energy.register_forward_hook(lambda module, args, out: seen.append(out.detach()))
    with_penalty, _, _ = step(replace(plain, energy_penalty=0.3), energy, data)
    squares = seen[-2].square().mean() + seen[-1].square().mean()
    torch.testing.assert_close(with_penalty, loss + 0.3 * squares)
    torch.testing.assert_close(info["energy_data"], seen[-2].mean())
    torch.testing.assert_close(info["energy_walkers"], seen[-1].mean())


def test_data_noise_has_its_standard_deviation():
    energy, data = Quadratic(), torch.zeros(20_000, 2)
    seen = []
    energy.register_forward_hook(lambda module, args, out: seen.append(args[0].detach()))
    step(Contrastive(NoiseStart(), ULA(0.1), steps=1, data_noise=0.3), energy, data)
    noisy = seen[-2]
    assert_mean(noisy.flatten(), 0.0, "mean of the noise")
    assert_mean(noisy.flatten().square(), 0.09, "variance of the noise")


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
@pytest.mark.parametrize("start", STARTS)
def test_evaluations_are_as_many_as_promised(start, kernel):
    method, energy, data = Contrastive(start, kernel, steps=4), Quadratic(), torch.randn(10, 2)
    step(method, energy, data)
    # Two more forward passes give the loss; they have no input gradient.
    assert energy.rows == method.gradients(10) + 20


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_every_kernel_logs_finite_numbers(kernel):
    _, _, info = step(Contrastive(NoiseStart(), kernel, steps=4), Quadratic(), torch.randn(10, 2))
    for name, value in info.items():
        assert value.shape == (), name
        assert value.isfinite(), name


def test_diagnostics_against_direct_computation():
    """With a linear energy the gradient is constant, so every number is known."""

    class Linear(nn.Module):
        def forward(self, x):
            return x @ torch.tensor([3.0, 4.0])

    data = torch.zeros(6, 2) + torch.tensor([1.0, 0.0])
    method = Contrastive(DataStart(), Descent(0.1), steps=5)
    _, _, info = step(method, Linear(), data)
    for at in ("first", "mean", "last"):
        assert info[f"gradient_{at}"].item() == pytest.approx(5.0)
    assert info["travel"].item() == pytest.approx(5 * 0.1 * 5.0)
    assert info["displacement"].item() == pytest.approx(2.5)
    assert "distance" not in info, "it means nothing where chains do not start from noise"
    assert info["out_of_range"].item() == pytest.approx(1.0)  # (-0.5, -2) is outside (1, 0)
    assert info["temperature"].item() == 0.0
    assert info["energy_gap"].item() == pytest.approx(5 * 0.1 * 25)


def test_noise_starts_have_their_distribution(rng):
    like = torch.zeros(1, 3)
    uniform = NoiseStart("uniform", 2.0).noise(like, 20_000, rng)
    assert uniform.min() >= -2
    assert uniform.max() <= 2
    assert_mean(uniform.flatten(), 0.0, "mean of uniform noise")
    assert_mean(uniform.flatten().square(), 4 / 3, "variance of uniform noise")
    gaussian = NoiseStart("gaussian", 2.0).noise(like, 20_000, rng)
    assert_mean(gaussian.flatten().square(), 4.0, "variance of Gaussian noise")


def test_a_data_start_takes_every_row_once(rng):
    data = torch.arange(8.0)[:, None]
    x, index = DataStart().draw(data, None, 8, rng)
    assert index is None
    assert sorted(x.flatten().tolist()) == list(range(8))
    more, _ = DataStart().draw(data, None, 20, rng)
    assert set(more.flatten().long().bincount().tolist()) == {2, 3}


def test_replay_restarts_a_share(rng):
    data, start = torch.zeros(10, 1), ReplayStart(size=20_000, restart_share=0.3)
    x, _ = start.draw(data, Replay(torch.full((20_000, 1), 9.0)), 20_000, rng)
    assert_mean((x != 9).double().flatten(), 0.3, "share of restarted walkers")


def test_a_store_may_begin_with_the_data(rng):
    data = torch.arange(50.0)[:, None]
    state = ReplayStart(size=0, from_data=True).init(data, rng)
    assert sorted(state.x.flatten().tolist()) == data.flatten().tolist()
    more = ReplayStart(size=120, from_data=True).init(data, rng)
    assert set(more.x.flatten().long().bincount().tolist()) == {2, 3}


def test_restarts_from_data_take_the_batch(rng):
    data = torch.full((10, 1), 5.0)
    start = ReplayStart(size=20_000, restart_share=0.3, from_data=True)
    x, _ = start.draw(data, Replay(torch.full((20_000, 1), 9.0)), 20_000, rng)
    assert set(x.flatten().tolist()) == {5.0, 9.0}
    assert_mean((x == 5).double().flatten(), 0.3, "share of restarted walkers")


def test_chains_from_noise_stay_chains_from_noise(rng):
    """To draw samples from noise must not show the data, wherever training started."""
    start = ReplayStart(size=10, from_data=True)
    assert start.noise_start == NoiseStart()
    assert not start.from_noise


def test_replay_moves_the_drawn_walkers_only():
    energy, data = Quadratic(), torch.randn(10, 2)
    method = Contrastive(ReplayStart(size=40), ULA(0.1), steps=2)
    before = method.init(energy, Batch(data), torch.Generator().manual_seed(1))
    _, after, _ = step(method, energy, data, state=before)
    moved = (before.x != after.x).any(1)
    assert moved.sum() == 10


def test_replay_of_the_size_of_the_data():
    method = Contrastive(ReplayStart(size=0), ULA(0.1), steps=1)
    state = method.init(Quadratic(), Batch(torch.zeros(123, 2)), torch.Generator().manual_seed(0))
    assert len(state) == 123


def test_the_number_of_walkers_need_not_be_that_of_the_data():
    energy, data = Quadratic(), torch.randn(10, 2)
    method = Contrastive(ReplayStart(size=40), ULA(0.1), steps=2, walkers=25)
    seen = []
    energy.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    step(method, energy, data)
    assert seen[-2:] == [10, 25]


def test_samples_continue_the_chain_of_training(rng):
    """Short-run sampling is the chain of training: the same noise gives the same walkers."""
    energy, data = Quadratic(), torch.randn(10, 2)
    method = Contrastive(NoiseStart(), ULA(0.1), steps=7)
    a = method.sample(energy, Batch(data), None, 16, torch.Generator().manual_seed(4))
    b = method.sample(energy, Batch(data), None, 16, torch.Generator().manual_seed(4), steps=7)
    assert torch.equal(a.x, b.x)
    c = method.sample(energy, Batch(data), None, 16, torch.Generator().manual_seed(4), steps=8)
    assert not torch.equal(a.x, c.x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"data_noise": -0.1}, "data_noise must be >= 0, got -0.1"),
        ({"energy_penalty": float("nan")}, "energy_penalty must be >= 0, got nan"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Contrastive(**wrong)
    with pytest.raises(ValueError, match="restart_share must be in"):
        ReplayStart(restart_share=1.5)


GOLDEN = {  # loss of the 20th update and sum of the walkers, float64; change only with a reason
    "NoiseStart": (-0.056447045769147386, -0.10096560039636121),
    "DataStart": (-0.010740634850758463, 0.536995243317381),
    "ReplayStart": (-0.7071902391596296, 2.072356010164672),
}


@pytest.mark.parametrize("start", [NoiseStart(), DataStart(), ReplayStart(size=100)])
def test_golden(start):
    """Twenty updates of a small network: any change of the numbers must be meant."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 1), nn.Flatten(0))
    rng = torch.Generator().manual_seed(0)
    data = torch.randn(64, 2, generator=rng)
    method = Contrastive(start, ULA(0.05), steps=5, data_noise=0.1)
    state = method.init(net, Batch(data), rng)
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    for _ in range(20):
        loss, state, _ = method.step(net, Batch(data), state, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    total = sum(p.sum().item() for p in net.parameters())
    expected = GOLDEN[type(start).__name__]
    assert (loss.item(), total) == pytest.approx(expected, rel=1e-9), (loss.item(), total)


def test_samples_of_a_store_are_different_walkers_and_none_is_restarted(rng):
    energy, data = Quadratic(), torch.randn(10, 2)
    method = Contrastive(ReplayStart(size=3000, restart_share=1.0), Descent(1e-12), steps=1)
    state = Replay(torch.arange(3000.0)[:, None].expand(3000, 2).contiguous())
    drawn = method.sample(energy, Batch(data), state, 2500, rng).x[:, 0].round()
    assert len(drawn.unique()) == 2500, "more than one chunk, and no walker twice"
    with pytest.raises(ValueError, match="store holds 3000 walkers, asked for 3001 samples"):
        method.sample(energy, Batch(data), state, 3001, rng)
    from_noise = method.sample(energy, Batch(data), state, 4000, rng, from_noise=True)
    assert len(from_noise) == 4000
    assert from_noise.x.abs().max() <= 1


def test_distance_is_from_noise_to_the_data():
    data = torch.full((500, 3), 5.0)
    method = Contrastive(NoiseStart("uniform", 1e-9), ULA(1e-6), steps=1)
    _, _, info = step(method, Quadratic(3), data)
    assert info["distance"].item() == pytest.approx(5 * 3**0.5, rel=1e-6)


def test_out_of_range_is_beyond_the_data_by_a_twentieth():
    """Columns are judged one by one, the pixels of an image together."""

    class Still(nn.Module):
        def forward(self, x):
            return (x * 0).flatten(1).sum(1)

    method = Contrastive(NoiseStart("gaussian", 1.0), Descent(1e-9), steps=1)
    table = torch.tensor([[-1e6, -1e-6], [1e6, 1e-6]])
    rng = torch.Generator().manual_seed(0)
    wide = replace(method, walkers=1000)
    _, _, info = wide.step(Still(), Batch(table), None, rng)
    assert info["out_of_range"].item() == pytest.approx(0.5, abs=0.001)
    image = table.reshape(1, 1, 2, 2)
    _, _, info = wide.step(Still(), Batch(image), None, rng)
    assert info["out_of_range"].item() == 0.0
    on_the_edge = Contrastive(DataStart(), Descent(1e-3), steps=1)
    _, _, info = on_the_edge.step(Still(), Batch(table), None, rng)
    assert info["out_of_range"].item() == 0.0


def test_samples_of_contrastive_divergence_do_not_show_the_data(rng):
    data = torch.full((10, 2), 77.0)
    method = Contrastive(DataStart(), Descent(1e-9), steps=1)
    drawn = method.sample(Quadratic(), Batch(data), None, 50, rng)
    assert drawn.x.abs().max() < 10
