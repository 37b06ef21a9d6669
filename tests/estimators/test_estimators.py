"""Scikit-learn's own checks of an estimator, and numbers whose answer is known."""

import json
import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sklearn.utils.estimator_checks as checks
import torch
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import boltzwalk as bw
from boltzwalk import api
from boltzwalk.estimators import EnergyDensity, EnergyImputer, EnergyOutlierDetector
from boltzwalk.model import Model
from boltzwalk.smc.log_z import LogZ

TINY = {"hidden": (8,), "updates": 3, "steps": 2}
SHORT = {"hidden": (32,), "updates": 60}

RATE = "contamination is the rate of false alarms of new rows, not a share of the training rows"
KINDS = [EnergyDensity, EnergyOutlierDetector, EnergyImputer]

FACTOR = np.array([[3.0, 0.0], [0.18, 0.2 * np.sqrt(0.19)]])
"""Of columns of deviation 3 and 0.2 whose correlation is 0.9."""

MEAN = np.array([100.0, -1.0])

ZERO = LogZ(0.0, 0.1, "")
"""An estimate of log Z in the place of one that takes a second."""


def expected_failures(estimator):
    if getattr(estimator, "held_out", 0):
        return {"check_outliers_fit_predict": RATE, "check_outliers_train": RATE}
    return {}


@checks.parametrize_with_checks(
    [
        EnergyDensity(**TINY),
        EnergyImputer(sample_steps=5, **TINY),
        EnergyOutlierDetector(held_out=0, **TINY),
        EnergyOutlierDetector(**TINY),
    ],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("ignore:a false-alarm rate of")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_accepts_it(estimator, check, monkeypatch):
    """The contract; of the estimate of log Z, most of the time of such a fit, it asks nothing."""
    monkeypatch.setattr(Model, "estimate_log_z", lambda *arguments: ZERO)
    check(estimator)


@pytest.mark.parametrize("check", ["check_outliers_fit_predict", "check_outliers_train"])
def test_nothing_else_fails_in_the_checks_of_the_share(check, monkeypatch):
    """Without their last assertion, that of the share of training rows, they pass."""
    compared = []
    monkeypatch.setattr(checks, "check_outlier_corruption", lambda *args: compared.append(args))
    getattr(checks, check)("EnergyOutlierDetector", EnergyOutlierDetector(**TINY))
    assert len(compared) == 1


def gaussian(n, seed):
    return np.random.default_rng(seed).normal(size=(n, 2)) @ FACTOR.T + MEAN


def mixture(n, seed):
    rng = np.random.default_rng(seed)
    mode = np.where(rng.random((n, 1)) < 0.3, -1.0, 1.0) * np.array([2.0, 1.0])
    return mode + 0.6 * rng.normal(size=(n, 2))


@pytest.fixture(scope="module")
def density():
    return EnergyDensity(**SHORT, random_state=0).fit(gaussian(1000, 0))


@pytest.fixture(scope="module")
def detector():
    return EnergyOutlierDetector(0.1, 0.3, **SHORT, random_state=0).fit(gaussian(1500, 0))


def test_the_likelihood_of_held_out_rows_is_that_of_the_truth(density):
    """The mean of log p is the negative entropy, up to the errors of log Z, rows and fit."""
    rows = gaussian(4000, 1)
    truth = stats.multivariate_normal(MEAN, FACTOR @ FACTOR.T)
    low, high = density.log_z_interval_
    assert low < density.log_z_ < high < low + 0.2
    scores = density.score_samples(rows)
    assert density.score(rows) == pytest.approx(scores.sum())
    # Five numbers fitted to 1,000 rows cost 0.0025 nats on average.
    assert abs((scores - truth.logpdf(rows)).mean()) < (high - low) / 2 + 0.01
    error = 5 * scores.std() / np.sqrt(len(rows))
    assert abs(scores.mean() + truth.entropy()) < (high - low) / 2 + 0.01 + error


@pytest.mark.slow
def test_a_density_of_two_modes_integrates_to_one_and_is_learnt():
    rows = mixture(1000, 0)
    density = EnergyDensity(hidden=(32, 32), random_state=0).fit(rows)
    axis = np.linspace(-8, 8, 321)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    integral = np.exp(density.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2
    low, high = density.log_z_interval_
    assert abs(np.log(integral)) < (high - low) / 2 < 0.3
    new = mixture(4000, 1)
    modes = [stats.multivariate_normal(s * np.array([2.0, 1.0]), 0.36) for s in (-1, 1)]
    truth = np.log(0.3 * modes[0].pdf(new) + 0.7 * modes[1].pdf(new)).mean()
    one = stats.multivariate_normal(rows.mean(0), np.cov(rows.T)).logpdf(new).mean()
    assert one + 0.5 * (truth - one) < density.score_samples(new).mean() < truth + (high - low) / 2


@pytest.mark.slow
def test_samples_have_the_moments_of_the_data(density):
    x = density.sample(3000, random_state=2)
    assert x.shape == (3000, 2)
    z = (x - MEAN) @ np.linalg.inv(FACTOR).T
    assert np.abs(z.mean(0)).max() < 0.15
    assert np.abs(np.cov(z.T) - np.eye(2)).max() < 0.2
    np.testing.assert_array_equal(x, density.sample(3000, random_state=2))
    assert not np.array_equal(x, density.sample(3000, random_state=3))
    with pytest.raises(ValueError, match="n_samples must be >= 1"):
        density.sample(0)


def test_a_refused_log_z_is_no_number():
    """A bounded energy has no Z: scores must not look like log p."""
    energy = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    energy.append(torch.nn.Flatten(0))
    density = EnergyDensity(updates=2, steps=2, energy=energy, random_state=0)
    with pytest.warns(UserWarning, match="there is no log Z, so that score_samples will raise"):
        density.fit(gaussian(100, 0))
    assert np.isnan([density.log_z_, *density.log_z_interval_]).all()
    for method in (density.score_samples, density.score):
        with pytest.raises(ValueError, match="log p must have a log Z, got none: Z does not exist"):
            method(gaussian(3, 1))
    assert density.model_.energy(torch.zeros(3, 2)).isfinite().all()


def test_the_rate_of_false_alarms_is_the_contamination(detector):
    """Given the threshold of N rows, the rate is Beta(k, N + 1 - k), and alarms are binomial."""
    rows, n = 4000, detector.n_held_out_
    assert n == 450
    alarms = (detector.predict(gaussian(rows, 1)) == -1).sum()
    k = int(0.1 * (n + 1))
    law = stats.betabinom(rows, k, n + 1 - k)
    assert law.ppf(1e-4) <= alarms <= law.ppf(1 - 1e-4)


def test_far_rows_are_outliers(detector):
    """The second differs in its correlation alone, by 2 deviations in each column."""
    far = MEAN + np.array([[60.0, 0.0], [-6.0, 0.4], [0.0, 5.0]])
    assert (detector.predict(far) == -1).all()
    assert (detector.predict(MEAN + np.array([[0.0, 0.0], [3.0, 0.2]])) == 1).all()
    np.testing.assert_allclose(
        detector.decision_function(far), detector.score_samples(far) - detector.offset_
    )


def test_the_threshold_is_that_of_rows_which_were_not_trained_on(detector):
    data = detector.model_.data
    held_out = data.to_original(data.validation.double()).numpy()
    scores = np.sort(detector.score_samples(held_out))
    assert detector.offset_ == pytest.approx(scores[int(0.1 * (len(scores) + 1)) - 1], abs=1e-5)
    assert len(data.train) + len(held_out) == 1500


def test_without_held_out_rows_the_share_is_that_of_the_training_rows():
    rows = gaussian(200, 0)
    detector = EnergyOutlierDetector(0.05, 0, **TINY, random_state=0).fit(rows)
    assert (detector.predict(rows) == -1).sum() == 10


def test_too_few_rows_flag_nothing_and_say_so():
    detector = EnergyOutlierDetector(0.01, **TINY, random_state=0)
    with pytest.warns(UserWarning, match="rate of 0.01 needs 198 rows, got 50: no row will be"):
        detector.fit(gaussian(50, 0))
    assert detector.predict([[1e6, 1e6]]) == [1]


@pytest.mark.parametrize(("name", "value"), [("contamination", 0), ("held_out", 0.6)])
def test_a_share_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be in .0, 0.5\], got {value}"):
        EnergyOutlierDetector(**{name: value}).fit(gaussian(50, 0))


def with_gaps(rows, seed):
    """A third of the values missing, at most one in a row."""
    gaps = rows.copy()
    column = np.random.default_rng(seed).integers(3, size=len(rows))
    for j in range(2):
        gaps[column == j, j] = np.nan
    return gaps


@pytest.mark.slow
def test_imputed_values_are_samples_given_the_others():
    r"""Of columns of correlation ρ a sample errs by 2 (1 - ρ²), the mean by 1, in variances.

    The mean of 10 samples errs by (1 - ρ²) (1 + 1/10).
    """
    rows = gaussian(1000, 0)
    gaps = with_gaps(rows, 1)
    hidden = np.isnan(gaps)
    imputer = EnergyImputer(**SHORT, random_state=0).fit(gaps)
    for draws, expected in ((1, 2 * 0.19), (10, 1.1 * 0.19)):
        filled = imputer.set_params(draws=draws).transform(gaps)
        np.testing.assert_array_equal(filled[~hidden], rows[~hidden])
        errors = ((filled - rows) / [3.0, 0.2])[hidden] ** 2
        assert errors.mean() < 0.5  # the mean of the column would err by 1
        assert abs(errors.mean() - expected) < 5 * errors.std() / np.sqrt(len(errors))
    filled = imputer.set_params(draws=1).transform(gaps)
    assert np.corrcoef(filled.T)[0, 1] == pytest.approx(0.9, abs=0.03)


def test_imputing_is_deterministic_and_keeps_the_type():
    gaps = with_gaps(gaussian(100, 0), 0)
    imputer = EnergyImputer(sample_steps=5, **TINY, random_state=0).fit(gaps)
    np.testing.assert_array_equal(imputer.transform(gaps), imputer.transform(gaps))
    again = clone(imputer).fit(gaps)
    np.testing.assert_array_equal(imputer.transform(gaps), again.transform(gaps))
    other = clone(imputer).set_params(random_state=1).fit(gaps)
    assert not np.array_equal(imputer.transform(gaps), other.transform(gaps))
    single = imputer.transform(gaps.astype(np.float32))
    assert single.dtype == np.float32
    assert np.isfinite(single).all()
    assert imputer.get_feature_names_out(["a", "b"]).tolist() == ["a", "b"]


def test_a_row_without_values_is_a_sample_of_the_model():
    imputer = EnergyImputer(**TINY, random_state=0).fit(gaussian(300, 0))
    filled = imputer.transform(np.full((2000, 2), np.nan))
    assert np.abs((filled.mean(0) - MEAN) / [3.0, 0.2]).max() < 0.2
    assert np.corrcoef(filled.T)[0, 1] == pytest.approx(0.9, abs=0.03)


def test_an_imputer_learns_where_few_rows_have_all_values():
    gaps = gaussian(60, 0)
    gaps[:28, 0], gaps[28:56, 1] = np.nan, np.nan
    imputer = EnergyImputer(sample_steps=20, **TINY, random_state=0).fit(gaps)
    assert len(imputer.model_.data.train) == 60
    assert np.isfinite(imputer.transform(gaps)).all()


def test_a_column_without_values_is_refused():
    gaps = gaussian(20, 0)
    gaps[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"every column must have a known value, got none in.*\[1"):
        EnergyImputer(**TINY).fit(gaps)


@pytest.mark.parametrize("name", ["draws", "sample_steps", "rounds"])
def test_numbers_of_an_imputer_are_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
        EnergyImputer(**{name: 0}).fit(gaussian(20, 0))


def results(estimator, rows):
    """The numbers of a fitted estimator."""
    names = ("score_samples", "decision_function", "predict", "transform")
    return [getattr(estimator, name)(rows) for name in names if hasattr(estimator, name)]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_loaded_pickled_and_refitted_estimators_agree(kind, tmp_path):
    rows = gaussian(100, 0)
    estimator = kind(**TINY, random_state=3).fit(rows)
    estimator.feature_names_in_ = np.array(["width", "height"], dtype=object)
    folder = estimator.save(tmp_path / "saved")
    loaded = kind.load(folder)
    expected = with_gaps(rows, 0) if kind is EnergyImputer else rows
    del estimator.feature_names_in_
    assert loaded.feature_names_in_.tolist() == ["width", "height"]
    del loaded.feature_names_in_
    assert loaded.get_params() == estimator.get_params()
    for other in (loaded, pickle.loads(pickle.dumps(estimator)), clone(loaded).fit(rows)):
        for a, b in zip(results(estimator, expected), results(other, expected), strict=True):
            np.testing.assert_array_equal(a, b)
    assert bw.load(folder).sample(5).shape == (5, 2)
    assert loaded.save(folder) == folder  # a saved estimator may be replaced


@pytest.mark.parametrize("kind", KINDS)
def test_loading_runs_no_pickle(kind, tmp_path, monkeypatch):
    folder = kind(**TINY, random_state=0).fit(gaussian(50, 0)).save(tmp_path / "saved")
    names = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert names == {".json", ".jsonl", ".yaml", ".safetensors"}

    def refuse(*args, **kwargs):
        raise AssertionError("pickle")

    for module, name in ((pickle, "load"), (pickle, "loads"), (torch, "load"), (np, "load")):
        monkeypatch.setattr(module, name, refuse)
    assert kind.load(folder).n_features_in_ == 2


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(NotFittedError):
        EnergyDensity().save(tmp_path / "new")
    density = EnergyDensity(**TINY, random_state=0).fit(gaussian(50, 0))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="must be a saved estimator, an empty folder or none"):
        density.save(tmp_path / "full")
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"
    with pytest.raises(FileNotFoundError, match=r"a saved estimator must hold estimator\.json"):
        EnergyDensity.load(tmp_path / "full")
    folder = density.save(tmp_path / "saved")
    with pytest.raises(ValueError, match="must hold a EnergyImputer, got a EnergyDensity"):
        EnergyImputer.load(folder)
    path = folder / "estimator.json"
    tree = json.loads(path.read_text())
    del tree["parameters"]["steps"]
    path.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match="must hold the parameters batch_size"):
        EnergyDensity.load(folder)
    for text in ("{", "[]", '{"estimator": 3}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"estimator\.json must"):
            EnergyDensity.load(folder)


class Well(torch.nn.Module):
    """A quadratic energy with trainable depths."""

    def __init__(self):
        super().__init__()
        self.depth = torch.nn.Parameter(torch.ones(2))

    def forward(self, x):
        return (self.depth.exp() * x.square()).sum(-1) / 2


class Single(Well):
    def forward(self, x):
        return x @ torch.ones(2) + super().forward(x)


def test_a_module_and_a_method_of_the_users(tmp_path):
    """Whitened rows are a standard normal, so that the depths go from e to 1."""
    well, method = Well(), bw.methods.Contrastive(bw.methods.DataStart(), steps=5)
    density = EnergyDensity(updates=200, learning_rate=0.05, energy=well, method=method)
    density.set_params(random_state=0).fit(gaussian(500, 0))
    assert torch.equal(well.depth, torch.ones(2))
    assert density.model_.module.depth.exp().tolist() == pytest.approx([1, 1], abs=0.25)
    assert density.log_z_ == pytest.approx(
        float(np.log(2 * np.pi) - density.model_.module.depth.sum() / 2), abs=0.05
    )
    loaded = EnergyDensity.load(density.save(tmp_path / "saved"), energy=Well())
    rows = gaussian(10, 1)
    np.testing.assert_array_equal(loaded.score_samples(rows), density.score_samples(rows))
    assert loaded.method == method
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(density)).score_samples(rows), density.score_samples(rows)
    )


def test_a_module_of_single_precision_is_refused_before_training():
    with pytest.raises(ValueError, match=r"must work in double precision after \.double"):
        EnergyDensity(energy=Single()).fit(gaussian(50, 0))


def test_a_method_with_a_condition_is_refused():
    base = bw.methods.Cooperative(condition=bw.methods.ClassConditional())
    with pytest.raises(ValueError, match="must have a method of p"):
        EnergyDensity(method=base).fit(gaussian(50, 0))


@pytest.mark.slow
def test_pipeline_and_grid_search():
    rows = gaussian(150, 0)
    pipeline = make_pipeline(EnergyImputer(**TINY), StandardScaler(), EnergyDensity(**TINY))
    assert pipeline.fit(with_gaps(rows, 0)).score_samples(rows).shape == (150,)
    search = GridSearchCV(
        EnergyDensity(**TINY, random_state=0), {"hidden": [(4,), (8,)]}, cv=2, error_score="raise"
    )
    assert search.fit(rows).best_params_["hidden"] in ((4,), (8,))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.slow
def test_units_and_constant_columns():
    """Scores are densities of the units: a factor of 1000 costs its logarithm."""
    rows = gaussian(100, 0)
    kilo = EnergyDensity(**TINY, random_state=0).fit(rows * 1000)
    plain = EnergyDensity(**TINY, random_state=0).fit(rows)
    np.testing.assert_allclose(
        kilo.score_samples(rows * 1000), plain.score_samples(rows) - 2 * np.log(1000), atol=0.1
    )
    constant = np.hstack([rows, np.full((100, 1), 7.0)])
    detector = EnergyOutlierDetector(**TINY, random_state=0).fit(constant)
    assert detector.predict([[*MEAN, 7.0], [*MEAN, 8.0]]).tolist() == [1, -1]
    large = rows + 1e7  # beyond the digits of single precision
    moved = EnergyDensity(**TINY, random_state=0).fit(large)
    np.testing.assert_allclose(moved.score_samples(large), plain.score_samples(rows), atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_refused(kind):
    estimator = kind(**TINY)
    with pytest.raises(ValueError, match="1 sample"):
        estimator.fit(np.ones((1, 3)))
    with pytest.raises(TypeError, match="Sparse data was passed"):
        estimator.fit(sparse.csr_array(np.ones((5, 3))))
    with pytest.raises(ValueError, match="infinity"):
        estimator.fit([[1.0, 2.0], [np.inf, 1.0]])
    with pytest.raises(ValueError, match="could not convert string"):
        estimator.fit([["a", "b"], ["c", "d"]])


def test_names_of_a_frame(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(gaussian(50, 0), columns=["width", "height"])
    imputer = EnergyImputer(**TINY, random_state=0).fit(frame)
    assert imputer.get_feature_names_out().tolist() == ["width", "height"]
    assert imputer.model_.data.columns == ("width", "height")
    assert imputer.set_output(transform="pandas").transform(frame).columns[0] == "width"
    with pytest.raises(ValueError, match="feature names"):
        imputer.transform(frame.rename(columns={"width": "depth"}))


def test_estimators_fit_in_threads():
    """Signals reach the main thread alone, which must not stop the others from training."""
    with ThreadPoolExecutor(1) as pool:
        fitted = pool.submit(EnergyOutlierDetector(**TINY, random_state=0).fit, gaussian(60, 0))
        threaded = fitted.result()
    alone = EnergyOutlierDetector(**TINY, random_state=0).fit(gaussian(60, 0))
    assert threaded.offset_ == alone.offset_


def test_an_interrupted_fit_gives_no_estimator(monkeypatch):
    def interrupted(*args, **settings):
        os.kill(os.getpid(), signal.SIGINT)
        return execute(*args, **settings)

    execute = api.execute
    monkeypatch.setattr(api, "execute", interrupted)
    detector = EnergyOutlierDetector(**TINY)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(gaussian(60, 0))
    assert not hasattr(detector, "model_")
