r"""The contract of a base: a network whose decoded noise proposes events.

.. math:: z \sim N(0, I_d) , \qquad x = g(z)

Generators, variational autoencoders and flows are bases. A method that learns together with a base,
a generalized model and completion use these members and no others:

====================  ============================================================================
``latents(n, rng)``   draws noise, shape (n, d)
``decode(z)``         maps it to events, shape (n, \*event)
``encode(x)``         optional: the mean and log-deviation of latent variables, each (n, d)
``reparametrise``     with ``encode``: (mean, log_std, rng) to latent variables, shape (n, d)
``log_density(x)``    optional: :math:`\log b(x)`, shape (n,)
====================  ============================================================================

There is no base class. `as_base` checks a network before it is used.
"""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

__all__ = ["Base", "as_base", "has_density", "has_encoder", "require_density"]


@runtime_checkable
class Base(Protocol):
    """A network that maps noise to events: the members that every base has."""

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        """Draws latent rows, shape (n, d)."""

    def decode(self, z: Tensor) -> Tensor:
        r"""Returns the events of latent rows, shape (n, \*event)."""


def as_base(network: object) -> Base:
    """Returns a network as a base, with its required members checked.

    Arguments:
        network: The network.

    Raises:
        ValueError: If a required member is missing.

    Example:
        >>> as_base(torch.nn.Identity())
        Traceback (most recent call last):
        ...
        ValueError: a base must have latents(n, rng) -> (n, d) and decode(z) -> (n, *event), got ...
    """
    missing = [name for name in ("latents", "decode") if not callable(getattr(network, name, None))]
    if missing:
        raise ValueError(
            "a base must have latents(n, rng) -> (n, d) and decode(z) -> (n, *event), got "
            f"{type(network).__name__} without {' and '.join(missing)}; add the method"
        )
    return cast(Base, network)


def has_encoder(base: object) -> bool:
    """Returns whether a base maps events to latent variables.

    Arguments:
        base: The base, or None.
    """
    return callable(getattr(base, "encode", None)) and callable(getattr(base, "decode", None))


def has_density(base: object) -> bool:
    """Returns whether a base has a density.

    Arguments:
        base: The base, or None.
    """
    return callable(getattr(base, "log_density", None))


def require_density(base: object, purpose: str) -> Any:  # noqa: ANN401
    """Returns a base that has a density.

    Arguments:
        base: The base.
        purpose: The part that needs the density, for the message.

    Raises:
        ValueError: If it has none.

    Example:
        >>> require_density(torch.nn.Identity(), "a likelihood")
        Traceback (most recent call last):
        ...
        ValueError: a likelihood needs a base with a density, got Identity, which makes events ...
    """
    if not has_density(base):
        raise ValueError(
            f"{purpose} needs a base with a density, got {type(base).__name__}, which makes events "
            "but does not know how likely they are; take a flow as method.base"
        )
    return base
