"""What the settings of this room have in common: their checks, and how weights start."""

from __future__ import annotations

from torch import nn

from ..energies.initial import Initial, initialise

__all__ = ["initialise_all", "require_latent", "require_shape", "require_widths"]


def require_latent(latent: int) -> None:
    """Raises where there is no latent variable.

    Raises:
        ValueError: If ``latent`` is below 1.

    Example:
        >>> require_latent(1)
    """
    if latent < 1:
        raise ValueError(
            f"latent must be at least 1, got {latent}; write how many latent variables there are, "
            "such as latent=16"
        )


def require_widths(name: str, widths: tuple[int, ...]) -> None:
    """Raises where a width, a side or a number of channels is not positive.

    Arguments:
        name: What the numbers are, for the message.
        widths: The numbers.

    Raises:
        ValueError: If one is below 1.

    Example:
        >>> require_widths("widths", (128, 128))
    """
    if min(widths, default=1) < 1:
        raise ValueError(f"{name} must be at least 1 each, got {widths}; write {name} such as 64")


def require_shape(
    what: str, rows: str, got: tuple[int, ...], expected: tuple[int, ...], remedy: str
) -> None:
    """Raises where rows have another shape than a network takes.

    Arguments:
        what: The network, for the message.
        rows: The symbol of the rows.
        got: The shape of the rows, with their number.
        expected: The shape of one row.
        remedy: What to write instead.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> require_shape("this decoder", "z", (5, 2), (2,), "...")
    """
    if not got or got[1:] != expected:
        shape = ", ".join(["N", *map(str, expected)])
        raise ValueError(f"{what} takes {rows} of shape ({shape}), got {got}; {remedy}")


def initialise_all(network: nn.Module, initial: Initial) -> None:
    """Draws the weights of all linear, convolution and transposed layers anew, in place.

    The numbers are those of PyTorch's generator, which :class:`.Generator` and :class:`.Vae` seed
    and restore.

    Arguments:
        network: The network.
        initial: How to draw, see :mod:`boltzwalk.energies.initial`.

    Raises:
        ValueError: If there is no such way.

    Example:
        >>> layer = nn.ConvTranspose2d(64, 64, 4)
        >>> initialise_all(layer, 0.02)
        >>> round(layer.weight.std().item(), 3)
        0.02
    """
    initialise(network, initial)
    if initial == "default":
        return
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            if isinstance(initial, float):
                nn.init.normal_(layer.weight, std=initial)
            else:
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
