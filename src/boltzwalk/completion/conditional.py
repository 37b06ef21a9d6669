r"""The energy of hidden entries alone, given the visible ones.

Of a density :math:`p(x) \propto e^{-U(x)}` whose entries are split into visible :math:`v` and
hidden :math:`h`,

.. math:: p(h \mid v) = \frac{p(h, v)}{p(v)} \propto e^{-U(h, v)} ,

so the conditional energy is :math:`U` itself as a function of :math:`h`: no constant is needed and
any kernel samples it. Which entries are hidden may differ from row to row. Rows with fewer hidden
entries than others are padded with coordinates on which the energy does not depend: they neither
move the row nor enter an acceptance, because their gradient is zero.

Values that are hidden in the units of the data need not be coordinates of the model: whitening
mixes the columns of a table. Then :math:`h` are coordinates of the plane that the visible values
leave free,

.. math:: x = x_0 + Q h , \qquad Q^\top Q = I ,

in an orthonormal basis :math:`Q`, and :math:`p(h \mid v) \propto e^{-U(x_0 + Q h)}` as well.

Not guaranteed: that a chain finds all completions; it is as slow to change modes as any other.
Kernels whose proposals ignore where a walker is (:class:`~boltzwalk.kernels.Independence`) need
proposals for h alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..energy import Energy, energy_and_grad

__all__ = ["Conditional", "Entries", "Free", "Subspace", "conditional", "free_part"]


@dataclass(frozen=True, eq=False)
class Entries:
    r"""Hidden entries that are coordinates of the model.

    Attributes:
        fixed: The visible entries, 0 elsewhere, shape (N, \*event).
        index: The flat numbers of the hidden entries of each row, shape (N, H); D is padding.
    """

    fixed: Float[Tensor, "N *event"]
    index: Int[Tensor, "N H"]

    def __len__(self) -> int:
        return len(self.fixed)

    @property
    def hidden(self) -> Bool[Tensor, "N *event"]:
        r"""The hidden entries, shape (N, \*event)."""
        size = self.fixed[0].numel()
        flat = torch.zeros(len(self), size + 1, dtype=torch.bool, device=self.fixed.device)
        return flat.scatter(1, self.index, True)[:, :-1].reshape(self.fixed.shape)

    def event(self, h: Float[Tensor, "N H"]) -> Float[Tensor, "N *event"]:
        r"""Returns the full rows, shape (N, \*event), with the given visible entries."""
        flat = torch.cat([self.fixed.flatten(1), self.fixed.new_zeros(len(h), 1)], 1)
        return flat.scatter(1, self.index, h)[:, :-1].reshape(self.fixed.shape)

    def coordinates(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, "N H"]:
        """Returns the hidden entries of rows or gradients, 0 where padded, shape (N, H)."""
        return torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], 1).gather(1, self.index)

    def visible(self, x: Float[Tensor, "N *event"]) -> Float[Tensor, "N *event"]:
        r"""Returns rows with hidden entries set to 0, shape (N, \*event)."""
        flat = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], 1)
        return flat.scatter(1, self.index, 0.0)[:, :-1].reshape(x.shape)


@dataclass(frozen=True, eq=False)
class Subspace:
    """Hidden entries of the data that are directions of the model.

    Attributes:
        fixed: The point :math:`x_0` of each plane that is nearest to 0, shape (N, D).
        basis: The orthonormal directions of each plane, shape (N, D, H); 0 is padding.
    """

    fixed: Float[Tensor, "N D"]
    basis: Float[Tensor, "N D H"]

    hidden: ClassVar[None] = None

    def __len__(self) -> int:
        return len(self.fixed)

    def event(self, h: Float[Tensor, "N H"]) -> Float[Tensor, "N D"]:
        """Returns the full rows :math:`x_0 + Q h`, shape (N, D)."""
        return self.fixed + (self.basis @ h[:, :, None])[:, :, 0]

    def coordinates(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N H"]:
        r"""Returns :math:`Q^\top x` of rows or gradients, shape (N, H)."""
        return (x[:, None] @ self.basis)[:, 0]

    def visible(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        r"""Returns :math:`x - Q Q^\top x`, the part that visible values determine, shape (N, D)."""
        return x - (self.basis @ self.coordinates(x)[:, :, None])[:, :, 0]


Free: TypeAlias = Entries | Subspace
"""The coordinates that the visible values of rows leave free."""


class Conditional(nn.Module):
    r"""The energy :math:`U(h \mid v) = U(h, v)` of hidden coordinates.

    Arguments:
        energy: The energy :math:`U`.
        free: The hidden coordinates of each row that will be evaluated.

    Raises:
        ValueError: From a call, if h is not one row for each row of visible entries.

    Example:
        >>> x, hidden = torch.tensor([[3.0, torch.nan]]), torch.tensor([[False, True]])
        >>> energy = Conditional(lambda x: x.square().sum(1) / 2, free_part(x, hidden))
        >>> energy(torch.tensor([[4.0]])).item()
        12.5
    """

    def __init__(self, energy: Energy, free: Free) -> None:
        super().__init__()
        self.energy = energy
        self.free = free

    def forward(self, h: Float[Tensor, "N H"]) -> Float[Tensor, " N"]:
        r"""Returns :math:`U(h, v)`, shape (N,)."""
        self._require_rows(h)
        u: Tensor = self.energy(self.free.event(h))
        return u

    def energy_and_grad(
        self, h: Float[Tensor, "N H"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N H"]]:
        r"""Returns the energies, shape (N,), and the gradients to h, shape (N, H)."""
        self._require_rows(h)
        u, grad = energy_and_grad(self.energy, self.free.event(h))
        return u, self.free.coordinates(grad)

    def _require_rows(self, h: Tensor) -> None:
        expected = tuple(self.free.coordinates(self.free.fixed).shape)
        if tuple(h.shape) != expected:
            raise ValueError(
                f"h must have shape {expected}, the hidden coordinates of each row of visible "
                f"entries, got {tuple(h.shape)}; write energy.free.coordinates(x)"
            )


def conditional(
    energy: Energy, x: Float[Tensor, "N *event"], hidden: Bool[Tensor, "N *event"]
) -> Conditional:
    r"""Returns the energy of the hidden entries of rows, given their visible ones.

    .. math:: U(h \mid v) = U(h, v)

    Arguments:
        energy: The energy :math:`U`.
        x: The rows, shape (N, \*event); hidden values are ignored, also nan.
        hidden: Where entries are hidden, shape (N, \*event).

    Raises:
        ValueError: If the shapes differ, nothing is hidden, or a visible entry is not finite.

    Example:
        >>> from boltzwalk.kernels import MALA, run_chain
        >>> from boltzwalk.walkers import walkers_at
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
        >>> hidden = torch.tensor([[False, True], [False, True]])
        >>> energy = conditional(lambda x: (x - 5).square().sum(1) / 2, x, hidden)
        >>> walkers = walkers_at(energy, energy.free.coordinates(x))
        >>> rng = torch.Generator().manual_seed(0)
        >>> walkers, _ = run_chain(MALA(0.5), energy, walkers, 20, rng)
        >>> energy.free.event(walkers.x)[:, 0]
        tensor([1., 2.])
    """
    return Conditional(energy, free_part(x, hidden))


def free_part(
    x: Float[Tensor, "N *event"],
    hidden: Bool[Tensor, "N *event"],
    scale: Float[Tensor, "..."] | None = None,
) -> Free:
    r"""Returns the coordinates that the visible values of rows leave free.

    Arguments:
        x: The rows in model units, shape (N, \*event).
        hidden: Which values are hidden in the units of the data, shape (N, \*event).
        scale: The map to the units of the data, as of :class:`~boltzwalk.data.Dataset`; a matrix
            of shape (D, D) mixes entries, all others keep them apart.

    Raises:
        ValueError: If the shapes differ, nothing is hidden, or a visible entry is not finite.

    Example:
        >>> free = free_part(torch.ones(1, 3), torch.tensor([[True, False, True]]))
        >>> free.event(torch.tensor([[5.0, 6.0]]))
        tensor([[5., 1., 6.]])
    """
    if x.shape != hidden.shape or not bool(hidden.any()):
        raise ValueError(
            "hidden must have the shape of x and be true somewhere, got shape "
            f"{tuple(hidden.shape)} with {int(hidden.sum())} hidden entries for x of shape "
            f"{tuple(x.shape)}; write hidden = x.isnan() where values are missing"
        )
    if scale is not None and scale.ndim == 2:
        return _subspace(x, hidden, scale)
    fixed = torch.where(hidden, 0.0, x)
    if not bool(fixed.isfinite().all()):
        raise ValueError("visible entries must be finite, got nan or inf; mark them as hidden")
    flat = hidden.flatten(1)
    most = int(flat.sum(1).amax())
    # A stable sort brings the hidden entries of a row to its front, in their order.
    index = torch.sort(flat, dim=1, descending=True, stable=True).indices[:, :most]
    return Entries(fixed, torch.where(flat.gather(1, index), index, flat.shape[1]))


def _subspace(x: Tensor, hidden: Tensor, scale: Tensor) -> Subspace:
    """The planes of rows in which y = x S + b has the given visible values."""
    if not bool(x.isfinite().all()):
        raise ValueError(
            "rows of whitened data must be finite, got nan or inf; fill hidden values in the units "
            "of the data before they are whitened: any number will do"
        )
    patterns, which = hidden.unique(dim=0, return_inverse=True)
    bases = x.new_zeros(len(patterns), x.shape[1], int(hidden.sum(1).amax()))
    for basis, pattern in zip(bases, patterns, strict=True):
        visible = int((~pattern).sum())
        # y_v stays where it is along directions orthogonal to the columns of S that make it.
        rotation = torch.linalg.qr(scale[:, ~pattern].cpu().double(), mode="complete").Q
        basis[:, : x.shape[1] - visible] = rotation[:, visible:]
    free = Subspace(x, bases[which])
    return Subspace(free.visible(x), free.basis)
