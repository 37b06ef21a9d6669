import math

import pytest
import torch

from boltzwalk.data import Dataset
from boltzwalk.data.affine import to_model
from boltzwalk.data.held_out import dequantise_held_out


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(n=50, **settings):
    """Row i holds the number i."""
    x = torch.arange(n).float().unsqueeze(1)
    return Dataset(x, x[:0], x[:0], **settings)


def test_batch_has_no_row_twice_and_is_determined_by_its_generator():
    data = numbered()
    batch = data.batch(20, seeded(3))
    assert len(set(batch.flatten().tolist())) == 20
    assert torch.equal(batch, data.batch(20, seeded(3)))
    assert not torch.equal(batch, data.batch(20, seeded(4)))


def test_batch_of_all_rows_is_all_rows():
    assert numbered().batch(50, seeded()).flatten().sort().values.tolist() == list(range(50))


def test_every_row_is_drawn_equally_often():
    data, rng = numbered(10), seeded()
    counts = torch.zeros(10)
    for _ in range(2000):
        counts[data.batch(3, rng).flatten().long()] += 1
    standard_error = math.sqrt(2000 * 0.3 * 0.7)
    assert ((counts - 600).abs() < 5 * standard_error).all()


@pytest.mark.parametrize("n", [0, 51])
def test_batch_of_impossible_size_says_both_numbers(n):
    with pytest.raises(ValueError, match=rf"between 1 and 50 rows.*got {n}"):
        numbered().batch(n, seeded())


def test_batch_adds_fresh_noise_that_fills_the_cell_evenly():
    data, rng = numbered(10_000, quantum=0.5), seeded()
    first, second = data.batch(10_000, rng), data.batch(10_000, rng)
    noise = torch.cat([first - first.round(), second - second.round()]).double()
    assert noise.abs().max() <= 0.25
    # A uniform variable of width q has mean 0, variance q^2 / 12, fourth moment q^4 / 80.
    n, variance = len(noise), 0.5**2 / 12
    assert noise.mean().abs() < 5 * math.sqrt(variance / n)
    se_of_variance = math.sqrt((0.5**4 / 80 - variance**2) / n)
    assert abs(noise.square().mean() - variance) < 5 * se_of_variance
    by_row = torch.cat([first, second]).round().long().flatten()
    a, b = noise[:10_000][by_row[:10_000].argsort()], noise[10_000:][by_row[10_000:].argsort()]
    assert (a * b).mean().abs() < 5 * variance / math.sqrt(10_000)


def test_quantum_may_be_one_a_column_or_a_matrix():
    x = torch.zeros(4000, 2)
    widths = torch.tensor([1.0, 0.0])
    noise = Dataset(x, x, x, quantum=widths).dequantised(x, seeded())
    assert noise[:, 0].abs().max() > 0.4
    assert (noise[:, 1] == 0).all()
    mixing = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    mixed = Dataset(x, x, x, quantum=mixing).dequantised(x, seeded())
    assert torch.allclose(mixed[:, 1], 2 * mixed[:, 0])
    assert torch.allclose(mixed[:, 0], noise[:, 0])


def test_held_out_rows_get_their_noise_once_and_training_rows_none():
    x = torch.zeros(100, 3)
    raw = Dataset(x, x.clone(), x.clone(), quantum=0.1)
    data, again = dequantise_held_out(raw, seed=1), dequantise_held_out(raw, seed=1)
    assert (data.train == 0).all()
    assert torch.equal(data.validation, again.validation)
    assert torch.equal(data.test, again.test)
    assert not torch.equal(data.test, data.validation)
    assert 0.04 < data.test.abs().max() <= 0.05


@pytest.mark.parametrize(
    "scale",
    [
        torch.tensor(127.5),
        torch.tensor([2.0, 0.5, 4.0]),
        torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 3.0], [0.0, 0.0, 4.0]]),
    ],
)
def test_original_units_and_back(scale):
    x, shift = torch.randn(20, 3, generator=seeded()), torch.tensor([1.0, -2.0, 3.0])
    data = Dataset(x, x[:0], x[:0], shift=shift, scale=scale)
    full = scale if scale.ndim == 2 else torch.eye(3) * scale
    expected = torch.einsum("nd,de->ne", x, full) + shift
    assert torch.allclose(data.to_original(x), expected, atol=1e-4)
    assert torch.allclose(data.from_original(expected), x, atol=1e-4)
    jacobian = torch.autograd.functional.jacobian(lambda v: data.to_original(v[None])[0], x[0])
    assert data.log_volume == pytest.approx(float(jacobian.det().abs().log()), abs=1e-5)


def test_the_inverse_is_exact_in_float64():
    rng = seeded()
    scale, y = torch.randn(6, 6, generator=rng).double(), torch.randn(9, 6, generator=rng).double()
    assert torch.allclose(to_model(y, torch.zeros(6), scale) @ scale, y, atol=1e-10)


def test_splits_must_fit_together():
    x = torch.zeros(5, 2)
    with pytest.raises(ValueError, match=r"test must have rows of shape \(2,\).*got \(3,\)"):
        Dataset(x, x, torch.zeros(5, 3))
    with pytest.raises(ValueError, match="at least one row"):
        Dataset(x[:0], x, x)
    with pytest.raises(ValueError, match=r"train_labels must have shape \(5,\).*got \(4,\)"):
        Dataset(x, x, x, train_labels=torch.zeros(4).long())
    with pytest.raises(ValueError, match=r"validation must hold finite float32.*1 values"):
        Dataset(x, torch.tensor([[0.0, math.nan]]), x)
    with pytest.raises(ValueError, match=r"torch.float64"):
        Dataset(x.double(), x, x)


def test_moving_to_a_device_moves_every_tensor(monkeypatch):
    # The meta device, the only other one that every machine has, cannot tell what is finite.
    monkeypatch.setattr(Dataset, "__post_init__", lambda self: None)
    x, labels = torch.zeros(5, 2), torch.zeros(5).long()
    moved = Dataset(x, x, x, labels, labels, None, quantum=torch.ones(2)).to("meta")
    names = ("train", "validation", "test", "train_labels", "validation_labels")
    assert all(getattr(moved, name).is_meta for name in (*names, "quantum", "shift", "scale"))
    assert moved.test_labels is None
