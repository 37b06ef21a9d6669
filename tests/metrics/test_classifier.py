"""The classifier is good on real digits, and its report says what is wrong with samples."""

import dataclasses
import json
import math

import pytest
import safetensors
import torch
from torch.nn.functional import pad
from typer.testing import CliRunner

from boltzwalk.checkpoint import load_checkpoint, save_checkpoint
from boltzwalk.cli import app
from boltzwalk.data import Digits, FashionMnist, Mnist, Toy
from boltzwalk.metrics.classifier import (
    SHIPPED,
    classifier_for,
    data_digest,
    fit_classifier,
    judge_classes,
    load_classifier,
    save_classifier,
)

SPLITS = ("train", "validation", "test")


def right_share(classifier, x, labels):
    """By the definition: how often the likeliest class is the label."""
    guess = torch.tensor(classifier.classes)[classifier.probabilities(x).argmax(1)]
    return float((guess == labels).float().mean())


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


@pytest.mark.slow
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
    assert report.frechet.low > 10 * report.frechet_floor.high


def test_weights_count_as_copies(fitted):
    """Samples of which the threes have weight 5 are those in which they stand five times."""
    data, classifier = fitted
    x = data.train[:300]
    copies = torch.where(data.train_labels[:300] == 3, 5, 1)
    weighted = judge_classes(classifier, x, data, copies.log())
    copied = judge_classes(classifier, x.repeat_interleave(copies, 0), data)
    for name in ("entropy", "coverage", "accuracy"):
        assert getattr(weighted, name) == pytest.approx(getattr(copied, name), rel=1e-5), name
    assert weighted.shares == pytest.approx(copied.shares, abs=1e-6)
    # The copies pretend to be 400 samples; the weights know that there are fewer.
    assert weighted.frechet.low < copied.frechet.value < weighted.frechet.high
    assert weighted.frechet.value > 5 * judge_classes(classifier, x, data).frechet.high


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
    assert math.isnan(report.frechet.value)
    assert max(report.shares.values()) == 1.0


def test_noise_shows(fitted):
    data, classifier = fitted
    noise = torch.rand(500, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    report = judge_classes(classifier, noise, data)
    assert report.frechet.low > 100 * report.frechet_floor.high
    assert 0 < report.entropy <= math.log(10)


def test_values_out_of_range_are_clamped(fitted):
    data, classifier = fitted
    x = data.test[:10]
    torch.testing.assert_close(
        classifier.features(x * 5), classifier.features((x * 5).clamp(-1, 1))
    )
    other = dataclasses.replace(classifier, gain=4.0)  # the range is that of its own units
    torch.testing.assert_close(other.features(x * 0.6), classifier.features((x * 2.4).clamp(-1, 1)))


def test_chosen_classes_keep_their_places():
    data = Digits(classes=(2, 3, 6)).load()
    classifier = fit_classifier(data)
    assert classifier.probabilities(data.test).shape[1] == 3
    report = judge_classes(classifier, data.train[data.train_labels == 6], data)
    assert report.shares[6] > 0.95
    assert report.shares.keys() == {2, 3, 6}
    assert classifier.accuracy > 0.97


@pytest.mark.parametrize("fit", [fit_classifier, classifier_for])
def test_data_without_labels_is_refused(fit):
    with pytest.raises(ValueError, match="needs labelled images"):
        fit(Toy("rings", n=100).load())


# --- shipped, saved and loaded


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion_mnist"])
def test_a_shipped_file_says_what_it_is(name):
    path = SHIPPED / f"{name}.safetensors"
    assert path.stat().st_size < 500_000
    with safetensors.safe_open(path, framework="pt") as file:
        text = json.loads(file.metadata()["boltzwalk"])
    classifier = load_classifier(path)
    assert json.loads(text["accuracy"]) == classifier.accuracy
    assert tuple(json.loads(text["names"])) == classifier.names
    assert classifier.classes == tuple(range(10))
    assert len(classifier.names) == 10
    assert len(json.loads(text["digest"])) == 64
    assert classifier.accuracy > {"digits": 0.97, "mnist": 0.99, "fashion_mnist": 0.91}[name]
    assert not classifier.body.training
    features = classifier.features(torch.zeros(3, *classifier.event))
    assert features.shape == (3, 32 if name == "digits" else 64)


def test_the_shipped_classifier_of_digits_is_the_one_that_is_fitted(fitted):
    """Its features are those by which all runs were judged before it was shipped."""
    data, again = fitted
    shipped = classifier_for(data)
    assert shipped.digest == data_digest(data) == again.digest
    right = right_share(
        shipped,
        torch.cat([data.validation, data.test]),
        torch.cat([data.validation_labels, data.test_labels]),
    )
    assert right == pytest.approx(shipped.accuracy, abs=1e-3)
    assert again.accuracy == pytest.approx(shipped.accuracy, abs=0.01)
    # Another processor rounds otherwise, and 1,500 updates let differences grow.
    difference = again.features(data.test) - shipped.features(data.test)
    assert difference.square().mean() < 0.05 * shipped.features(data.test).var()


def test_the_command_makes_the_shipped_file(tmp_path, fitted):
    done = CliRunner().invoke(app, ["classifier", "digits", "--out", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    assert "97." in done.output
    assert str(tmp_path / "a") in done.output
    made, again = load_classifier(tmp_path / "a"), fitted[1]
    assert torch.equal(made.features(fitted[0].test), again.features(fitted[0].test))
    assert made.names == again.names == tuple("0123456789")


def test_an_unknown_set_is_refused():
    done = CliRunner().invoke(app, ["classifier", "cifar10"])
    assert done.exit_code == 2
    assert "digits, mnist, fashion_mnist, got 'cifar10'" in done.output


def test_of_some_classes_the_probabilities_are_renormalised(fitted):
    whole = classifier_for(fitted[0])
    data = Digits(classes=(6, 2, 3), proportions=(1, 4, 2)).load()
    part = classifier_for(data)
    assert part.classes == (2, 3, 6)
    assert part.names == ("2", "3", "6")
    p = whole.probabilities(data.test)[:, [2, 3, 6]]
    torch.testing.assert_close(part.probabilities(data.test), p / p.sum(1, keepdim=True))
    assert torch.equal(part.features(data.test), whole.features(data.test))
    # Of three classes the accuracy is another, and taken on images that it was not fitted on.
    assert part.accuracy == right_share(part, data.test, data.test_labels)
    assert judge_classes(part, data.train, data).shares.keys() == {2, 3, 6}


def test_images_in_other_units_are_brought_into_its_own(fitted):
    """Of dequantised digits, black is not -1; the features are those of the same grey levels."""
    data = fitted[0]
    raised = Digits(dequantise=True).load()
    assert raised.train.min() > -0.95
    torch.testing.assert_close(
        classifier_for(raised).features(raised.train),
        classifier_for(data).features(data.train),
        atol=1e-4,
        rtol=1e-4,
    )
    assert classifier_for(data).gain == 1.0


@pytest.mark.parametrize(
    ("settings", "standard"),
    [
        (Digits(), "digits"),
        (Digits(classes=(1, 2)), "digits"),
        (Digits(dequantise=True), "digits"),
        (Digits(split_seed=1), ""),
        (Digits(split=(8, 1, 1)), ""),
    ],
)
def test_only_digits_that_it_has_not_seen_are_judged_by_the_shipped_one(settings, standard):
    assert settings.load().standard == standard


@pytest.mark.slow
def test_other_data_are_fitted_anew(fitted):
    data = fitted[0]
    custom = dataclasses.replace(data, standard="")
    small = fit_classifier(custom, updates=1500)
    assert torch.equal(classifier_for(custom).features(data.test), small.features(data.test))
    other_labels = dataclasses.replace(data, train_labels=data.train_labels + 5)
    assert 14 in classifier_for(other_labels).classes
    padded = {n: pad(getattr(data, n), [1] * 4) for n in SPLITS}
    assert classifier_for(dataclasses.replace(data, **padded)).event == (1, 10, 10)


def test_a_saved_classifier_comes_back(fitted, tmp_path):
    """One of images of other sizes as well; nothing is drawn when it is loaded."""
    data, first = fitted
    wide = {n: pad(getattr(data, n), [5, 6, 5, 5]) for n in SPLITS}
    second = fit_classifier(dataclasses.replace(data, standard="", **wide), updates=3)
    assert second.event == (1, 18, 19)
    for classifier, x in ((first, data.test), (second, wide["test"])):
        save_classifier(classifier, tmp_path / "a.safetensors")
        torch.manual_seed(1)
        before = torch.get_rng_state()
        again = load_classifier(str(tmp_path / "a.safetensors"))
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(again.probabilities(x), classifier.probabilities(x))
        for field in dataclasses.fields(classifier):
            if field.name not in ("body", "head"):
                assert getattr(again, field.name) == getattr(classifier, field.name)
        save_classifier(again, tmp_path / "b.safetensors")
        computed, expected = (tmp_path / f"{n}.safetensors" for n in "ab")
        assert computed.read_bytes() == expected.read_bytes()


def test_files_of_another_kind_are_refused(fitted, tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError, match=r"a\.safetensors"):
        load_classifier(path)
    save_checkpoint(path, {"head.weight": torch.zeros(2, 2)}, {"kind": "run"})
    with pytest.raises(ValueError, match="file of save_classifier"):
        load_classifier(path)
    save_classifier(fitted[1], path)
    tensors, text = load_checkpoint(path)
    del tensors["body.1.bias"]
    save_checkpoint(path, tensors, text)
    with pytest.raises(ValueError, match=r"must hold the weights[\s\S]*1\.bias"):
        load_classifier(path)
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match="whole safetensors"):
        load_classifier(path)


def test_the_digest_is_of_images_and_labels(fitted):
    data = fitted[0]
    one = data.train_labels.clone()
    one[7] += 1
    images = data.train.clone()
    images[3, 0, 2, 2] += 0.125
    others = [
        dataclasses.replace(data, train_labels=one),
        dataclasses.replace(data, train=images),
        dataclasses.replace(data, train_labels=None),
    ]
    assert len({data_digest(d) for d in [data, *others]}) == 4
    assert data_digest(dataclasses.replace(data, standard="")) == data_digest(data)


def test_too_few_samples_have_no_distance(fitted):
    data, classifier = fitted
    few = judge_classes(
        classifier, data.train[:65], data
    )  # halves need a row more than 32 features
    assert math.isnan(few.frechet.value)
    assert math.isnan(few.frechet_floor.value)
    assert few.coverage > 0.5
    assert judge_classes(classifier, data.train[:66], data).frechet.high > 0
    # In effect there are as many as carry the weight.
    log_w = torch.full((500,), -torch.inf)
    log_w[:65] = 0.0
    weighted = judge_classes(classifier, data.train[:500], data, log_w)
    assert math.isnan(weighted.frechet.value)
    assert math.isfinite(weighted.frechet_floor.value)
    short = dataclasses.replace(
        data,
        validation=data.validation[:0],
        validation_labels=data.validation_labels[:0],
        test=data.test[:32],
        test_labels=data.test_labels[:32],
    )
    assert math.isnan(judge_classes(classifier, data.train, short).frechet.value)


@pytest.mark.parametrize(
    ("settings", "least"), [(Mnist, 0.99), pytest.param(FashionMnist, 0.91, marks=pytest.mark.slow)]
)
def test_the_shipped_classifiers_of_real_images(real_data, settings, least):
    data = settings(root=real_data).load()
    classifier = classifier_for(data)
    assert classifier.digest == data_digest(data)
    right = right_share(classifier, data.test, data.test_labels)
    assert right > least
    held_out = right_share(classifier, data.validation, data.validation_labels)
    both = (held_out * len(data.validation) + right * len(data.test)) / 16_000
    assert both == pytest.approx(classifier.accuracy, abs=1e-3)


@pytest.mark.slow
def test_real_digits_of_three_classes(real_data):
    settings = Mnist(
        root=real_data, classes=(2, 3, 6), proportions=(4, 2, 1), dequantise=True, split_seed=3
    )
    data = settings.load()
    classifier = classifier_for(data)
    assert classifier.gain == pytest.approx(256 / 255)
    assert classifier.accuracy > 0.99
    report = judge_classes(classifier, data.train[:1000], data)
    assert report.frechet == pytest.approx(report.frechet_floor)
    assert Mnist(root=real_data, pad=2).load().standard == ""
