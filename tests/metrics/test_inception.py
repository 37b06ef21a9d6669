"""The Inception network of the FID: its numbers are those of an independent implementation."""

import pytest
import safetensors.torch
import torch

from boltzwalk.metrics.inception import Inception, load_inception

COLOUR = torch.tensor([0.0, 0.0, 0.0, 0.2300049, 0.0, 0.0496031, 0.4697474, 0.1245659])
COLOUR_SUMS = torch.tensor([90.36317, 218.2509, 181.9455, 71.24884])
SHARES = torch.tensor(
    [0.001387566, 0.0008366289, 0.0009059967, 0.001042, 0.0004254859, 0.001856813, 0.001220617]
)
GREY = torch.tensor([0.0, 0.0, 0.0, 0.2357483, 0.0, 0.0618711, 0.4421956, 0.1226329])
GREY_SUMS = torch.tensor([87.27173, 211.4576, 176.5468, 69.13508])


@pytest.fixture(autouse=True)
def float32(float64):
    torch.set_default_dtype(torch.float32)


def random_state(network):
    """Weights for which no layer dies or explodes; the statistics of every layer are its own."""
    rng = torch.Generator().manual_seed(7)
    state = {}
    for name, value in network.state_dict().items():
        noise = torch.randn(value.shape, generator=rng)
        if value.ndim > 1:
            state[name] = noise * (2 / value[0].numel()) ** 0.5
        elif name.endswith("num_batches_tracked"):
            state[name] = value
        elif name.endswith("running_var"):
            state[name] = noise.abs() + 0.5
        elif name.endswith("bn.weight"):
            state[name] = 1 + 0.1 * noise
        else:
            state[name] = 0.1 * noise
    return state


@pytest.fixture(scope="module")
def state():
    torch.set_default_dtype(torch.float32)
    return random_state(Inception())


@pytest.fixture(scope="module")
def network(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(state, path)
    return load_inception(path)


def images(*shape):
    """Images of 256 levels, the same in every version: no generator is asked."""
    n = torch.arange(torch.Size(shape).numel()).reshape(shape)
    return (n * 7919 % 10_007 % 256) / 255


@pytest.fixture(scope="module")
def features(network):
    return network.features(images(1, 3, 32, 20)), network.features(images(1, 1, 28, 28))


def test_features_are_those_of_an_independent_implementation(features):
    """The numbers are of torch-fidelity 0.4.0 with the same weights and images."""
    colour, grey = features
    assert colour.shape == grey.shape == (1, 2048)
    torch.testing.assert_close(colour[0, :: 2048 // 8], COLOUR, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grey[0, :: 2048 // 8], GREY, rtol=1e-4, atol=1e-5)
    # Sums of all, so that every branch of the last block counts.
    for result, expected in ((colour, COLOUR_SUMS), (grey, GREY_SUMS)):
        parts = torch.stack([part.sum() for part in result[0].split([320, 768, 768, 192])])
        torch.testing.assert_close(parts, expected, rtol=1e-4, atol=0)


def test_probabilities_leave_out_the_bias(network, features):
    """The numbers are the softmax of torch-fidelity's unbiased logits."""
    result = network.probabilities(images(1, 3, 32, 20))
    torch.testing.assert_close(result.sum(1), torch.ones(1))
    torch.testing.assert_close(result[0, ::144], SHARES, rtol=1e-4, atol=1e-8)
    biased = torch.softmax(network.fc(features[0]), 1)
    assert (biased / result - 1).abs().max() > 0.1


def test_half_a_level_is_rounded_and_a_batch_is_its_images(network, features):
    x = images(1, 3, 32, 20)
    both = network.features(torch.cat([x + 0.4 / 255 * (x < 0.5), x.flip(3)]))
    torch.testing.assert_close(both[:1], features[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both[1], both[0], rtol=1e-2)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_both_kinds_of_files_are_read(state, tmp_path, name):
    """Also one without counters of batches, which are not used; the random state is left alone."""
    remaining = {k: v for k, v in state.items() if "num_batches" not in k}
    save = safetensors.torch.save_file if name.endswith("s") else torch.save
    save(remaining, tmp_path / name)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    loaded = load_inception(tmp_path / name)
    assert torch.equal(torch.get_rng_state(), before)
    assert not loaded.training
    result = loaded.state_dict()
    assert all(torch.equal(result[k], v) for k, v in remaining.items())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.pth; fetch pt_inception-2015"):
        load_inception(tmp_path / "gone.pth")


def test_files_of_another_network_are_refused(state, tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(1000, 2048), "AuxLogits.fc.bias": torch.zeros(3)}, path)
    said = r"missing \(Conv2d_1a_3x3.conv.weight.*another shape \(fc.weight.*unknown \(AuxLogits"
    with pytest.raises(ValueError, match=said):
        load_inception(path)


class Harm:
    def __reduce__(self):
        return (print, ("code was executed",))


@pytest.mark.parametrize("content", [Harm(), [1, 2], {"a": 3}])
def test_other_files_are_refused_and_not_executed(tmp_path, capsys, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth must"):
        load_inception(tmp_path / "x.pth")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_damaged_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a complete \.pth or \.safetensors"):
        load_inception(tmp_path / name)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(2, 2, 8, 8), "1 or 3"),
        (torch.zeros(3, 8, 8), "1 or 3"),
        (torch.zeros(0, 3, 8, 8), "1 or 3"),
        (torch.full((1, 1, 8, 8), -1.0), r"write \(\(x \+ 1\) / 2\)"),
        (torch.full((1, 1, 8, 8), torch.nan), r"in \[0, 1\]"),
    ],
)
def test_images_that_do_not_fit_are_refused(network, x, said):
    with pytest.raises(ValueError, match=said):
        network.features(x)
