import pytest
import torch

from boltzwalk.settings.optimizers import SGD, Adam, Schedule


def test_schedule_by_hand():
    schedule = Schedule(warmup=4, decay=0.5, minimum=0.1, anneal=0.2)
    expected = {0: 0.25, 1: 0.25, 2: 0.1875, 3: 0.125, 4: 0.1, 7: 0.1, 8: 0.1, 9: 0.05}
    for update, factor in expected.items():
        assert schedule.factor(update, 10) == pytest.approx(factor), update


def test_the_default_schedule_is_constant():
    assert {Schedule().factor(t, 100) for t in range(100)} == {1.0}


def test_no_update_has_rate_zero():
    assert Schedule(anneal=1.0, warmup=3).factor(0, 10) > 0
    assert Schedule(anneal=1.0).factor(9, 10) > 0


@pytest.mark.parametrize(
    ("settings", "cls"), [(Adam(), torch.optim.Adam), (SGD(), torch.optim.SGD)]
)
def test_optimizers_are_torchs_with_these_settings(settings, cls):
    optimizer = settings.build([torch.nn.Parameter(torch.zeros(2))])
    assert isinstance(optimizer, cls)
    assert optimizer.defaults["lr"] == settings.learning_rate
    assert optimizer.defaults["weight_decay"] == settings.weight_decay


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(0.0), "learning_rate must be > 0, got 0.0"),
        (lambda: SGD(-1.0), "learning_rate must be > 0, got -1.0"),
        (lambda: Adam(beta1=1.0), r"beta1 must be in \[0, 1\), got 1.0"),
        (lambda: SGD(momentum=1.0), r"momentum must be in \[0, 1\), got 1.0"),
        (lambda: Adam(weight_decay=-1.0), "weight_decay must be >= 0, got -1.0"),
        (lambda: Schedule(decay=0.0), r"decay must be in \(0, 1\], got 0.0"),
        (lambda: Schedule(warmup=-1), "warmup must be >= 0 updates, got -1"),
        (lambda: Schedule(anneal=2.0), r"anneal must be in \[0, 1\], got 2.0"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
