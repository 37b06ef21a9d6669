"""`bw.train` refuses what cannot be trained before the first update, and leaves no folder."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import boltzwalk as bw


class Linear(nn.Module):
    """The start of the energies below."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x).squeeze(-1)


class Column(Linear):
    def forward(self, x):
        return self.layer(x)


class Pair(Linear):
    def forward(self, x):
        return self.layer(x).squeeze(-1), x


class Logarithm(Linear):
    def forward(self, x):
        return -1 - super().forward(x).square().add(1).neg().log()


class Coupled(Linear):
    def forward(self, x):
        u = super().forward(x)
        return u - u.mean()


class Noisy(Linear):
    def forward(self, x):
        u = super().forward(x)
        return u + torch.rand_like(u)


class TwoDevices(Linear):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(2, 1, device="meta")


class NotFinite(Linear):
    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.layer.bias.fill_(torch.nan)


class Everything(TwoDevices):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1, dtype=torch.float64)
        self.norm, self.drop = nn.BatchNorm1d(2), nn.Dropout(0.5)


class Frozen(Linear):
    def __init__(self):
        super().__init__()
        self.requires_grad_(requires_grad=False)


def layers(*middle):
    return nn.Sequential(nn.Linear(2, 4), *middle, nn.Linear(4, 1), nn.Flatten(0))


ENERGIES = {
    "column": (Column, r"Column is no energy: .* shape \(N,\) = \(4,\), got \(4, 1\); .*squeeze"),
    "pair": (Pair, r"must have shape \(N,\) = \(4,\), got tuple"),
    "batch norm": (lambda: layers(nn.BatchNorm1d(4)), "layer '1' of type BatchNorm1d.*GroupNorm"),
    "dropout": (lambda: layers(nn.Dropout(0.2)), "deterministic.*Dropout with p=0.2; remove it"),
    "no parameters": (lambda: nn.Flatten(0), "must have parameters that learn, got none"),
    "frozen": (Frozen, "must have parameters that learn, got none"),
    "float64": (lambda: layers().double(), r"must be float32, got torch.float64; write .float\(\)"),
    "bfloat16": (lambda: layers().bfloat16(), "must be float32, got torch.bfloat16"),
    "two devices": (TwoDevices, r"on one device that holds values, got cpu, meta; write .to\("),
    "nan parameters": (NotFinite, "its parameters must be finite"),
    "nan energies": (Logarithm, "energies of training rows must be finite"),
    "wrong width": (lambda: nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), r"shape \(N, 2\), got"),
    "coupled": (
        Coupled,
        "must not depend on the other rows, got .* among .* for row .*; use GroupNorm",
    ),
    "noisy": (Noisy, "must be deterministic, got two results"),
    "class": (lambda: Linear, r"got the class Linear; write Linear\(\)"),
    "function": (lambda: torch.sum, "energy must be a torch.nn.Module.*got builtin_function"),
    "none": (lambda: None, "energy must be a torch.nn.Module.*got NoneType"),
}


@pytest.fixture
def refused(train, rows, plain_net, tmp_path):
    """Trains with a change, and returns the message after checking that nothing was left."""

    def call(match, energy=plain_net, data=rows, method=None, **options):
        with pytest.raises(ValueError, match=match) as caught:
            train(energy, data, method, **{"out": tmp_path / "run", **options})
        assert not (tmp_path / "run").exists()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return call


@pytest.mark.parametrize("case", ENERGIES)
def test_modules_that_are_no_energy(refused, case):
    make, message = ENERGIES[case]
    refused(message, energy=make())


def test_all_problems_of_an_energy_are_in_one_message(refused):
    text = refused("Everything is no energy", energy=Everything())
    for part in ("cpu, meta", "torch.float64", "BatchNorm1d", "Dropout"):
        assert part in text


def test_problems_of_all_arguments_are_in_one_message(refused, toys):
    text = refused(
        "Column is no energy", energy=Column(), method=toys.NoStep(), batch=10_000, updates=0
    )
    for part in ("NoStep is no method", "batch must be", "updates must be"):
        assert part in text


METHODS = {
    "class": (lambda toys: toys.ScoreMatching, r"got the class ScoreMatching; write ScoreMatch"),
    "own class": (lambda toys: bw.methods.Contrastive, r"the class Contrastive; write Contrastive"),
    "no step": (lambda toys: toys.NoStep(), r"NoStep is no method: it must have step\(energy, d"),
    "other step": (lambda toys: toys.OtherStep(), r"rng\) -> .*got step\(energy, data\)"),
    "other sample": (lambda toys: toys.OtherSample(), r"sample\(energy, data, state, n, .*, got s"),
    "plain": (lambda toys: toys.PlainMethod(), r"PlainMethod; write @dataclass\(frozen=True\)"),
    "text": (lambda toys: "Contrastive", "str is no method: it must have step"),
    "kernel": (
        lambda toys: bw.methods.Contrastive(kernel=toys.KernelWithoutStep()),
        r"kernel must have step\(energy, walkers, rng\).*KernelWithoutStep without it",
    ),
    "kernel arguments": (
        lambda toys: bw.methods.Contrastive(kernel=toys.KernelOfOtherArguments()),
        r"kernel must have step\(energy, walkers, rng\).*got step\(energy, walkers\)",
    ),
    "kernel values": (
        lambda toys: toys.ScoreMatching(kernel=toys.KernelWithoutValues()),
        "kernel must have the values temperature, gradients, drift, invariant, weighable, got",
    ),
    "kernel class": (
        lambda toys: bw.methods.Contrastive(kernel=bw.kernels.MALA),
        "kernel must be an instance, got the class MALA",
    ),
    "kernel of another role": (
        lambda toys: bw.methods.Contrastive(kernel=bw.kernels.NormalProposals(0.5)),
        "method.kernel=NormalProposals.*or a kernel of yours, method.kernel=FILE.py:NAME",
    ),
    "NumPy number": (
        lambda toys: toys.ScoreMatching(sigma=np.float64(0.2)),
        r"method.sigma must be a number.*got np.float64\(0.2\)",
    ),
    "base": (
        lambda toys: dataclasses.replace(bw.methods.Generalized(), base=toys.NoStep()),
        r"method.base=api_toys.py:NoStep must be a base with build\(event_shape, seed, data\)",
    ),
}


@pytest.mark.parametrize("case", METHODS)
def test_methods_that_lack_a_member(refused, toys, case):
    make, message = METHODS[case]
    refused(message, method=make(toys))


@dataclasses.dataclass(frozen=True)
class Outer:
    """A method in this file, which can be referred to."""

    def step(self, energy, data, state, rng):
        return energy(data.x).mean(), None, {}


def test_a_method_inside_of_a_function_has_no_reference(refused):
    @dataclasses.dataclass(frozen=True)
    class Inner(Outer):
        pass

    refused(
        "Inner is defined inside a function.*define it at the top level of a file", method=Inner()
    )


def test_a_module_inside_of_a_function_trains_and_needs_itself_to_load(train, rows, tmp_path):
    class Inner(Linear):
        pass

    model = train(Inner(), rows, out=tmp_path / "run")
    again = bw.load(tmp_path / "run", energy=Inner())
    assert torch.equal(again.energy(rows), model.energy(rows))
    with pytest.raises(ValueError, match=r"Inner was given in Python.*energy=\.\.\."):
        bw.load(tmp_path / "run")


def test_a_batch_is_at_most_the_data(refused):
    refused(
        r"at least 1 and at most the 80 rows of training data, got 81; write batch=64", batch=81
    )
    refused("batch must be at least 1", batch=0)


OPTIONS = {
    "optimizer": (torch.optim.Adam, "optimizer must be .* a dataclass of such, got <class"),
    "device": ("quantum", "device must exist here, got 'quantum'"),
    "precision": ("fp8", "precision must be of type .*fp8"),
    "average": (1.0, r"average must be in \[0, 1\), got 1.0"),
    "seed": (-1, "seed must be in"),
    "threads": (-1, "threads must be >= 0"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_other_arguments(refused, name):
    value, message = OPTIONS[name]
    refused(message, **{name: value})


def test_data_that_cannot_be_used(refused):
    refused("one row at least", data=torch.zeros(0, 2))
    refused("got str 'rings'; write a data source", data="rings")


def test_a_module_takes_no_condition(refused, rows):
    data = bw.Dataset.of(rows, torch.arange(100) % 2)
    method = bw.methods.Cooperative(condition=bw.methods.ClassConditional())
    refused("with a condition must be settings.*NetworkEnergy", data=data, method=method)


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_of_another_run_is_untouched(train, rows, plain_net, tmp_path):
    train(plain_net, rows, out=tmp_path / "run")
    before = files(tmp_path)
    changes = [{"seed": 1}, {"batch": 10}, {"method": bw.methods.Contrastive(steps=3)}]
    for change in changes:
        with pytest.raises(ValueError, match=r"holds a run with other settings .*out= in Python"):
            train(plain_net, rows, out=tmp_path / "run", **change)
    with pytest.raises(ValueError, match=r"other settings \(data.digest"):
        train(plain_net, rows + 1, out=tmp_path / "run")
    with pytest.raises(ValueError, match="Column is no energy"):
        train(Column(), rows, out=tmp_path / "run")
    with pytest.raises(ValueError, match=r"other settings \(energy") as caught:
        train(layers(), rows, out=tmp_path / "run")
    assert len(str(caught.value)) < 1000  # not both architectures in full
    assert files(tmp_path) == before


def test_a_folder_of_other_files_is_untouched(train, rows, plain_net, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"must be empty or hold a run, found a.txt"):
        train(plain_net, rows, out=tmp_path / "notes")
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["a.txt"]


RESULTS = {
    "loss": r"must return \(loss, state, info\) with a dictionary info, got Tensor",
    "rows": r"a tensor of shape \(\), got shape \(64,\); write .mean\(\)",
    "number": r"a tensor of shape \(\), got float",
    "constant": "without a gradient; compute it from energy",
}


@pytest.mark.parametrize("result", RESULTS)
def test_the_result_of_a_step_is_checked_before_parameters_change(
    train, rows, plain_net, toys, result
):
    before = [parameter.clone() for parameter in plain_net.parameters()]
    with pytest.raises(ValueError, match=RESULTS[result]):
        train(plain_net, rows, toys.Returns(result))
    pairs = zip(plain_net.parameters(), before, strict=True)
    assert all(torch.equal(parameter, old) for parameter, old in pairs)


def test_a_state_that_no_checkpoint_can_hold_ends_the_first_update(train, rows, plain_net, toys):
    with pytest.raises(ValueError, match=r"the state of a method must be None.*got dict; write"):
        train(plain_net, rows, toys.Returns("dictionary"), updates=10**6)


def test_a_method_without_kernel_trains_and_says_what_samples_need(
    train, rows, toys, tmp_path, plain_net
):
    model = train(plain_net, rows, toys.NoSamples(), out=tmp_path / "run")
    assert model.update == 3
    assert model.energy(rows).isfinite().all()
    with pytest.raises(ValueError, match=r"NoSamples must have a kernel and steps.*add the fields"):
        model.sample(3)


def test_errors_of_the_module_itself_keep_their_type(train, rows):
    class Broken(Linear):
        def forward(self, x):
            raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        train(Broken(), rows)
