"""The contract of a method: its defaults, the messages for what breaks it, and its checks."""

import inspect
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from boltzwalk.condition import NoCondition
from boltzwalk.kernels import MALA, ULA
from boltzwalk.method import (
    DEFAULTS,
    Batch,
    Method,
    learned_module,
    require_fields,
    with_defaults,
)
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.cooperative import Cooperative
from boltzwalk.methods.generalized import Generalized
from boltzwalk.methods.jarzynski import Jarzynski
from boltzwalk.methods.maximum_likelihood import MaximumLikelihood
from boltzwalk.methods.starts import NoiseStart, ReplayStart
from boltzwalk.methods.variational import Variational
from boltzwalk.settings.settings import Output, Settings
from boltzwalk.training.loop import train_loop
from boltzwalk.training.run import start
from statistics_helpers import assert_mean

EVERY = (Contrastive, Jarzynski, Cooperative, Variational, Generalized, MaximumLikelihood)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bowl(x):
    return x.square().sum(1) / 2


@dataclass(frozen=True)
class DenoisingScoreMatching:
    """Only a step: |s grad U(x + s e) - e|^2 / 2, whose minimum is the smoothed density."""

    sigma: float = 0.5

    def step(self, energy, data, state, rng):
        noise = torch.randn(data.x.shape, generator=rng, dtype=data.x.dtype)
        x = (data.x + self.sigma * noise).requires_grad_()
        (slope,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        loss = (self.sigma * slope - noise).square().sum(1).mean() / 2
        return loss, state, {"energy_data": energy(data.x).mean().detach()}


@dataclass(frozen=True)
class Moving(DenoisingScoreMatching):
    """The same, with a kernel and steps."""

    kernel: ULA | MALA = ULA(0.1)  # noqa: RUF009
    steps: int = 3


class Quadratic(nn.Module):
    """U = a |x - m|^2 / 2."""

    def __init__(self):
        super().__init__()
        self.log_a, self.m = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.log_a.exp() * (x - self.m).square().sum(1) / 2


# Defaults.


def test_there_is_a_default_for_every_member_but_step():
    members = {name for name in vars(Method) if not name.startswith("_")} - {"step"}
    assert members == set(DEFAULTS)


def test_defaults_take_the_arguments_of_the_contract():
    for name, default in DEFAULTS.items():
        if inspect.isfunction(default) and default.__name__ != "_nothing":
            declared = inspect.signature(getattr(Method, name)).parameters
            assert list(inspect.signature(default).parameters) == list(declared), name


def test_the_values_of_all_defaults():
    plain = DenoisingScoreMatching()
    method, data, rng = with_defaults(plain), Batch(torch.ones(5, 2)), seeded()
    assert method.build((2,), 0, data) is plain
    assert method.init(bowl, data, rng) is None
    assert method.check_batch(10**9) is None
    assert method.gradients(64) == 0
    assert method.max_samples(None) is None
    assert method.weighted_walkers(bowl, None) is None
    energy = Quadratic()
    assert method.density_energy(energy) is energy
    assert method.relative_energy(energy) is energy
    assert method.log_z(energy) is None
    energy.log_z = torch.tensor(1.5)
    assert method.log_z(energy) == 1.5
    assert isinstance(method.log_z(energy), float)
    assert method.kernel is None
    assert (method.steps, method.walkers, method.temperature) == (0, 0, 1.0)
    assert method.condition == NoCondition()
    assert method.base is None
    assert method.noise_start is None
    assert (method.from_noise, method.latent, method.relative, method.weighted) == (False,) * 4
    assert (method.inverse_temperature, method.decoder_std) == (1.0, 0.3)
    with pytest.raises(ValueError, match="DenoisingScoreMatching moves no latent variables"):
        method.trajectory(bowl, 3, [1], rng)
    assert learned_module(method) is None


def test_own_members_go_before_defaults():
    @dataclass(frozen=True)
    class Hot(Moving):
        kernel: ULA = ULA(0.1, temperature=0.25)  # noqa: RUF009
        weighted: bool = True
        walkers: int = 7
        sigma: float = 0.1

        def gradients(self, batch):
            return 3 * batch

    method = with_defaults(Hot())
    assert (method.temperature, method.weighted, method.walkers, method.sigma) == (
        0.25,
        True,
        7,
        0.1,
    )
    assert method.gradients(4) == 12
    assert method.steps == 3
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = method.nothing_of_the_kind


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_the_methods_of_the_package_keep_the_contract(kind):
    method = with_defaults(kind())
    for name, default in DEFAULTS.items():
        member = getattr(method, name)
        assert callable(member) == inspect.isfunction(default), name


def test_a_complete_method_is_returned_as_it_is():
    complete = type("Complete", (), {**DEFAULTS, "step": DenoisingScoreMatching.step})()
    assert with_defaults(complete) is complete
    method = with_defaults(DenoisingScoreMatching())
    assert with_defaults(method).steps == 0


# A method with a step alone, and one with a kernel.


def test_a_step_alone_trains():
    """The minimum is known: the variance of smoothed rows, 1 + sigma^2, and their mean."""
    data = Batch(torch.tensor([1.0, -2.0]) + torch.randn(4000, 2, generator=seeded()))
    energy, method = Quadratic(), with_defaults(DenoisingScoreMatching(0.5))
    optimizer = torch.optim.Adam(energy.parameters(), 0.05)
    for done in train_loop(energy, method, lambda rng: data, optimizer, state=None, updates=300):
        assert done.state is None
    assert energy.log_a.exp().item() == pytest.approx(1 / 1.25, rel=0.05)
    torch.testing.assert_close(energy.m.detach(), torch.tensor([1.0, -2.0]), atol=0.1, rtol=0)


def test_samples_by_default_move_from_the_noise_of_the_data():
    """By hand: the mean and deviation of each entry, then the steps, from one generator."""
    data = Batch(torch.randn(50, 2, generator=seeded(3)) * torch.tensor([0.1, 5.0]) + 3)
    for steps, asked in ((3, 0), (2, 2), (4, 4)):
        walkers = with_defaults(Moving()).sample(bowl, data, None, 6, seeded(), asked)
        rng = seeded()
        x = data.x.mean(0) + data.x.std(0) * torch.randn(6, 2, generator=rng)
        for _ in range(steps):
            x = x - 0.1 * x + 0.2**0.5 * torch.randn(6, 2, generator=rng)
        torch.testing.assert_close(walkers.x, x)
        torch.testing.assert_close(walkers.energy, bowl(x))


def test_samples_by_default_follow_the_energy():
    data = Batch(torch.randn(50, 2, generator=seeded(3)) * 3 + 3)
    method = with_defaults(Moving(kernel=MALA(0.3), steps=60))
    x = method.sample(bowl, data, None, 20_000, seeded()).x
    assert_mean(x.flatten(), 0.0, "mean")
    assert_mean(x.square().flatten(), 1.0, "variance")


@pytest.mark.parametrize(
    "method",
    [DenoisingScoreMatching(), Moving(steps=0), replace(Moving(), kernel=None)],
    ids=["neither", "no steps", "no kernel"],
)
def test_samples_need_a_kernel_and_steps(method):
    name = type(method).__name__
    match = rf"{name} must have a kernel and steps.*or a method sample\(energy, data, state, n"
    with pytest.raises(ValueError, match=match):
        with_defaults(method).sample(bowl, Batch(torch.ones(5, 2)), None, 6, seeded())


# Networks.


class Learning(nn.Module):
    """A method that has a network of its own, and nothing but a step."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 2)

    def step(self, energy, data, state, rng):
        return energy(self.net(data.x)).mean(), None, {}


@dataclass(frozen=True)
class Built:
    """Settings whose method is made by `build`."""

    result: type = Learning

    def build(self, event_shape, seed, data):
        return self.result()


def test_a_module_keeps_its_members_and_its_parameters():
    module = Learning()
    method = with_defaults(module)
    assert learned_module(method) is module
    assert method.parameter_groups() == [{"params": list(module.parameters())}]
    assert method.net is module.net
    assert method.base is None
    assert (method.gradients(3), method.temperature) == (0, 1.0)
    loss, _, _ = method.step(bowl, Batch(torch.ones(5, 2)), None, seeded())
    loss.backward()
    assert module.net.weight.grad.abs().sum() > 0


def test_settings_need_no_step_and_what_they_build_does():
    settings = with_defaults(Built())
    assert settings.condition == NoCondition()
    method = with_defaults(settings.build((2,), 0, Batch(torch.ones(1, 2))), built=True)
    assert isinstance(learned_module(method), Learning)
    with pytest.raises(ValueError, match=r"Built is no method: it must have step\(energy, data"):
        with_defaults(Built(), built=True)


def test_a_run_refuses_a_method_without_a_step_before_its_first_update():
    from boltzwalk.data import Toy
    from boltzwalk.energies import NetworkEnergy

    torch.set_default_dtype(torch.float32)
    settings = Settings(
        Toy("rings", n=50), NetworkEnergy(), Built(nn.Identity), batch=10, output=Output()
    )
    with pytest.raises(ValueError, match=r"Identity is no method: it must have step\(energy, data"):
        start(replace(settings, device="cpu", threads=1))
    run = start(replace(settings, method=Built(), device="cpu", threads=1))
    groups = run.optimizer.param_groups
    assert len(groups) == 2
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in run.method.method.parameters()}


# What breaks the contract.


SIGNATURE = r"step\(energy, data, state, rng\) -> \(loss, state, info\)"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, f"Wrong is no method: it must have {SIGNATURE}, got none; see boltzwalk.method"),
        ({"step": 3}, f"it must have {SIGNATURE}, got none"),
        ({"step": lambda self, energy, data: 0}, rf"{SIGNATURE}, got step\(energy, data\)"),
        (
            {"step": lambda self, energy, data, state, rng, more: 0},
            rf"{SIGNATURE}, got step\(energy, data, state, rng, more\)",
        ),
        (
            {"step": lambda self, *, energy, data, state, rng: 0},
            rf"{SIGNATURE}, got step\(\*, energy",
        ),
        (
            {"init": 5},
            r"init must be a function init\(energy, data, rng\), got 5",
        ),
        (
            {"sample": "noise"},
            r"sample must be a function sample\(energy, data, state, n, rng, steps, from_noise, c\)"
            r", got 'noise'",
        ),
        (
            {"weighted_walkers": 8},
            r"must be a function weighted_walkers\(energy, state\), got 8",
        ),
        ({"gradients": 64}, r"gradients must be a function gradients\(batch\), got 64"),
        ({"gradients": 64, "log_z": 0.0}, r"gradients must .* 64; log_z must be a function log_z"),
    ],
)
def test_what_breaks_the_contract_is_named_with_its_signature(members, message):
    if members and "step" not in members:
        members = {"step": DenoisingScoreMatching.step, **members}
    with pytest.raises(ValueError, match=message):
        with_defaults(type("Wrong", (), members)())


def test_more_arguments_with_defaults_are_taken():
    flexible = type("Flexible", (), {"step": lambda self, *arguments, scale=1: arguments})()
    assert with_defaults(flexible).step(1, 2, 3, 4) == (1, 2, 3, 4)


# Fields, and the size of a batch.


@dataclass(frozen=True)
class Fields:
    count: int = 1
    rate: float = 0.5


def test_fields_that_are_too_small_are_all_named():
    require_fields(Fields(), {"count": 1}, ("rate",))
    require_fields(Fields(0, 1e-300), {"count": 0}, ("rate",))
    with pytest.raises(ValueError, match=r"^count must be >= 1, got 0; rate must be > 0, got 0$"):
        require_fields(Fields(0, 0), {"count": 1}, ("rate",))
    with pytest.raises(ValueError, match="count must be >= 1, got nan; rate must be > 0, got nan"):
        require_fields(Fields(float("nan"), float("nan")), {"count": 1}, ("rate",))
    require_fields(Fields(-5, 0.1), {}, ("rate",))


def test_a_batch_that_does_not_fit_is_refused_before_the_first_update():
    from boltzwalk.data import Toy
    from boltzwalk.energies import NetworkEnergy

    @dataclass(frozen=True)
    class Even(Moving):
        def check_batch(self, batch):
            if batch % 2:
                raise ValueError(f"batch must be even, got {batch}")

    torch.set_default_dtype(torch.float32)
    settings = Settings(Toy("rings", n=50), NetworkEnergy(), Even(), device="cpu", threads=1)
    with pytest.raises(ValueError, match="batch must be even, got 7"):
        start(replace(settings, batch=7))
    assert start(replace(settings, batch=8)).method.check_batch(8) is None


def test_noise_starts_and_weights_are_those_of_the_methods():
    """The members that evaluation reads, for methods with walkers."""
    contrastive, weighted = with_defaults(Contrastive()), with_defaults(Jarzynski())
    assert (contrastive.weighted, weighted.weighted) == (False, True)
    assert with_defaults(Contrastive(NoiseStart())).from_noise
    assert not with_defaults(Contrastive(ReplayStart(10))).from_noise
    assert with_defaults(Generalized()).latent
