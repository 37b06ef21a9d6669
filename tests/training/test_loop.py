"""The loop does what its three numbered paragraphs say."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from boltzwalk.kernels import ULA
from boltzwalk.method import Batch
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import DataStart
from boltzwalk.rng import generator
from boltzwalk.training.loop import train_loop


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x):
        return (x * self.w).sum(-1)


class Known:
    """A method whose loss is 3 w, or anything else: the gradient is known."""

    def __init__(self, losses=None):
        self.losses = losses or []
        self.rngs = []

    def step(self, energy, data, state, rng):
        self.rngs.append(torch.rand((), generator=rng).item())
        factor = self.losses[int(state)] if self.losses else 3.0
        return (energy.w * factor).sum(), state + 1, {}


def run(energy, method, updates=3, **options):
    optimizer = torch.optim.SGD(energy.parameters(), 0.1)
    batch = options.pop("batch", lambda rng: Batch(torch.zeros(2, 1)))
    state = options.pop("state", torch.tensor(0))
    return list(
        train_loop(energy, method, batch, optimizer, state=state, updates=updates, **options)
    )


def test_it_follows_the_gradient():
    energy = Line()
    done = run(energy, Known(), 4)
    assert [d.update for d in done] == [1, 2, 3, 4]
    assert [int(d.state) for d in done] == [1, 2, 3, 4]
    assert energy.w.item() == pytest.approx(1 - 4 * 0.1 * 3)
    assert done[-1].info["gradient_norm"].item() == pytest.approx(3.0)


def test_the_schedule_multiplies_the_rate():
    energy = Line()
    done = run(energy, Known(), 4, factor=lambda update, updates: update / updates)
    assert energy.w.item() == pytest.approx(1 - 0.1 * 3 * (0 + 1 + 2 + 3) / 4)
    assert done[-1].info["learning_rate"].item() == pytest.approx(0.075)


def test_the_gradient_is_clipped_to_the_norm():
    energy = Line()
    run(energy, Known(), 1, clip=0.5)
    assert energy.w.item() == pytest.approx(1 - 0.1 * 0.5)
    small = Line()
    run(small, Known([0.25]), 1, clip=0.5)
    assert small.w.item() == pytest.approx(1 - 0.1 * 0.25)


def test_the_average_follows():
    energy = Line()
    average = AveragedModel(energy, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    run(energy, Known(), 2, average=average)
    # The first update copies 0.7, the second averages it with 0.4.
    assert average.module.w.item() == pytest.approx(0.55)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update(bad):
    energy = Line()
    with pytest.raises(FloatingPointError, match="update 3: loss"):
        run(energy, Known([3.0, 3.0, bad, 3.0]), 4)
    assert energy.w.item() == pytest.approx(1 - 2 * 0.3), "the parameters are those before it"


def test_the_cause_of_runaway_walkers_is_named():
    """A concave energy sends the walkers away ever faster."""

    class Concave(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1e4]))

        def forward(self, x):
            return -(self.w * x.square()).sum(-1)

    method = Contrastive(kernel=ULA(1.0), steps=100)
    with pytest.raises(
        FloatingPointError, match=r"walkers ran away.*halve it, double method\.steps"
    ):
        run(Concave(), method, 1, state=None)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("shape", [(8, 3), (8, 1, 3)])
def test_a_batch_that_is_not_finite_is_named_by_row_and_column(value, shape):
    """The model is not the cause: its learning rate is not blamed."""
    x = torch.zeros(shape)
    x[5, ..., 2], x[6, ..., 1] = value, value
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 1), nn.Flatten(0))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    progress = train_loop(
        net, Contrastive(kernel=ULA(0.1), steps=1, start=DataStart()), lambda _: Batch(x),
        optimizer, state=None, updates=1, columns=("a", "b", "pressure"),
    )  # fmt: skip
    with pytest.raises(FloatingPointError) as error:
        next(progress)
    assert "column 'pressure' of its row 5" in str(error.value)
    assert "2 of its 8 rows are not finite" in str(error.value)
    assert "learning rate" not in str(error.value)


def test_the_numbers_of_an_update_depend_on_seed_and_update_only():
    whole, part = Known(), Known()
    run(Line(), whole, 5, seed=7)
    run(Line(), part, 5, seed=7, first=3, state=torch.tensor(3))
    assert whole.rngs[3:] == part.rngs
    batches = []
    run(
        Line(),
        Known(),
        2,
        seed=7,
        batch=lambda rng: batches.append(rng) or Batch(torch.zeros(2, 1)),
    )
    assert len(batches) == 2
    assert generator(7, "data", 0).initial_seed() == batches[0].initial_seed()


def test_layers_stay_in_evaluation_mode():
    energy = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1), nn.Flatten(0))
    energy.train()
    run(energy, Contrastive(kernel=ULA(0.1), steps=2), 1, state=None)
    assert not energy.training
