"""What is given: identities of the conditional losses, and the conditions that do not fit."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from boltzwalk.bases import Generator, Vae, default_gamma, vae_loss
from boltzwalk.bases.conditional import ConditionalBase, build_conditional
from boltzwalk.completion.conditional import conditional
from boltzwalk.data import Dataset, Digits, Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.conditional import ConditionalEnergy
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.energy import energy_and_grad
from boltzwalk.kernels import HMC, MALA, ULA, AdamDescent, Descent, KineticLangevin, run_chain
from boltzwalk.method import Batch, with_defaults
from boltzwalk.methods.condition import (
    ClassConditional,
    NoCondition,
    ObservedPixels,
)
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.cooperative import Cooperative
from boltzwalk.methods.proposal_training import chunk_sizes, refine
from boltzwalk.methods.variational import Variational
from boltzwalk.networks import (
    Convolutional,
    ConvolutionalEncoder,
    DenseEncoder,
    DenseGenerator,
    Multilayer,
)
from boltzwalk.networks.convolutional import Convolution
from boltzwalk.networks.network import Decoder, Encoder
from boltzwalk.settings.settings import Settings
from boltzwalk.smc.witness import Witness
from boltzwalk.walkers import walkers_at
from statistics_helpers import assert_mean

SMALL = Vae(DenseEncoder((8,)), DenseGenerator((8,)), 2)
SUMMARY = ConvolutionalEncoder((Convolution(4),))
LOWER = ObservedPixels("lower", SUMMARY, features=3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(n, *shape, seed=9):
    return torch.randn(n, *shape, generator=seeded(seed))


class Wells(nn.Module):
    """U(x | c) = sum of a_c x^2 / 2 - b_c x, of four classes."""

    def __init__(self, dim=3):
        super().__init__()
        self.a = nn.Parameter(0.5 + drawn(4, dim, seed=1).square())
        self.b = nn.Parameter(drawn(4, dim, seed=2))

    def forward(self, x, c):
        return ((c @ self.a) * x.square() / 2 - (c @ self.b) * x).sum(1)

    def conditioned_on(self, c):
        return lambda x: self(x, c)


def labelled(n=10, dim=3):
    return Batch(drawn(n, dim), torch.arange(n) % 4)


def test_both_gradients_by_hand_given_the_class():
    """Autograd of each loss alone, on a revision made here from the same numbers."""
    settings = Variational(
        SMALL, ULA(0.1), 3, walkers=16, data_noise=0.3, gamma=0.7, condition=ClassConditional()
    )
    data, energy, own = labelled(), Wells(), seeded()
    method = settings.build((3,), 0, data)
    loss, state, info = method.step(energy, data, None, seeded())
    assert state is None
    loss.backward()

    c = torch.eye(4)[data.labels]
    theirs = torch.cat([c, c[:6]])  # sixteen walkers are told of ten rows
    a, b = theirs @ energy.a.detach(), theirs @ energy.b.detach()
    base = settings.build((3,), 0, data).base
    z = torch.randn(16, 2, generator=own)
    x = base.decoder(torch.cat([z, theirs], 1)).detach()
    for _ in range(3):
        x = x - 0.1 * (a * x - b) + math.sqrt(0.2) * torch.randn(16, 3, generator=own)
    noisy = data.x + 0.3 * torch.randn(10, 3, generator=own)
    gap = energy(noisy, c).mean() - energy(x, theirs).mean()
    of_energy = torch.autograd.grad(gap, list(energy.parameters()))
    for parameter, expected in zip(energy.parameters(), of_energy, strict=True):
        torch.testing.assert_close(parameter.grad, expected)

    mean, log_std = method.base.encoder(torch.cat([x, theirs], 1))
    z = mean + log_std.exp() * torch.randn(16, 2, generator=own)
    dense, norm, act, last = method.base.decoder.trunk
    hidden = nn.functional.linear(torch.cat([z, theirs], 1), dense.weight, dense.bias)
    hidden = nn.functional.batch_norm(hidden, None, None, norm.weight, norm.bias, training=True)
    made = nn.functional.linear(act(hidden), last.weight, last.bias)
    prior = Normal(torch.zeros(2), torch.ones(2))
    divergences = kl_divergence(Normal(mean, log_std.exp()), prior).sum(1)
    teaching = ((x - made).square().sum(1) + 0.7 * divergences).mean()
    parameters = list(method.base.parameters())
    for parameter, expected in zip(
        parameters, torch.autograd.grad(teaching, parameters), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected)
    torch.testing.assert_close(loss.detach(), (gap + teaching).detach())
    torch.testing.assert_close(info["energy_gap"], gap.detach())
    torch.testing.assert_close(info["kl"], divergences.detach().mean())


@pytest.mark.slow
def test_the_loss_of_a_linear_gaussian_autoencoder_given_the_class():
    r"""In closed form: |W mu + V c + b - x|^2 + sum_k s_k^2 |W_k|^2 + gamma KL, mean over rows."""
    dim, latent, gamma = 3, 2, 0.7
    decoder = Decoder((dim,), latent + 4, nn.Linear(latent + 4, dim), bounded=False)
    encoder = Encoder((dim + 4,), latent, nn.Identity(), dim + 4)
    x, c = labelled()
    c = torch.eye(4)[c]
    base = ConditionalBase(decoder, latent, encoder).conditioned_on(c)
    mean, log_std = (part.detach() for part in encoder(torch.cat([x, c], 1)))
    weight = decoder.trunk.weight.detach()
    w, v = weight[:, :latent], weight[:, latent:]
    errors = (mean @ w.T + c @ v.T + decoder.trunk.bias.detach() - x).square().sum(1)
    errors = errors + (2 * log_std).exp() @ w.square().sum(0)
    prior = Normal(torch.zeros(latent), torch.ones(latent))
    divergences = kl_divergence(Normal(mean, log_std.exp()), prior).sum(1)
    expected = (errors + gamma * divergences).mean().item()

    rng = seeded()
    with torch.no_grad():
        found = torch.stack([vae_loss(base, x, gamma, rng)[0] for _ in range(4000)])
    assert_mean(found, expected, "loss")
    assert abs(found.mean() - errors.mean()) > 0.1  # the divergence is in it


def test_a_condition_that_is_ignored_changes_nothing():
    """With zero weights on c an update is that of the unconditional method, and its log too."""
    x, labels = labelled()
    plain = Variational(SMALL, ULA(0.1), 3, walkers=16, data_noise=0.3)
    network = NetworkEnergy(Multilayer((8,)))
    alone, energy = plain.build((3,), 0, Batch(x)), network.build((3,), 0)
    given = replace(plain, condition=ClassConditional()).build((3,), 0, Batch(x, labels))
    energy_given = ClassConditional(4).build_energy(network, (3,), 0, x)

    pairs = [
        (energy_given.network, energy),
        (given.base.encoder, alone.base.encoder),
        (given.base.decoder, alone.base.decoder),
    ]
    for wide, narrow in pairs:
        values = {}
        for key, tensor in narrow.state_dict().items():
            target = wide.state_dict()[key]
            values[key] = tensor
            if target.shape != tensor.shape:
                values[key] = torch.zeros_like(target)
                values[key][:, : tensor.shape[1]] = tensor
        wide.load_state_dict(values)
    loss, _, info = alone.step(energy, Batch(x), None, seeded())
    loss_given, _, info_given = given.step(energy_given, Batch(x, labels), None, seeded())
    assert info.keys() == info_given.keys()
    for key, value in info.items():
        torch.testing.assert_close(info_given[key], value, msg=key)
    torch.testing.assert_close(loss_given, loss)
    loss.backward()
    loss_given.backward()
    for wide, narrow in pairs:
        for ours, theirs in zip(wide.parameters(), narrow.parameters(), strict=True):
            part = ours.grad[:, : theirs.shape[1]] if ours.ndim == 2 else ours.grad
            torch.testing.assert_close(part, theirs.grad)
    # And it is ignored by what is drawn.
    found = given.sample(
        energy_given, Batch(x, labels), None, 5, seeded(), c=torch.eye(4)[[0, 1, 2, 3, 3]]
    )
    torch.testing.assert_close(found.x, alone.sample(energy, Batch(x), None, 5, seeded()).x)


def pictures(n=6):
    return drawn(n, 2, 4, 4).tanh()


def masked_energy():
    energy = LOWER.build_energy(NetworkEnergy(Multilayer((8,))), (2, 4, 4), 0, pictures())
    for parameter in energy.parameters():
        parameter.data *= 3
    return energy


def test_given_a_picture_only_hidden_entries_count():
    x, energy = pictures(), masked_energy()
    c = LOWER.of(Batch(x), seeded())
    assert torch.equal(c[:, :2, :2], x[:, :, :2])
    assert not c[:, :2, 2:].any()
    assert torch.equal(c[:, 2], torch.tensor([0.0, 0, 1, 1])[:, None].expand(6, 4, 4))
    u, grad = energy_and_grad(energy.conditioned_on(c), x)
    assert not grad[:, :, :2].any()
    assert grad[:, :, 2:].abs().min() > 0
    other = x.clone()
    other[:, :, :2] = 5.0
    assert torch.equal(energy.conditioned_on(c)(other), energy.conditioned_on(c)(x))
    plain = energy.network(torch.cat([x, c], 1).flatten(1))
    torch.testing.assert_close(energy.conditioned_on(c)(x), plain)
    torch.testing.assert_close(u, plain.detach())


@pytest.mark.parametrize(
    "kernel",
    [
        ULA(1e-3),
        MALA(0.01),
        HMC(0.1, 3),
        KineticLangevin(0.1, friction=1.0),
        Descent(0.05),
        AdamDescent(0.05),
    ],
    ids=lambda kernel: type(kernel).__name__,
)
def test_what_is_visible_stays_and_what_is_hidden_moves(kernel):
    x, energy = pictures(), masked_energy()
    method = Variational(SMALL, kernel, 4, condition=LOWER).build((2, 4, 4), 0, Batch(x))
    c = LOWER.of(Batch(x), seeded())
    found = refine(method.base, kernel, energy, 6, 4, seeded(), c)
    for y in (found.proposed, found.walkers.x):
        assert torch.equal(y[:, :, :2], x[:, :, :2])
    moved = (found.walkers.x - found.proposed)[:, :, 2:]
    assert moved.abs().max() > 0
    way = moved.square().sum((1, 2, 3)).sqrt().mean()
    torch.testing.assert_close(found.chain.displacement, way)
    # Revised here with the conditional energy of hidden entries alone.
    if isinstance(kernel, Descent | AdamDescent):
        hidden = (c[:, -1:] > 0).expand_as(x)
        part = conditional(energy.conditioned_on(c), x, hidden)
        walkers = walkers_at(part, part.free.coordinates(found.proposed))
        walkers = run_chain(kernel, part, walkers, 4, seeded())[0]
        torch.testing.assert_close(part.free.event(walkers.x), found.walkers.x)
        torch.testing.assert_close(walkers.energy, found.walkers.energy)


def test_both_gradients_by_hand_given_a_picture():
    settings = Variational(
        SMALL, Descent(0.2), 2, walkers=9, data_noise=0.1, gamma=0.3, condition=LOWER
    )
    x, energy, own = pictures(), masked_energy(), seeded()
    method = settings.build((2, 4, 4), 0, Batch(x))
    loss, _, _ = method.step(energy, Batch(x), None, seeded())
    loss.backward()
    base = settings.build((2, 4, 4), 0, Batch(x)).base

    mask = torch.tensor([0.0, 0, 1, 1])[:, None].expand(1, 4, 4)
    c = torch.cat([x * (1 - mask), mask.expand(6, 1, 4, 4)], 1)
    theirs = torch.cat([c, c[:3]])
    visible, hidden = theirs[:, :2], mask

    def potential(h, c):
        whole = c[:, :2] + mask * h
        return energy.network(torch.cat([whole, c], 1).flatten(1))

    def made(z, network):
        return visible + hidden * network.decoder(torch.cat([z, network.summary(theirs)], 1))

    h = made(torch.randn(9, 2, generator=own), base).detach()
    for _ in range(2):
        h = h.detach().requires_grad_()
        h = (h - 0.2 * torch.autograd.grad(potential(h, theirs).sum(), h)[0]).detach()
    h = visible + hidden * h
    noisy = x + 0.1 * torch.randn(x.shape, generator=own)
    gap = potential(noisy, c).mean() - potential(h, theirs).mean()
    of_energy = torch.autograd.grad(gap, list(energy.parameters()))
    for parameter, expected in zip(energy.parameters(), of_energy, strict=True):
        torch.testing.assert_close(parameter.grad, expected)

    mean, log_std = method.base.encoder(torch.cat([h, theirs], 1).flatten(1))
    z = mean + log_std.exp() * torch.randn(9, 2, generator=own)
    dense, norm, act, last = (method.base.decoder.trunk[i] for i in range(4))
    rows = torch.cat([z, method.base.summary(theirs)], 1)
    rows = nn.functional.linear(rows, dense.weight, dense.bias)
    rows = nn.functional.batch_norm(rows, None, None, norm.weight, norm.bias, training=True)
    decoded = nn.functional.linear(act(rows), last.weight, last.bias).tanh().reshape(h.shape)
    errors = (hidden * (decoded - h)).square().flatten(1).sum(1)
    prior = Normal(torch.zeros(2), torch.ones(2))
    divergences = kl_divergence(Normal(mean, log_std.exp()), prior).sum(1)
    parameters = list(method.base.parameters())
    of_vae = torch.autograd.grad((errors + 0.3 * divergences).mean(), parameters)
    for parameter, expected in zip(parameters, of_vae, strict=True):
        torch.testing.assert_close(parameter.grad, expected)
    assert method.base.summary[0][0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("condition", [ClassConditional(), LOWER], ids=["classes", "visible"])
def test_a_generator_learns_with_a_condition_as_well(condition):
    x = pictures()
    data = Batch(x, torch.arange(6) % 3 if isinstance(condition, ClassConditional) else None)
    settings = Cooperative(
        Generator(DenseGenerator((8,)), 2), ULA(0.01), 3, latent_steps=2, condition=condition
    )
    method = settings.build((2, 4, 4), 0, data)
    network = NetworkEnergy(Convolutional(width=4, layers=((1, 3, 1, 1),)))
    energy = method.condition.build_energy(network, (2, 4, 4), 0, x)
    loss, _, info = method.step(energy, data, None, seeded())
    loss.backward()
    assert info["reconstruction"] > 0
    for parameter in (*energy.parameters(), *method.parameters()):
        assert parameter.grad is not None
    assert method.sample(energy, data, None, 5, seeded()).x.shape == (5, 2, 4, 4)


def test_channels_and_columns_say_the_same():
    """A convolution over the whole image with constant channels is a dense layer with columns."""
    x, c = pictures(5), torch.eye(3)[[0, 1, 2, 2, 0]]
    weight = drawn(1, 2 * 16)
    columns = drawn(3)

    def flat(both):
        return both[:, :32] @ weight[0] + both[:, 32:] @ columns

    def image(both):
        assert both.shape[1:] == (5, 4, 4)
        return both[:, :2].flatten(1) @ weight[0] + both[:, 2:].mean((2, 3)) @ columns

    found = [ConditionalEnergy(net, flag)(x, c) for net, flag in ((flat, True), (image, False))]
    torch.testing.assert_close(found[0], found[1])


def test_the_weight_of_the_divergence_is_that_of_what_is_hidden():
    x = drawn(50, 1, 4, 4)
    found = {
        mask: ObservedPixels(mask, SUMMARY).free_entries(Batch(x)) for mask in ("lower", "boxes")
    }
    assert default_gamma(found["lower"]) == pytest.approx(default_gamma(x[:, :, 2:]))
    # A box has one or two of four rows and columns: 2.25 of 16 entries.
    share = default_gamma(found["boxes"]) / default_gamma(x)
    assert share == pytest.approx(2.25 / 16, rel=0.15)
    data = Batch(x, torch.zeros(50).long())
    assert default_gamma(ClassConditional().free_entries(data)) == default_gamma(x)
    method = Variational(
        Vae(DenseEncoder((8,)), DenseGenerator((8,), output="none"), 2), condition=LOWER
    )
    built = method.build((1, 4, 4), 0, Batch(x)).settings
    assert built.gamma == pytest.approx(default_gamma(x[:, :, 2:]))


def test_parts_keep_their_conditions():
    c = torch.arange(2500)
    found = list(chunk_sizes(2500, c))
    assert [size for size, _ in found] == [len(part) for _, part in found] == [1000, 1000, 500]
    assert torch.equal(torch.cat([part for _, part in found]), c)


def test_a_code_depends_on_what_is_visible_by_the_condition_alone():
    x, other = pictures(), pictures(6).flip(0)
    c = LOWER.of(Batch(x), seeded())
    base = LOWER.build_base(Vae(DenseEncoder((8,)), DenseGenerator((8,)), 2), (2, 4, 4), 0, x)
    mixed = torch.cat([other[:, :, :2], x[:, :, 2:]], 2)
    for ours, theirs in zip(
        base.conditioned_on(c).encode(x), base.conditioned_on(c).encode(mixed), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert not torch.equal(
        base.conditioned_on(c).encode(other)[0], base.conditioned_on(c).encode(x)[0]
    )


def test_conditions_are_drawn_in_the_proportions_of_the_data():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    data = Batch(drawn(100, 2), labels)
    condition = ClassConditional().resolved(data)
    assert condition.number == 3
    c = condition.sample(data, 20_000, seeded())
    for k, share in enumerate((0.6, 0.3, 0.1)):
        assert_mean(c[:, k], share, f"class {k}")
    assert torch.equal(condition.of(data, seeded()), torch.eye(3)[labels])


def test_a_method_without_the_setting_is_given_nothing():
    assert with_defaults(Contrastive()).condition == NoCondition()
    assert with_defaults(Variational(condition=ClassConditional())).condition == ClassConditional()


def test_networks_are_those_of_the_seed_and_no_global_generator_is_touched():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second, other = (
        build_conditional(SMALL, (3, 4, 4), SUMMARY, 5, (2, 4, 4), seed) for seed in (0, 0, 1)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    values = [torch.cat([p.flatten() for p in net.parameters()]) for net in (first, second, other)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    first.train()
    assert not any(module.training for module in first.modules())


def test_what_does_not_fit_is_refused():
    toy = Toy("eight_gaussians", n=100).load()
    without = Dataset(toy.train, toy.validation, toy.test, source="points")
    with pytest.raises(ValueError, match="the data must have classes, got points without labels"):
        ClassConditional().rows(without)
    with pytest.raises(ValueError, match=r"labels must be from 0 to 2, got 0 to 3.*number=4"):
        ClassConditional(3).of(labelled(), seeded())
    with pytest.raises(ValueError, match="number must be >= 0, got -1"):
        ClassConditional(-1)
    with pytest.raises(ValueError, match="the visible part is that of images, got rows of shape"):
        ObservedPixels().rows(toy)
    with pytest.raises(ValueError, match=r"mask must be one of lower.*got 'middle'; write cond"):
        ObservedPixels("middle")
    with pytest.raises(ValueError, match=r"mask must be one of lower.*got '1,2,3'"):
        ObservedPixels("1,2,3")
    with pytest.raises(ValueError, match="features must be >= 1, got 0"):
        ObservedPixels(features=0)
    with pytest.raises(ValueError, match="a box must lie within images of 4x4"):
        ObservedPixels("0,0,5,2").resolved(Batch(pictures()))
    with pytest.raises(ValueError, match="must hide something and leave something, got '0,0,4,4'"):
        ObservedPixels("0,0,4,4").resolved(Batch(pictures()))
    with pytest.raises(ValueError, match="a convolutional network takes images"):
        ClassConditional(4).build_energy(NetworkEnergy(Convolutional()), (3,), 0, drawn(5, 3))
    refusals = {
        MixtureEnergy(): "a model with a class must take the condition .*, got MixtureEnergy",
        NetworkEnergy(reference_fit=0.1): "cannot be fitted to the data; write reference_fit=null",
    }
    for energy, message in refusals.items():
        with pytest.raises(ValueError, match=message):
            ClassConditional(4).build_energy(energy, (3,), 0, drawn(5, 3))
    energy = ConditionalEnergy(lambda both: both.sum(1), flat=True)
    with pytest.raises(ValueError, match="one condition, got 5 events and 2 conditions"):
        energy.conditioned_on(torch.eye(2))(drawn(5, 3))
    with pytest.raises(ValueError, match=r"a witness weighs a model of p\(x\)"):
        Settings(
            Digits(),
            NetworkEnergy(),
            Variational(SMALL, ULA(0.1), condition=ClassConditional()),
            witness=Witness(walkers=16),
        )
