"""The classifier is good on real digits, and its report says what is wrong with samples."""

import math

import pytest
import torch

from boltzwalk.data import Digits, Toy
from boltzwalk.metrics.classifier import fit_classifier, judge_classes


@pytest.fixture(scope="module")
def fitted():
    torch.set_default_dtype(torch.float32)
    data = Digits().load()
    return data, fit_classifier(data)


@pytest.fixture(autouse=True)
def float32(float64):
    torch.set_default_dtype(torch.float32)


def test_it_is_accurate_on_digits_it_has_not_seen(fitted):
    data, classifier = fitted
    assert classifier.accuracy > 0.96
    right = classifier.probabilities(data.test).argmax(1) == data.test_labels
    assert right.float().mean() > 0.94


def test_it_is_the_same_each_time(fitted):
    data, classifier = fitted
    torch.manual_seed(99)
    again = fit_classifier(data)
    assert torch.equal(again.features(data.test), classifier.features(data.test))


def test_real_digits_are_clear_and_of_all_classes(fitted):
    data, classifier = fitted
    report = judge_classes(classifier, data.train[:500], data)
    assert report.entropy < 0.2
    assert report.coverage > 0.95
    assert sum(report.shares.values()) == pytest.approx(1.0)
    assert report.frechet == pytest.approx(report.frechet_floor)


def test_a_collapsed_model_shows(fitted):
    data, classifier = fitted
    threes = data.train[data.train_labels == 3][:100]
    report = judge_classes(classifier, threes, data)
    assert report.shares[3] > 0.95
    assert report.coverage < 0.2  # one class of ten, a little blurred
    assert report.frechet > 10 * report.frechet_floor


def test_weights_count_as_copies(fitted):
    """Samples of which the threes have weight 20 are those in which they stand twenty times."""
    data, classifier = fitted
    x = data.train[:300]
    copies = torch.where(data.train_labels[:300] == 3, 20, 1)
    weighted = judge_classes(classifier, x, data, copies.log())
    copied = judge_classes(classifier, x.repeat_interleave(copies, 0), data)
    for name in ("entropy", "coverage", "accuracy"):
        assert getattr(weighted, name) == pytest.approx(getattr(copied, name), rel=1e-5), name
    assert weighted.shares == pytest.approx(copied.shares, abs=1e-6)
    # The copies pretend to be 900 samples; the weights know that there are fewer.
    assert weighted.frechet == pytest.approx(copied.frechet, rel=0.1)
    assert weighted.frechet > 2 * judge_classes(classifier, x, data).frechet


def test_equal_weights_change_nothing(fitted):
    data, classifier = fitted
    x = data.train[:300]
    weighted = judge_classes(classifier, x, data, torch.full((300,), -7.5))
    assert weighted == judge_classes(classifier, x, data)


def test_a_sample_without_weight_is_not_there(fitted):
    data, classifier = fitted
    x = torch.cat([data.train[:100], torch.rand(100, 1, 8, 8)])
    log_w = torch.cat([torch.zeros(100), torch.full((100,), -torch.inf)])
    weighted = judge_classes(classifier, x, data, log_w)
    plain = judge_classes(classifier, data.train[:100], data)
    assert weighted.shares == pytest.approx(plain.shares)
    assert weighted.entropy == pytest.approx(plain.entropy, rel=1e-5)


def test_one_sample_with_all_the_weight_has_no_distance(fitted):
    data, classifier = fitted
    log_w = torch.full((50,), -torch.inf)
    log_w[3] = 0.0
    report = judge_classes(classifier, data.train[:50], data, log_w)
    assert math.isnan(report.frechet)
    assert max(report.shares.values()) == 1.0


def test_noise_shows(fitted):
    data, classifier = fitted
    noise = torch.rand(500, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    report = judge_classes(classifier, noise, data)
    assert report.frechet > 100 * report.frechet_floor
    assert 0 < report.entropy <= math.log(10)


def test_values_out_of_range_are_clamped(fitted):
    data, classifier = fitted
    x = data.test[:10]
    torch.testing.assert_close(
        classifier.features(x * 5), classifier.features((x * 5).clamp(-1, 1))
    )


def test_chosen_classes_keep_their_places():
    data = Digits(classes=(2, 3, 6)).load()
    classifier = fit_classifier(data)
    assert classifier.probabilities(data.test).shape[1] == 3
    report = judge_classes(classifier, data.train[data.train_labels == 6], data)
    assert report.shares[6] > 0.95
    assert report.shares.keys() == {2, 3, 6}
    assert classifier.accuracy > 0.97


def test_data_without_labels_is_refused():
    with pytest.raises(ValueError, match="needs labelled images"):
        fit_classifier(Toy("rings", n=100).load())
