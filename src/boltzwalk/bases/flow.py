r"""Normalising flows: bases whose samples have a known density.

.. math:: z \sim N(0, I_D), \qquad x = g(z), \qquad
    \log b(x) = \log N\big(f(x); 0, I\big) + \log \Big| \det \frac{\partial f}{\partial x} \Big| ,
    \qquad f = g^{-1} ,

with as many latent variables as an event has entries. The maps are zuko's; events with several axes
are flattened, so that small images are treated as vectors.

Not guaranteed: numerical accuracy far from the data. A layer may scale by up to a thousand, and
splines are the identity beyond [-5, 5], so the data should be standardised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import zuko
from jaxtyping import Float
from torch import Tensor, nn

from ..networks.layers import Activation, activation_layer, seeded_weights
from ..networks.network import require_shape, require_widths, standard_normal

__all__ = ["Flow", "NormalizingFlow"]

MAX_ENTRIES = 1024
"""The largest number of entries of an event; flows of dense layers fail on larger images."""

LEAK = 0.2
"""The slope of leaky_relu for negative inputs."""


class NormalizingFlow(nn.Module):
    r"""An invertible map between events and standard normal latent variables.

    Arguments:
        event_shape: The shape of one event, of D entries.
        flow: A lazy distribution of zuko over vectors of D entries, with a standard normal base.

    Example:
        >>> flow = Flow(transforms=2, widths=(8,)).build((3,), 0)
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = flow.decode(flow.latents(5, rng))
        >>> flow.log_density(x).shape, bool((flow.decode(flow.encode(x)) - x).abs().max() < 1e-5)
        (torch.Size([5]), True)
    """

    def __init__(self, event_shape: tuple[int, ...], flow: zuko.lazy.Flow) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.latent = math.prod(event_shape)
        self.flow = flow
        self.eval()

    def forward(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z)`, shape (N, \*event), with the graph of z and the parameters."""
        instead = "draw z with latents(n, rng), one row an event"
        require_shape("this flow", "z", tuple(z.shape), (self.latent,), instead)
        with torch.autocast(z.device.type, enabled=False):
            x: Tensor = self.flow.transform().inv(z)
            return x.reshape(-1, *self.event_shape)

    def decode(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N *event"]:
        r"""Returns :math:`g(z)`, shape (N, \*event): the same as a call."""
        x: Tensor = self(z)
        return x

    def encode(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, "N d"]:
        r"""Returns :math:`f(x)`, shape (N, D)."""
        with torch.autocast(x.device.type, enabled=False):
            z: Tensor = self.flow.transform()(self._rows(x))
            return z

    def log_density(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`\log b(x)`, shape (N,), in nats."""
        with torch.autocast(x.device.type, enabled=False):
            log_b: Tensor = self.flow().log_prob(self._rows(x))
            return log_b

    def latents(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draws n latent rows from N(0, I), with the dtype and device of the parameters."""
        return standard_normal(self, n, self.latent, rng)

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Float[Tensor, "n *event"]:
        r"""Returns n exact samples of b, shape (n, \*event), without a graph."""
        return self.decode(self.latents(n, rng))

    def _rows(self, x: Tensor) -> Tensor:
        """Flattens the events to vectors."""
        instead = f"build it for events of shape {tuple(x.shape[1:])}"
        require_shape("this flow", "x", tuple(x.shape), self.event_shape, instead)
        return x.flatten(1)


@dataclass(frozen=True)
class Flow:
    r"""Settings of a normalising flow, as a base or as the density of an energy.

    * ``realnvp``: affine couplings whose masks alternate between even and odd entries. One network
      gives both the shift and the log-scale, which is bounded by log 1000; the published energies
      have two for each coupling, with tanh for the scale and ReLU for the shift.
    * ``maf``: affine autoregressive maps, alternating forward and backward; sampling takes D
      passes.
    * ``nsf``: couplings of rational-quadratic splines with 8 bins on [-5, 5], between the halves of
      the entries.

    For events with one entry the first two are an affine map, the third a spline.

    Attributes:
        architecture: The kind of maps.
        transforms: The number of maps.
        widths: The hidden widths of the network of each map.
        activation: The activation of these networks.

    Raises:
        ValueError: If there is no map or no hidden layer, or a width is not positive.

    References:
        | Density estimation using Real NVP (Dinh, Sohl-Dickstein, Bengio, 2017)
        | https://arxiv.org/abs/1605.08803
        | Masked autoregressive flow for density estimation (Papamakarios, Pavlakou, Murray, 2017)
        | https://arxiv.org/abs/1705.07057
        | Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032

    Example:
        >>> flow = Flow().build((11,), 0)
        >>> sum(parameter.numel() for parameter in flow.parameters())
        59254
    """

    architecture: Literal["realnvp", "maf", "nsf"] = "realnvp"
    transforms: int = 5
    widths: tuple[int, ...] = (100, 100)
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        if self.architecture not in ("realnvp", "maf", "nsf"):
            raise ValueError(
                f"architecture must be realnvp, maf or nsf, got {self.architecture!r}; write "
                "architecture=realnvp"
            )
        if self.transforms < 1 or not self.widths:
            raise ValueError(
                f"a flow needs a map and a hidden layer, got transforms={self.transforms} and "
                f"widths={self.widths}; write transforms=5 and widths=(100, 100)"
            )
        require_widths("widths", self.widths)
        activation_layer(self.activation, LEAK)  # checks the name

    def build(
        self, event_shape: tuple[int, ...], rng_seed: int, data: Tensor | None = None
    ) -> NormalizingFlow:
        r"""Returns the flow, on the CPU, in the default dtype.

        The same seed gives the same parameters; no global generator changes.

        Arguments:
            event_shape: The shape of one event.
            rng_seed: The seed of the initial parameters.
            data: Not used.

        Raises:
            ValueError: If the events have no entries, or too many.
        """
        entries = math.prod(event_shape)
        if not event_shape or not 1 <= entries <= MAX_ENTRIES:
            raise ValueError(
                f"a flow takes vectors and images of 1 to {MAX_ENTRIES} entries, got events of "
                f"shape {event_shape}; take a generator as the base of larger ones"
            )
        with seeded_weights(rng_seed):
            options = {
                "transforms": self.transforms,
                "hidden_features": self.widths,
                "activation": partial(activation_layer, self.activation, LEAK),
            }
            if self.architecture == "realnvp":
                flow = zuko.flows.RealNVP(entries, **options)
            elif self.architecture == "maf":
                flow = zuko.flows.MAF(entries, **options)
            else:
                flow = zuko.flows.NSF(entries, passes=2, **options)
        return NormalizingFlow(event_shape, flow)
