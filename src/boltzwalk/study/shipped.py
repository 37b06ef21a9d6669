"""Studies of the literature's questions: one Python function each, with what it found.

The axes of a study that change several settings at once are assignments by name; a noise of
standard deviation 0.01 at a step of size 3 is the temperature 0.01² / (2 · 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .spec import Axis, Block, Level, Study

__all__ = ["STUDIES", "thesis_digits", "thesis_mnist", "toy_convergence", "vae_teaching_ablation"]


def thesis_digits() -> Study:
    """Which settings of short-run learning work on 8x8 digits: 258 trials, three seeds.

    The blocks `ladder`, `few`, `many`, `spectral` and `kept` are the set-ups of claims R2 to R8;
    `grid` has steps, data noise and learning rate at equal energy gradients; `around` changes one
    setting at a time: start, noise, optimizer, spectral norm, regularisation.

    Reached: 222 of 258 finished, 28 exploded, 8 stalled; of the four claims of the thesis, in five
    halves, four hold and one is undecided, of R2 to R8 all hold but R5, by `boltzwalk study
    thesis_digits --workers 2` in 42 minutes on two cores that other work shared (docs/study.md).
    """
    return Study(
        recipe="digits",
        settings=("average=0", "schedule.anneal=0", "learning_rate=1e-4", "updates=1500"),
        budget=1_000_000,
        limit=100.0,
        blocks=(
            *_published(),
            Block(
                "grid",
                (
                    _levels("method.steps", ["5", "10", "25", "50"]),
                    _levels("data_noise", ["0.03", "0.05", "0.1", "0.15"]),
                    _levels("learning_rate", ["1e-4", "3e-4", "1e-3"]),
                ),
            ),
            Block(
                "around",
                _around(),
                settings=("method.steps=25", "data_noise=0.05", "learning_rate=3e-4"),
                sampler="one",
            ),
        ),
    )


def thesis_mnist() -> Study:
    """The questions of `thesis_digits` on MNIST: 102 trials, three seeds, for a GPU or a night.

    Reached: not run.
    """
    return Study(
        recipe="mnist",
        settings=(
            "start=NoiseStart",
            "average=0",
            "schedule.warmup=0",
            "schedule.anneal=0",
            "precision=fp32",
        ),
        budget=6_500_000,
        limit=300.0,
        samples=1000,
        blocks=(
            Block(
                "grid",
                (
                    _levels("method.steps", ["10", "25", "50", "100"]),
                    _levels("data_noise", ["0.03", "0.1"]),
                    _levels("learning_rate", ["1e-4", "1e-3"]),
                    _levels("spectral_norm", ["false", "true"]),
                ),
                settings=("kernel.box=null",),
            ),
            Block(
                "noise",
                (
                    _levels("method.steps", ["25", "100"]),
                    _named("noise", {"matched": ["kernel.box=null"], "none": ["kernel=Descent"]}),
                ),
                settings=("data_noise=0.03", "learning_rate=1e-4"),
                measures=("longer",),
            ),
        ),
    )


def vae_teaching_ablation() -> Study:
    """Steps and step size, latent variables, and the weight of the divergence of a VAE.

    The questions of Tables 4 to 6 of variational MCMC teaching (Xie, Zheng, Li, 2021), on 8x8
    digits, where the published weight 2 corresponds to 0.02: 72 trials, three seeds.

    Reached: one seed of three, 24 trials in 5 minutes on two cores, by `boltzwalk study
    vae_teaching_ablation seeds=[0] --workers 2`: classifier-FID 75, 9.9, 6.0, 4.2 for 1, 5, 15, 30
    steps; 4.2 at the weight 0.02, 8.3 at half of it, 86 at 2; best with 16 latent variables.
    """
    return Study(
        recipe="vae_teaching_digits",
        settings=("updates=1500",),
        limit=100.0,
        blocks=(
            Block(
                "steps",
                (
                    _levels("method.steps", ["1", "5", "15", "30"]),
                    _levels("kernel.step_size", ["0.001", "0.005", "0.02"]),
                ),
                equal=False,
                measures=("proposals",),
            ),
            Block(
                "latent",
                (_levels("vae.latent", ["2", "4", "8", "16", "32"]),),
                equal=False,
                measures=("proposals",),
            ),
            Block(
                "gamma",
                (_levels("gamma", ["0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "2"]),),
                equal=False,
                measures=("proposals",),
            ),
        ),
    )


def toy_convergence() -> Study:
    """Where walkers start, noise and rate decide whether a density is learnt, or only samples.

    Eight Gaussians in the plane with the network of the anatomy paper; the quality is KL(q || p) of
    the normalised density, which samples say nothing of: 36 trials, three seeds.

    Reached: noise of 0.125 KL 0.11 (Adam), 0.19 and 0.78 nats (SGD), noise of 0.01 KL 17 to 98; the
    noise has 95 % of the variance with its interactions, optimizer 6 %, start 3 %, by `boltzwalk
    study toy_convergence` in 12 minutes on two cores that other work shared.
    """
    starts = {
        "noise": ["start=NoiseStart", "start.distribution=gaussian"],
        "replay": ["start=ReplayStart", "start.size=10000"],
    }
    noise = {
        "0.01": ["kernel.temperature=5e-5"],
        "0.125": ["kernel.temperature=0.0078125"],
    }
    rates = {
        "Adam 1e-4": ["optimizer=Adam", "learning_rate=1e-4"],
        "SGD 0.1": ["optimizer=SGD", "learning_rate=0.1"],
        "SGD 0.01": ["optimizer=SGD", "learning_rate=0.01"],
    }
    return Study(
        recipe="anatomy_toy_convergent",
        settings=("updates=1000", "method.steps=100"),
        quality="density",
        blocks=(
            Block(
                "grid",
                (_named("start", starts), _named("noise", noise), _named("optimizer", rates)),
                equal=False,
                measures=("longer",),
            ),
        ),
    )


STUDIES: dict[str, Callable[[], Study]] = {
    study.__name__: study
    for study in (thesis_digits, thesis_mnist, vae_teaching_ablation, toy_convergence)
}
"""All shipped studies by name."""

_REPLAY = ["start=ReplayStart", "start.size=0"]


def _published() -> tuple[Block, ...]:
    """The set-ups of the published claims, 1,500 updates each."""
    ladder = {
        "5": ["method.steps=5", "data_noise=0.15"],
        "10": ["method.steps=10", "data_noise=0.1"],
        "25": ["method.steps=25", "data_noise=0.05"],
        "50": ["method.steps=50", "data_noise=0.03"],
    }
    reach = {
        "5 of size 1": ["method.steps=5"],
        "5 of size 3": [
            "method.steps=5",
            "method.kernel.step_size=3",
            "method.kernel.temperature=1.6666667e-5",
        ],
        "20 of size 1": ["method.steps=20"],
    }
    rates = _levels("learning_rate", ["1e-4", "1e-3"])
    noises = _levels("data_noise", ["0.03", "0.15"])
    starts = _named("start", {"replay": _REPLAY, "data": ["start=DataStart"]})
    normed = ("data_noise=0.03", "spectral_norm=true")
    return (
        Block(
            "ladder",
            (_named("steps with their data noise", ladder), _noise()),
            equal=False,
            measures=("longer", "displacement"),
        ),
        Block("few", (noises, rates), ("method.steps=5",), equal=False),
        Block("many", (rates,), ("method.steps=50", "data_noise=0.03"), equal=False),
        Block("spectral", (_named("reach of the steps", reach), rates), normed, equal=False),
        Block(
            "kept",
            (starts,),
            ("method.steps=10", "data_noise=0.03"),
            equal=False,
            measures=("displacement",),
        ),
    )


def _levels(key: str, values: Sequence[str]) -> Axis:
    return Axis(key, tuple(Level(value, (f"{key}={value}",)) for value in values))


def _named(name: str, levels: Mapping[str, Sequence[str]]) -> Axis:
    return Axis(name, tuple(Level(key, tuple(values)) for key, values in levels.items()))


def _noise() -> Axis:
    """The noise of the chains: that of the recipe, or none."""
    return _named("noise", {"matched": [], "none": ["kernel=Descent"]})


def _around() -> tuple[Axis, ...]:
    """Settings that are changed one at a time."""
    return (
        _named(
            "start",
            {
                "gaussian": ["start.distribution=gaussian"],
                "replay": _REPLAY,
                "data": ["start=DataStart"],
            },
        ),
        _named(
            "noise",
            {
                "none": ["kernel=Descent"],
                "0.1": ["kernel.temperature=0.005"],
                "of exp(-U)": ["kernel.temperature=1"],
            },
        ),
        _levels("method.kernel.step_size", ["0.3", "3"]),
        _levels("energy.spectral_norm", ["true"]),
        _levels("energy_penalty", ["0.01", "1"]),
        _levels("clip_gradient", ["0.1"]),
        _named("optimizer", {"SGD": ["optimizer=SGD", "learning_rate=0.003"]}),
        _levels("beta1", ["0", "0.5"]),
        _levels("weight_decay", ["1e-4"]),
        _levels("schedule.anneal", ["0.3"]),
        _levels("average", ["0.99"]),
    )
