"""Codes: a chain as a map against the chain itself and its closed form; ways between codes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from test_completion_runs import METHODS, SMALL, command, digits, float64, ready  # noqa: F401

from boltzwalk.completion import (
    ShortRun,
    infer_noise,
    interpolate,
    make_codes,
    reconstruct,
    refine_rows,
)
from boltzwalk.data import Digits
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import HMC, MALA, ULA, Descent, run_chain
from boltzwalk.methods.condition import ClassConditional
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.methods.starts import NoiseStart, ReplayStart
from boltzwalk.networks import Multilayer
from boltzwalk.walkers import walkers_at

STIFFNESS = torch.tensor([0.5, 2.0])


def quadratic(x):
    return (STIFFNESS.to(x) * x.square()).sum(-1) / 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "kernel",
    [
        Descent(0.3),
        ULA(0.2),
        ULA(0.2, temperature=0.5, gradient_clip=0.1),
        ULA(0.4, box=(-0.5, 0.5)),
    ],
)
def test_the_map_is_the_chain_of_the_kernel(kernel):
    energy = NetworkEnergy(Multilayer((16,))).build((3,), 0).double()
    z = torch.randn(7, 3, generator=seeded(), dtype=torch.float64)
    expected = run_chain(kernel, energy, walkers_at(energy, z), 6, seeded(4))[0].x
    chain = ShortRun(energy, kernel, 6, seed=4)
    torch.testing.assert_close(chain(z).detach(), expected)
    assert torch.equal(chain(z), chain(z))
    assert not chain(z).requires_grad
    assert chain(z.requires_grad_()).requires_grad


def test_its_gradient_in_closed_form():
    """For U = a x^2 / 2 each step multiplies by 1 - epsilon a, whatever the noise."""
    z = torch.randn(5, 2, generator=seeded(), dtype=torch.float64, requires_grad=True)
    x = ShortRun(quadratic, ULA(0.3), steps=4)(z)
    (grad,) = torch.autograd.grad(x.sum(), z)
    torch.testing.assert_close(grad, ((1 - 0.3 * STIFFNESS.double()) ** 4).expand(5, 2))


def test_its_gradient_by_differences_for_a_network():
    energy = NetworkEnergy(Multilayer((16,), activation="silu")).build((3,), 0).double()
    z = torch.randn(1, 3, generator=seeded(), dtype=torch.float64, requires_grad=True)
    chain = ShortRun(energy, ULA(0.5), steps=5)
    assert torch.autograd.gradcheck(chain, (z,))


@pytest.mark.slow
def test_noise_is_found_again():
    """The loss is that of the code returned, and the code where the chain began."""
    chain = ShortRun(quadratic, ULA(0.2), steps=5)
    z = torch.randn(6, 2, generator=seeded(), dtype=torch.float64)
    x = chain(z)
    start = torch.zeros_like(z)
    found, loss = infer_noise(chain, x, start, updates=2000)
    assert not start.any()
    torch.testing.assert_close(found, z, atol=1e-3, rtol=0)
    torch.testing.assert_close(loss, (chain(found) - x).square().sum(1))
    none, unmoved = infer_noise(chain, x, torch.zeros_like(z), updates=0)
    assert torch.equal(none, torch.zeros_like(z))
    torch.testing.assert_close(unmoved, (chain(none) - x).square().sum(1))
    assert (infer_noise(chain, x, torch.zeros_like(z), updates=20, rate=5.0)[1] <= unmoved).all()


def test_chains_that_are_no_map_are_refused():
    for kernel in (MALA(0.1), HMC(0.1), Descent(0.1, momentum=0.5)):
        with pytest.raises(ValueError, match="must be ULA, or Descent without momentum"):
            ShortRun(quadratic, kernel, 3)
    steep = ShortRun(lambda x: 1e30 * x.square().square().sum(-1), Descent(1e30), steps=9)
    with pytest.raises(FloatingPointError, match="take fewer --steps"):
        infer_noise(steep, torch.zeros(1, 2), torch.ones(1, 2))


def test_a_vae_goes_on_the_arc_between_its_codes(digits):  # noqa: F811
    trained = digits["vae"]
    codes, x = make_codes(trained), trained.data.test[:4]
    made = reconstruct(codes, x, seeded())
    base = trained.method.base
    with torch.no_grad():
        z = base.encode(x)[0]
        torch.testing.assert_close(made, base.decode(z))
        way = interpolate(codes, x[:2], x[2:], 5, seeded())
        torch.testing.assert_close(way[:, 0], made[:2])
        torch.testing.assert_close(way[:, -1], made[2:])
        a, b = z[0], z[2]
        angle = math.acos(float(a @ b / a.norm() / b.norm()))
        third = (math.sin(0.75 * angle) * a + math.sin(0.25 * angle) * b) / math.sin(angle)
        torch.testing.assert_close(way[0, 1], base.decode(third[None])[0], rtol=1e-4, atol=1e-5)
    still = interpolate(codes, x[:1], x[:1], 3, seeded())
    torch.testing.assert_close(still[0], made[[0, 0, 0]])
    with pytest.raises(ValueError, match="n >= 2 rows, got 1"):
        interpolate(codes, x[:1], x[1:2], 1, seeded())
    assert codes.network
    moved = refine_rows(trained, made, 2, seeded())
    assert moved.shape == made.shape
    assert not torch.equal(moved, made)


@pytest.mark.slow
def test_a_generator_is_inverted_by_its_posterior(digits):  # noqa: F811
    trained = digits["generator"]
    codes, base = make_codes(trained), trained.method.base
    with torch.no_grad():
        x = base.decode(base.latents(8, seeded()))
    made = reconstruct(codes, x, seeded(1))
    far = (x - x.roll(1, 0)).square().mean()
    # The posterior is wide, as sigma is 0.3, but nearer than another image is.
    assert (made - x).square().mean() < far
    assert codes.name.startswith("the posterior")


def test_short_run_codes_are_noise(digits):  # noqa: F811
    trained = digits["short_run"]
    codes = make_codes(trained, steps=2, seed=3)
    assert not codes.network
    chain = ShortRun(trained.module, trained.settings.method.kernel, 2, seed=3)
    z = NoiseStart().noise(trained.data.test, 3, seeded())
    torch.testing.assert_close(codes.decode(z), chain(z))
    assert "chains of 2 steps" in codes.name
    assert "chains of 3 steps" in make_codes(trained).name
    kept = ready(Digits(), Contrastive(ReplayStart(size=50), ULA(0.1), steps=2))
    with pytest.raises(
        ValueError, match=r"must have codes: a model of p\(x\) with a generator.*has neither"
    ):
        make_codes(kept)
    told = ready(Digits(), replace(METHODS["vae"], condition=ClassConditional()))
    with pytest.raises(
        ValueError, match=r"must have codes: a model of p\(x\).*has one with a condition"
    ):
        make_codes(told)


def test_the_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("train", "vae_teaching_digits", "updates=5", "log_every=5", "threads=1", "--quiet")
    said = command("reconstruct", "runs/vae_teaching_digits")
    for words in ("the code is the encoder", "decoded  ", "revised  ", "training mean  "):
        assert words in said, said
    with np.load("runs/vae_teaching_digits/codes/reconstructed_seed0.npz") as file:
        assert set(file) == {"truth", "decoded", "revised"}
        assert file["truth"].max() == 16
        truth = file["truth"]
    place = "runs/vae_teaching_digits/codes/reconstructed_seed0_picture.png"
    with Image.open(place) as image:
        assert image.size == (4 * (16 * 9 - 1), 4 * (3 * 9 - 1))
    np.save("rows.npy", truth[:4])
    said = command(
        "interpolate", "runs/vae_teaching_digits", "rows.npy", "-n", "5", "--out", "x.npz"
    )
    assert "2 pairs of 5 rows" in said
    with np.load("x.npz") as file:
        assert file["revised"].shape == (10, 1, 8, 8)
    truth[0, 0, 0, 0] = np.nan
    np.save("holes.npy", truth)
    said = command("reconstruct", "runs/vae_teaching_digits", "holes.npy", code=2)
    assert "1 missing entries; `boltzwalk complete` fills them" in said
    np.save("one.npy", truth[1:2])
    assert "two rows or more" in command(
        "interpolate", "runs/vae_teaching_digits", "one.npy", code=2
    )
    said = command("interpolate", "runs/vae_teaching_digits", "--out", "x.csv", code=2)
    assert "out must end in .npz" in said
    command("train", "digits", *SMALL, "--name", "s", "--quiet")
    assert "the noise of chains of 3 steps" in command("reconstruct", "runs/s")
