"""The discrepancy of samples is what double loops, torchmetrics and SciPy say, at any weight."""

import math

import pytest
import scipy.stats
import torch
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

from boltzwalk.metrics import mean_discrepancy as module
from boltzwalk.metrics.distances import squared_distances
from boltzwalk.metrics.mean_discrepancy import (
    kernel_distance,
    mean_discrepancy,
    permutation_p_value,
)
from boltzwalk.metrics.rows import sample_weights
from boltzwalk.metrics.similarity import (
    DistanceKernel,
    GaussianKernel,
    InverseMultiquadric,
    LaplacianKernel,
    PolynomialKernel,
    median_distance,
)

# Each kernel beside its formula for one pair, in Python numbers.
KERNELS = {
    "gaussian": (
        GaussianKernel(1.3, scales=(0.5, 2.0)),
        lambda x, y: (
            math.exp(-(math.dist(x, y) ** 2) / (2 * 0.65**2)) / 2
            + math.exp(-(math.dist(x, y) ** 2) / (2 * 2.6**2)) / 2
        ),
    ),
    "laplacian": (LaplacianKernel(1.3), lambda x, y: math.exp(-math.dist(x, y) / 1.3)),
    "inverse multiquadric": (
        InverseMultiquadric(1.3),
        lambda x, y: 1 / math.sqrt(1 + math.dist(x, y) ** 2 / 1.3**2),
    ),
    "polynomial": (
        PolynomialKernel(),
        lambda x, y: (sum(a * b for a, b in zip(x, y, strict=True)) / 3 + 1) ** 3,
    ),
    "distance": (DistanceKernel(), lambda x, y: -math.dist(x, y)),
    "own": (lambda x, y: x @ y.T, lambda x, y: sum(a * b for a, b in zip(x, y, strict=True))),
}


def double_loop(k, x, y, w, unbiased):
    """The definition, pair by pair, with the weights w of the rows of x."""
    x, y, w = x.tolist(), y.tolist(), (w / w.sum()).tolist()

    def within(rows, weights):
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows))]
        pairs = [(i, j) for i, j in pairs if i != j or not unbiased]
        total = sum(weights[i] * weights[j] for i, j in pairs)
        return sum(weights[i] * weights[j] * k(rows[i], rows[j]) for i, j in pairs) / total

    across = sum(w[i] * k(x[i], b) for i in range(len(x)) for b in y) / len(y)
    return within(x, w) + within(y, [1 / len(y)] * len(y)) - 2 * across


@pytest.fixture
def small_blocks(monkeypatch):
    """Seven rows in blocks of three: whole blocks, a rest, and pairs across."""
    monkeypatch.setattr(module, "BLOCK", 3)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("name", KERNELS)
def test_against_double_loops(name, unbiased, rng, small_blocks):
    kernel, k = KERNELS[name]
    x, y = torch.randn(7, 3, generator=rng) + 1, torch.randn(5, 3, generator=rng)
    w = torch.rand(7, generator=rng)
    # Rows of a biased pair (x, x) have distance 1e-8 in place of 0, so that a root loses digits.
    near = {"rel": 1e-7 if name in ("laplacian", "distance") and not unbiased else 1e-12}
    expected = double_loop(k, x, y, torch.ones(7), unbiased)
    assert mean_discrepancy(x, y, kernel, unbiased=unbiased) == pytest.approx(expected, **near)
    expected = double_loop(k, x, y, w, unbiased)
    assert mean_discrepancy(x, y, kernel, w, unbiased) == pytest.approx(expected, **near)
    assert mean_discrepancy(y, x, kernel) == pytest.approx(mean_discrepancy(x, y, kernel))


@pytest.mark.parametrize("weighted", [True, False])
def test_blocks_change_nothing(weighted, rng, monkeypatch):
    x, y = torch.randn(500, 6, generator=rng), torch.randn(450, 6, generator=rng)
    share = torch.rand(500, generator=rng) if weighted else None
    whole = mean_discrepancy(x, y, share=share)
    monkeypatch.setattr(module, "BLOCK", 64)
    assert mean_discrepancy(x, y, share=share) == pytest.approx(whole, rel=1e-9)


def test_energy_distance_of_scipy(rng):
    x, y = torch.randn(300, 1, generator=rng), 2 * torch.randn(200, 1, generator=rng) + 1
    w = torch.rand(300, generator=rng)
    result = mean_discrepancy(x, y, DistanceKernel(), w, unbiased=False)
    expected = scipy.stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy(), w.numpy())
    assert result == pytest.approx(expected**2, rel=1e-6)


@pytest.mark.parametrize(("h", "shift"), [(1.0, 1.0), (2.0, 0.5)])
def test_gaussians_have_their_closed_form(h, shift, rng):
    """Between N(0, 1) and N(a, 1) it is 2 (1 - exp(-a² / (2 h² + 4))) / sqrt(1 + 2 / h²)."""
    expected = 2 * (1 - math.exp(-(shift**2) / (2 * h**2 + 4))) / math.sqrt(1 + 2 / h**2)
    kernel = GaussianKernel(h, scales=(1.0,))
    draws = torch.randn(100, 2, 200, 1, generator=rng)
    result = torch.tensor([mean_discrepancy(x, y + shift, kernel) for x, y in draws])
    assert abs(result.mean() - expected) < 5 * result.std() / 10


@pytest.mark.parametrize("name", KERNELS)
def test_unbiased_is_zero_on_average(name, rng):
    kernel, _ = KERNELS[name]
    draws = torch.randn(400, 2, 20, 3, generator=rng).exp()  # skewed
    result = torch.tensor([mean_discrepancy(x, y, kernel) for x, y in draws])
    assert abs(result.mean()) < 5 * result.std() / 20
    assert (result < 0).float().mean() > 0.3
    if name != "own":  # the biased value is above 0, here and in every sample
        biased = [mean_discrepancy(x, y, kernel, unbiased=False) for x, y in draws[:50]]
        assert min(biased) > 0


def test_fixed_weights_leave_it_unbiased(rng):
    w = torch.rand(20, generator=rng) ** 2
    draws = torch.randn(400, 2, 20, 3, generator=rng).exp()
    result = torch.tensor([mean_discrepancy(x, y, KERNELS["gaussian"][0], w) for x, y in draws])
    assert abs(result.mean()) < 5 * result.std() / 20


def test_importance_weights_bring_samples_to_the_reference(rng):
    """Samples of N(1, 1) with the weights of N(0, 1)."""
    x, y = torch.randn(2000, 1, generator=rng) + 1, torch.randn(2000, 1, generator=rng)
    w = torch.softmax(-x[:, 0], 0)
    kernel = GaussianKernel(1.0)
    assert mean_discrepancy(x, y, kernel, w) < 0.02 * mean_discrepancy(x, y, kernel)


def test_integer_weights_are_copies(rng):
    x, y = torch.randn(30, 4, generator=rng), torch.randn(40, 4, generator=rng)
    copies = torch.randint(0, 4, (30,), generator=rng)
    weighted = mean_discrepancy(x, y, GaussianKernel(2.0), copies, unbiased=False)
    copied = mean_discrepancy(
        x.repeat_interleave(copies, 0), y, GaussianKernel(2.0), unbiased=False
    )
    assert weighted == pytest.approx(copied, rel=1e-12)


def test_a_sample_without_weight_is_not_there(rng):
    """Nor in the bandwidth."""
    x, y = torch.randn(30, 4, generator=rng), torch.randn(40, 4, generator=rng)
    far = torch.cat([x, 1e6 * torch.ones(50, 4)])
    share = torch.cat([torch.ones(30), torch.zeros(50)])
    assert mean_discrepancy(far, y, share=share) == pytest.approx(mean_discrepancy(x, y))


def test_equal_weights_change_nothing(rng):
    x, y = torch.randn(30, 4, generator=rng), torch.randn(40, 4, generator=rng)
    for value in (1e-200, 7.0, 1e308):
        weighted = mean_discrepancy(x, y, share=torch.full((30,), value))
        assert weighted == pytest.approx(mean_discrepancy(x, y), rel=1e-12)


def test_events_are_rows_and_single_precision_is_raised(rng):
    x, y = torch.randn(30, 1, 2, 2, generator=rng), torch.randn(40, 1, 2, 2, generator=rng)
    x, y = x.float() + 1e4, y.float() + 1e4
    double = mean_discrepancy(x.double().flatten(1), y.double().flatten(1))
    assert mean_discrepancy(x, y) == pytest.approx(double, rel=1e-12)


def test_far_from_the_origin_differences_are_kept(rng):
    x, y = torch.randn(50, 3, generator=rng), torch.randn(60, 3, generator=rng)
    expected = mean_discrepancy(x, y)
    assert mean_discrepancy(x + 1e6, y + 1e6) == pytest.approx(expected, rel=1e-7)
    near = squared_distances(x + 1e6, y + 1e6)
    torch.testing.assert_close(near, torch.cdist(x, y).square(), rtol=0, atol=1e-8)


# Bandwidths


def test_median_distance_is_the_median(rng):
    x = torch.randn(40, 3, generator=rng)
    expected = sorted(math.dist(a, b) for i, a in enumerate(x.tolist()) for b in x[:i].tolist())
    assert median_distance(x) == pytest.approx(expected[(len(expected) - 1) // 2])


def test_median_distance_of_many_rows_is_near_that_of_all(rng):
    x = torch.randn(5000, 3, generator=rng).sort(0).values
    every = torch.pdist(x[torch.randperm(5000, generator=rng)[:3000]]).median()
    assert median_distance(x) == pytest.approx(float(every), rel=0.1)
    assert median_distance(x) == median_distance(x)


def test_constant_samples_have_a_bandwidth():
    x = torch.full((10, 2), 0.1)
    x[0] += 3.0
    assert median_distance(x) == pytest.approx(math.sqrt(18))  # more than half of the pairs: 0
    assert median_distance(torch.full((10, 784), 0.1)) == 1.0


@pytest.mark.parametrize("kernel", [None, LaplacianKernel(), InverseMultiquadric()])
def test_constant_samples(kernel):
    ones = torch.full((20, 5), 0.1)
    assert mean_discrepancy(ones, ones, kernel) == pytest.approx(0, abs=1e-7)
    apart = mean_discrepancy(ones, ones + 1, kernel)  # their distance is the bandwidth
    k = {
        None: sum(math.exp(-1 / (2 * s**2)) for s in (0.25, 0.5, 1, 2, 4)) / 5,
        LaplacianKernel(): math.exp(-1),
        InverseMultiquadric(): math.sqrt(0.5),
    }
    assert apart == pytest.approx(2 - 2 * k[kernel], rel=1e-6)


def test_the_bandwidth_of_the_data_is_the_pooled_median(rng):
    x, y = torch.randn(30, 4, generator=rng) + 1, torch.randn(40, 4, generator=rng)
    h = median_distance(torch.cat([x, y]))
    for kind in (GaussianKernel, LaplacianKernel, InverseMultiquadric):
        assert mean_discrepancy(x, y, kind()) == pytest.approx(mean_discrepancy(x, y, kind(h)))


# Kernel distance


class Identity(nn.Module):
    num_features = 6

    def forward(self, x):
        return x


def torchmetrics_kid(x, y, size):
    with pytest.warns(UserWarning, match="will save all extracted features"):
        metric = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=size)
    metric.set_dtype(torch.float64)
    metric.update(y, real=True)
    metric.update(x, real=False)
    return float(metric.compute()[0])


def test_against_torchmetrics(rng):
    x, y = torch.randn(200, 6, generator=rng) + 0.3, torch.randn(200, 6, generator=rng)
    expected = torchmetrics_kid(x, y, 200)
    result = kernel_distance(x, y, rng, subsets=1, size=200)
    assert result.value == pytest.approx(expected, rel=1e-5)  # it may compute in float32
    assert mean_discrepancy(x, y, PolynomialKernel()) == pytest.approx(result.value, rel=1e-10)
    assert math.isnan(result.standard_error)
    assert math.isnan(result.deviation)


def test_subsets_are_unbiased_of_the_whole(rng):
    x, y = torch.randn(300, 6, generator=rng) + 0.3, torch.randn(200, 6, generator=rng)
    result = kernel_distance(x, y, rng, subsets=400, size=20)
    whole = mean_discrepancy(x, y, PolynomialKernel())
    assert abs(result.value - whole) < 5 * result.deviation / math.sqrt(400)
    assert result.value != whole


def test_its_standard_error_is_that_of_new_features(rng):
    """Over 150 sets of features, values spread as their standard errors say."""
    kernel = PolynomialKernel()
    result = []
    for _ in range(150):
        x, y = torch.randn(200, 3, generator=rng) + 1, torch.randn(200, 3, generator=rng)
        result.append(kernel_distance(x, y, rng, subsets=20, size=40, kernel=kernel))
    values = torch.tensor([each.value for each in result])
    # E k(x, x') + E k(y, y') - 2 E k(x, y) by quadrature of z = x . y / 3, one normal each
    truth = _polynomial_truth()
    scores = (values - truth) / torch.tensor([each.standard_error for each in result])
    assert 0.8 < scores.std() < 1.3
    assert abs(values.mean() - truth) < 5 * values.std() / math.sqrt(150)


def test_its_standard_error_is_that_of_the_smaller_side(rng):
    """Subsets of half of it: they know no more than two of them."""
    x, y = torch.randn(20, 3, generator=rng), torch.randn(90, 3, generator=rng)
    for pair in ((x, y), (y, x)):
        result = kernel_distance(*pair, rng, subsets=50, size=10)
        factor = math.sqrt(1 / 50 + 0.5 / 0.5)
        assert result.standard_error == pytest.approx(factor * result.deviation)


def _polynomial_truth():
    """Of N(1, I) and N(0, I) in 3 dimensions: the moments of x . y by its independent terms."""

    def cube(first, second):
        # one term a b has moments m1 = E a E b, m2 = E a² E b², m3 = E a³ E b³
        moments = {0.0: (0.0, 1.0, 0.0), 1.0: (1.0, 2.0, 4.0)}
        m1, m2, m3 = (a * b for a, b in zip(moments[first], moments[second], strict=True))
        one = 3 * m1
        two = 3 * m2 + 6 * m1**2
        three = 3 * m3 + 18 * m1 * m2 + 6 * m1**3
        return three / 27 + 3 * two / 9 + 3 * one / 3 + 1

    return cube(1.0, 1.0) + cube(0.0, 0.0) - 2 * cube(1.0, 0.0)


def test_the_same_generator_gives_the_same_subsets(rng):
    x, y = torch.randn(50, 6, generator=rng), torch.randn(60, 6, generator=rng)
    first, second = (
        kernel_distance(x, y, torch.Generator().manual_seed(3), subsets=5, size=20)
        for _ in range(2)
    )
    assert first == second


# p-values


def test_the_given_split_is_the_discrepancy(rng):
    """Of 2 and 2 rows there are three splits, and p is the share of those as far apart."""
    x, y = torch.tensor([[0.0], [0.1]]), torch.tensor([[5.0], [5.2]])
    p = permutation_p_value(x, y, rng, LaplacianKernel(1.0), permutations=6000)
    assert p == pytest.approx(1 / 3, abs=5 * math.sqrt(2 / 9 / 6000))


@pytest.mark.parametrize("kernel", [GaussianKernel(1.0), PolynomialKernel()])
def test_splits_against_discrepancies(kernel, rng):
    """Splits of 6 and 4 rows, each by `mean_discrepancy`: p is the share of at least as much."""
    x, y = torch.randn(6, 2, generator=rng) + 0.7, torch.randn(4, 2, generator=rng)
    pooled = torch.cat([x, y])
    p = permutation_p_value(x, y, torch.Generator().manual_seed(5), kernel, permutations=50)
    order = torch.rand((51, 10), generator=torch.Generator().manual_seed(5)).argsort(1)
    given = mean_discrepancy(x, y, kernel)
    values = [mean_discrepancy(pooled[i[:6]], pooled[i[6:]], kernel) for i in order[1:]]
    assert p == pytest.approx((1 + sum(v >= given - 1e-12 for v in values)) / 51)
    assert 0.02 < p < 0.98


def test_p_values_are_uniform(rng):
    draws = torch.randn(300, 50, 2, generator=rng).exp()
    p = [permutation_p_value(x[:20], x[20:], rng, permutations=99) for x in draws]
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-4
    low = sum(value <= 0.05 for value in p)
    assert scipy.stats.binomtest(low, 300, 0.05).pvalue > 1e-4


def test_p_value_of_other_laws_and_of_constants(rng):
    x, y = torch.randn(60, 2, generator=rng), torch.randn(80, 2, generator=rng)
    assert permutation_p_value(x, 2 * y, rng, permutations=199) == 1 / 200
    assert permutation_p_value(torch.ones(5, 3), torch.ones(7, 3), rng, permutations=50) == 1.0


# Refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, rng: mean_discrepancy(x[:1], x), "samples must have 2 rows or more, got 1"),
        (lambda x, rng: mean_discrepancy(x, x[:1]), "reference must have 2 rows or more, got 1"),
        (lambda x, rng: mean_discrepancy(x, x[:, :2]), r"got \(9, 3\) and \(9, 2\)"),
        (lambda x, rng: mean_discrepancy(x[:, 0], x[:, 0]), r"got \(9,\) and \(9,\)"),
        (lambda x, rng: mean_discrepancy(x / x, x), "1 of 9 rows with nan or inf"),
        (lambda x, rng: mean_discrepancy(x, x / x), "reference must be finite, got 1 of 9"),
        (
            lambda x, rng: mean_discrepancy(x, x, share=torch.eye(9)[0]),
            "effective sample size of 2 or more, got 1:",
        ),
        (lambda x, rng: mean_discrepancy(x, x, share=torch.ones(8)), r"\(9,\), got \(8,\)"),
        (lambda x, rng: mean_discrepancy(x, x, share=-torch.ones(9)), "from -1 to -1"),
        (lambda x, rng: mean_discrepancy(x, x, share=torch.zeros(9)), "a sum above 0"),
        (lambda x, rng: mean_discrepancy(x, x, share=torch.ones(9) / 0), "from inf to inf"),
        (lambda x, rng: kernel_distance(x, x, rng, size=10), "the 9 rows.*got 10; write size=4"),
        (lambda x, rng: kernel_distance(x, x, rng, size=1), "size must be 2 or more"),
        (lambda x, rng: kernel_distance(x, x, rng, subsets=0), "subsets 1 or more"),
        (lambda x, rng: permutation_p_value(x, x, rng, permutations=0), "1 or more, got 0"),
        (
            lambda x, rng: permutation_p_value(x.repeat(300, 1), x.repeat(300, 1), rng),
            r"5000 rows or fewer together, got 5400; write samples\[:2500\]",
        ),
        (lambda x, rng: GaussianKernel(0.0), "bandwidth must be finite and above 0"),
        (lambda x, rng: LaplacianKernel(math.nan), "bandwidth must be finite"),
        (lambda x, rng: InverseMultiquadric(-1.0), "got -1.0"),
        (lambda x, rng: GaussianKernel(scales=()), "scales must be"),
        (lambda x, rng: GaussianKernel()(x, x), "write bandwidth=median_distance"),
        (lambda x, rng: PolynomialKernel(0), "degree must be 1 or more"),
    ],
)
def test_bad_input_is_refused(call, message, rng):
    x = torch.arange(27.0).reshape(9, 3)
    with pytest.raises(ValueError, match=message):
        call(x, rng)


def test_one_sample_has_a_biased_discrepancy():
    x, y = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    assert mean_discrepancy(x, y, DistanceKernel(), unbiased=False) == pytest.approx(10)


def test_sample_weights_have_sum_one():
    w = sample_weights(torch.tensor([1, 2, 5]), torch.zeros(3, 2))
    torch.testing.assert_close(w, torch.tensor([0.125, 0.25, 0.625]))
    torch.testing.assert_close(sample_weights(None, torch.zeros(4, 2)), torch.full((4,), 0.25))
    for wrong in ([1.0, 1.0, -0.5], [1.0, 1.0, torch.nan], [1.0, 1.0, torch.inf], [0.0, 0.0, 0.0]):
        with pytest.raises(ValueError, match="finite and not negative with a sum above 0"):
            sample_weights(torch.tensor(wrong), torch.zeros(3, 2))
