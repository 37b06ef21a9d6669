r"""Advice on settings before the first update: numbers of the kernel against those of the data.

With the drift :math:`\varepsilon` of a kernel, its temperature T and K steps, one step moves an
entry of a walker by :math:`\sigma = \sqrt{2 \varepsilon T}` by noise, and a gradient of size one
by :math:`\varepsilon`. Both are compared with the deviation s of an entry of the data.

Each piece of advice is one sentence with the number, its limit, and the setting to write. All
settings of the recipes pass.

Not guaranteed: that settings without advice work. The guard looks at the run itself.
"""

from __future__ import annotations

import math
from typing import Any

from ..data import Dataset
from ..method import Method, with_defaults
from ..settings.settings import Settings

__all__ = ["advice"]

WIDE = 1.0
"""Noise of a step over the deviation of the data."""

NARROW = 0.02
"""Noise of a chain over the deviation of the data, where walkers sample at a temperature of one."""

COLD = 0.1
"""Temperature below which chains are short runs: drift carries them, and noise is a nuisance."""

REACHED = 0.6
"""Travel over distance below which walkers do not reach the data; see `diagnostics.verdict`."""

FEW_EPOCHS = 0.5
"""Passes over the rows below which many rows are never seen."""

MANY_EPOCHS, SMALL = 5000, 1000
"""Passes over fewer rows than this from which a network knows each row."""

FAST = 0.03
"""Learning rate of Adam beyond that of every run of the shipped studies that held."""

KINKED = ("relu", "leaky_relu")
"""Activations whose gradient jumps."""

ROWS = 1000
"""Rows by which the data are measured."""


def advice(settings: Settings, data: Dataset) -> list[str]:
    """Returns one sentence for each setting that will probably not work.

    Arguments:
        settings: The resolved settings.
        data: The rows.

    Example:
        >>> from boltzwalk.recipes import RECIPES
        >>> settings = RECIPES["toy"]()
        >>> advice(settings, settings.data.load())
        []
    """
    method = with_defaults(settings.method)
    rows = data.train[:ROWS].flatten(1)
    deviation = float(rows.var(0, correction=0).mean().sqrt())
    problems = [_rate(settings), _warmup(settings), _epochs(settings, len(data.train))]
    if method.kernel is not None and not method.latent and deviation > 0:
        problems += [
            _step(method, deviation),
            _data_noise(method) if len(data.event_shape) == 3 else "",
            _reach(settings, method, data),
            _activation(settings, method),
        ]
    return [problem for problem in problems if problem]


def _rate(settings: Settings) -> str:
    optimizer = settings.optimizer
    if not hasattr(optimizer, "beta1") or optimizer.learning_rate <= FAST:
        return ""
    return (
        f"the learning rate {optimizer.learning_rate:g} of Adam is above {FAST:g}: parameters "
        "change faster than walkers follow; write learning_rate=0.001"
    )


def _warmup(settings: Settings) -> str:
    warmup = settings.schedule.warmup
    if warmup < settings.updates:
        return ""
    return (
        f"the rate rises over {warmup} updates of {settings.updates}, so it never has its value; "
        f"write schedule.warmup={settings.updates // 10}"
    )


def _epochs(settings: Settings, rows: int) -> str:
    epochs = settings.updates * settings.batch / rows
    if epochs < FEW_EPOCHS:
        return (
            f"{settings.updates} updates of {settings.batch} rows see {epochs:.0%} of {rows:,} "
            f"rows; write updates={math.ceil(rows / settings.batch)} for one pass"
        )
    if epochs > MANY_EPOCHS and rows < SMALL:
        return (
            f"{settings.updates:,} updates pass {epochs:,.0f} times over {rows} rows: the energy "
            f"will know each of them; write updates={MANY_EPOCHS * rows // settings.batch}"
        )
    return ""


def _step(method: Method[Any], deviation: float) -> str:
    """Whether steps are wider than the data, or chains hardly move."""
    kernel = method.kernel
    size = getattr(kernel, "step_size", math.nan)
    if kernel is None or math.isnan(kernel.drift) or math.isnan(size) or not kernel.drift > 0:
        return ""
    power = 2 if hasattr(kernel, "leapfrog_steps") else 1  # the drift grows as size^power
    noise = math.sqrt(2 * kernel.drift * kernel.temperature)
    if noise > WIDE * deviation:
        fit = size * (0.3 * deviation / noise) ** (2 / power)
        return (
            f"a step of the kernel moves an entry by {noise:.3g}, and the data deviate by "
            f"{deviation:.3g}: walkers jump over them; write kernel.step_size={fit:.2g}"
        )
    moved = noise * math.sqrt(max(method.steps, 1))
    if kernel.temperature > COLD and moved < NARROW * deviation:
        fit = size * (0.3 * deviation / noise) ** (2 / power)
        return (
            f"{method.steps} steps of the kernel move an entry by {moved:.2g}, and the data "
            f"deviate by {deviation:.3g}: walkers stay where they are; write "
            f"kernel.step_size={fit:.2g}"
        )
    return ""


def _data_noise(method: Method[Any]) -> str:
    """Whether short-run chains have more noise than the data that they are compared with."""
    data_noise, kernel = getattr(method, "data_noise", None), method.kernel
    if data_noise is None or kernel is None or not method.from_noise or math.isnan(kernel.drift):
        return ""
    noise = math.sqrt(2 * kernel.drift * kernel.temperature)
    if kernel.temperature > COLD or data_noise >= noise / 2:
        return ""
    return (
        f"method.data_noise is {data_noise:g}, and a step of the kernel has noise of {noise:.3g}: "
        f"no energy makes walkers as sharp as the data; write method.data_noise={noise:.2g}"
    )


def _reach(settings: Settings, method: Method[Any], data: Dataset) -> str:
    """Whether a network with bounded slopes lets walkers reach the data."""
    kernel, energy = method.kernel, settings.energy
    bounded = getattr(energy, "spectral_norm", False) and not getattr(
        energy, "reference_scale", None
    )
    if not bounded or not method.from_noise or kernel is None or math.isnan(kernel.drift):
        return ""
    rows = data.train[:ROWS].flatten(1)
    scale = method.noise_start.scale
    noise = scale**2 / (3 if method.noise_start.distribution == "uniform" else 1)
    distance = math.sqrt(float(rows.square().sum(1).mean()) + noise * rows.shape[1])
    travel = method.steps * kernel.drift
    if travel >= REACHED * distance:
        return ""
    return (
        f"spectral normalisation bounds the gradient by about 1, so {method.steps} steps carry a "
        f"walker {travel:.3g} of the {distance:.3g} from noise to data; write "
        f"method.steps={math.ceil(distance / kernel.drift)} or energy.spectral_norm=false"
    )


def _activation(settings: Settings, method: Method[Any]) -> str:
    """Whether a Hamiltonian kernel integrates a gradient that jumps."""
    activation = getattr(getattr(settings.energy, "network", None), "activation", "")
    if activation not in KINKED or not hasattr(method.kernel, "leapfrog_steps"):
        return ""
    return (
        f"the gradient of an energy with {activation} jumps, and the trajectories of HMC then lose "
        "their order; write energy.network.activation=silu"
    )
