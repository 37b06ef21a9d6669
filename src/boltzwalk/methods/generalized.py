r"""Generalized energy-based models: an energy relative to a base that learns with it.

.. math:: Q(dx) = e^{-E(x) - A}\, B(dx) , \qquad x \sim B: \; x = g(z), \; z \sim N(0, I) , \qquad
    A = \log \mathbb E_B\, e^{-E} .

The base decides where samples can be, the energy how much mass is there. An update is one step of
the energy, which ascends F of :mod:`.bounds` in E and c, or one of the base, which descends it:

=======  ==========================================================================================
energy   data x, as many base samples y = g(z) without graph:
         :math:`\overline{E(x)} + c + \overline{e^{-E(y) - c}} - 1` and, for a smooth E,
         :math:`\overline{|\nabla E|^2}` at random points between x and y. The gradient for c is
         :math:`e^{c - \hat A} - 1`.
base     new y: :math:`\sum_m w_m \nabla E(y_m) \cdot dy_m` with
         :math:`w = \mathrm{softmax}(-E(y))`.
=======  ==========================================================================================

Batch statistics are used in the step of the base only.

Not guaranteed: that E has converged when the base moves. The log has the effective sample size of
the weights and the difference of c from the estimate of the batch: where the one is below a
percent, or the other large, base and data lie too far apart for either number to be believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from ..bases import Flow, Generator
from ..kernels import ULA, Transport
from .alternation import Turns
from .latents import LatentKernel, StepDecay
from .objectives import Objective

__all__ = ["Generalized"]


@dataclass(frozen=True)
class Generalized:
    r"""An energy relative to a base, and the base.

    Arguments:
        base: The network that samples are made by.
        objective: What is optimised: "kale" with c, "donsker_varadhan" with the log-partition of
            the batch, or, for comparison, a GAN of the same networks whose critic is the energy,
            "logistic" or "hinge".
        learns: Which of both learns; "energy" with a base that stays, "base" the reverse.
        relative: Whether the network gives E. Otherwise it gives U, the energy of the model itself,
            and :math:`E = U + \log b`, which needs a base with a density.
        reweight: Whether the base learns from its samples as they weigh in the model; without, as
            in a GAN.
        noise_factor: The base samples M of an update over its data N.
        energy_steps: The steps of the energy before each of the base.
        first_energy_steps: The same before the first two steps of the base, and after every
            `refresh_every`.
        refresh_every: The steps of the base between two longer visits to the energy.
        gradient_penalty: The weight of :math:`\overline{|\nabla E|^2}`.
        parameter_penalty: The weight of the squared parameters of the energy.
        floor: E is no lower than this, where a number is given; -10 in the published code.
        squash: Whether gradients of the energy become :math:`2 g / (1 + g^2)`, entry by entry, as
            in the published code.
        initial_samples: The base samples from which c starts; 0 starts it at 0.
        log_partition_rate: The learning rate of c.
        base_rate: The learning rate of the base.
        base_beta1: The decay of its first moment, under Adam.
        kernel: How latent variables move when samples are drawn.
        sample_steps: The steps of a sample; 0 draws from the base alone.
        decay: How the step size falls along them.
        inverse_temperature: The factor :math:`\beta` of the energy when samples are drawn; 1 is
            the model that was trained, 100 was published for images.

    References:
        | Generalized energy based models (Arbel, Zhou and Gretton, 2021)
        | https://arxiv.org/abs/2003.05033
    """

    base: Generator | Flow = field(default_factory=Generator)
    objective: Objective = "kale"
    learns: Literal["both", "energy", "base"] = "both"
    relative: bool = True
    reweight: bool = True
    noise_factor: int = 1
    energy_steps: int = 5
    first_energy_steps: int = 100
    refresh_every: int = 500
    gradient_penalty: float = 0.0
    parameter_penalty: float = 0.0
    floor: float | None = None
    squash: bool = False
    initial_samples: int = 0
    log_partition_rate: float = 1e-3
    base_rate: float = 1e-4
    base_beta1: float = 0.5
    kernel: LatentKernel = field(default_factory=lambda: ULA(step_size=1e-4))
    sample_steps: int = 200
    decay: StepDecay = field(default_factory=StepDecay)
    inverse_temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("noise_factor", "energy_steps", "first_energy_steps", "refresh_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in (
            "gradient_penalty",
            "parameter_penalty",
            "initial_samples",
            "sample_steps",
            "inverse_temperature",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("log_partition_rate", "base_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.base_beta1 < 1:
            raise ValueError(f"base_beta1 must be in [0, 1), got {self.base_beta1}; 0.5 is usual")
        if not self.relative and self.objective in ("logistic", "hinge"):
            raise ValueError(
                f"the critic of a GAN is relative to its generator, got relative=False with "
                f"objective={self.objective}; write relative=true"
            )
        if self.kernel.temperature != 1 and not isinstance(self.kernel, Transport):
            raise ValueError(
                f"latent kernels must have temperature 1, got {self.kernel.temperature}, which "
                "would temper the prior as well; write inverse_temperature for the energy alone"
            )

    @property
    def steps(self) -> int:
        """The steps of a sample, under the name that they have for other methods."""
        return self.sample_steps

    def build(self, event_shape: tuple[int, ...], seed: int, data: Tensor) -> Turns:
        r"""Returns the method with its base and its c.

        Arguments:
            event_shape: The shape of one event.
            seed: The seed of the first parameters.
            data: The training data, shape (M, \*event), which the base must be able to make.
        """
        return Turns(self, self.base.build(event_shape, seed, data))
