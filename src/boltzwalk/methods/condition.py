r"""What is given when a model is conditional: nothing, the class, or the visible part of a picture.

.. math:: p(x) , \qquad p(x \mid \text{class}) , \qquad p(h \mid v)

A condition is a setting of a method. It says what the energy and the network that proposes are
told of each row, see :mod:`boltzwalk.energies.conditional`; the walkers of an update are told of
the rows of its batch, so that data and walkers differ in x alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ..bases.conditional import build_conditional
from ..bases.flow_energy import FlowEnergy
from ..bases.generator import EncoderSettings, Generator, Vae
from ..data.dataset import Dataset, Labelled
from ..data.masks import NAMES, box, boxes_only, random_boxes
from ..energies import Multilayer, NetworkEnergy
from ..energies.conditional import ConditionalEnergy, joined_shape
from ..energies.learnt_mixture import MixtureEnergy
from ..networks.convolutional import Convolution, ConvolutionalEncoder

__all__ = [
    "Classes",
    "Condition",
    "Unconditional",
    "Visible",
    "build_base",
    "build_energy",
    "condition_of",
]

SUMMARY = ConvolutionalEncoder((Convolution(32), Convolution(64), Convolution(64)))


@dataclass(frozen=True)
class Unconditional:
    """Nothing is given: a model of p(x)."""

    def rows(self, dataset: Dataset) -> Tensor:
        r"""Returns the rows of training, shape (M, \*event)."""
        return dataset.train

    def batch(self, dataset: Dataset, n: int, rng: torch.Generator) -> Tensor:
        r"""Draws n of them, shape (n, \*event)."""
        return dataset.batch(n, rng)

    def resolved(self, data: Tensor) -> Unconditional:
        """Returns the condition with what it takes from the data."""
        return self

    def unknown(self, data: Tensor) -> Tensor:
        """Returns rows of the variance that is left to the model."""
        return data

    def of(self, data: Tensor, rng: torch.Generator) -> None:
        """Returns the conditions of rows: None."""

    def drawn(self, data: Tensor, n: int, rng: torch.Generator) -> None:
        """Draws conditions in the proportions of the data: None."""


@dataclass(frozen=True)
class Classes:
    """The class is given: a model of p(x | class).

    Arguments:
        number: The number of classes K; 0 takes one more than the largest label of the data.
    """

    number: int = 0

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(
                f"number must be >= 0, got {self.number}; 0 counts the classes of the data"
            )

    def rows(self, dataset: Dataset) -> Labelled:
        """Returns the rows of training with their classes.

        Raises:
            ValueError: If they have none.
        """
        return dataset.labelled()

    def batch(self, dataset: Dataset, n: int, rng: torch.Generator) -> Labelled:
        """Draws n of them."""
        return dataset.labelled_batch(n, rng)

    def resolved(self, data: Labelled) -> Classes:
        """Returns the condition with the number of classes of the data."""
        return replace(self, number=self.number or int(data.labels.max()) + 1)

    def unknown(self, data: Labelled) -> Tensor:
        """Returns rows of the variance that is left to the model: all of it."""
        return data.x

    def shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of one condition."""
        return (self.number,)

    def of(self, data: Labelled, rng: torch.Generator) -> Float[Tensor, "N K"]:
        """Returns the conditions of rows, shape (N, K).

        Raises:
            ValueError: If there is no such class.
        """
        low, high = int(data.labels.min()), int(data.labels.max())
        if not 0 <= low <= high < self.number:
            raise ValueError(
                f"labels must be from 0 to {self.number - 1}, got {low} to {high}; write "
                f"condition.number={high + 1}"
            )
        return self.asked(data.labels).to(data.x.dtype)

    def asked(self, labels: Int[Tensor, " N"]) -> Float[Tensor, "N K"]:
        """Returns the conditions that ask for classes, shape (N, K), in float32.

        Arguments:
            labels: The classes.
        """
        return functional.one_hot(labels.long(), self.number).float()

    def evenly(self, data: Labelled, n: int) -> Int[Tensor, " n"]:
        """Returns n labels, as many of each class of the data as of any other, sorted.

        Arguments:
            data: The data.
            n: How many.
        """
        classes: Tensor = data.labels.unique()
        return classes[torch.arange(n, device=classes.device) * len(classes) // n]

    def drawn(self, data: Labelled, n: int, rng: torch.Generator) -> Float[Tensor, "n K"]:
        """Draws conditions in the proportions of the data, shape (n, K)."""
        rows = torch.randint(len(data.labels), (n,), generator=rng, device=rng.device)
        rows = rows.to(data.labels.device)
        return self.of(Labelled(data.x[rows], data.labels[rows]), rng)


@dataclass(frozen=True)
class Visible:
    """The visible part of a picture is given: a model of what a mask hides.

    Arguments:
        mask: What is hidden: lower, upper, left, right, center, a box top,left,height,width in
            pixels, or boxes: a random one for every picture of every update, with a quarter to a
            half of its height and width.
        summary: The network that sums up the visible part for the decoder.
        features: The numbers that sum it up.
    """

    mask: str = "center"
    summary: EncoderSettings = field(default_factory=lambda: SUMMARY)
    features: int = 64

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ValueError(f"features must be >= 1, got {self.features}; 64 are usual")
        edges = [edge.strip().isdigit() for edge in self.mask.split(",")]
        if self.mask not in ("boxes", *NAMES) and edges != [True] * 4:
            raise ValueError(
                f"mask must be one of {', '.join(NAMES)}, a box top,left,height,width in pixels, "
                f"or boxes for random ones, got {self.mask!r}; write condition.mask=center"
            )

    def rows(self, dataset: Dataset) -> Tensor:
        r"""Returns the rows of training, shape (M, \*event).

        Raises:
            ValueError: If they are no images.
        """
        if len(dataset.event_shape) != 3:
            raise ValueError(
                "the visible part is that of images, got rows of shape "
                f"{dataset.event_shape}; write condition=Unconditional, whose energy completes "
                "rows of a table as well"
            )
        return dataset.train

    def batch(self, dataset: Dataset, n: int, rng: torch.Generator) -> Tensor:
        r"""Draws n of them, shape (n, \*event)."""
        return dataset.batch(n, rng)

    def resolved(self, data: Tensor) -> Visible:
        """Returns the condition as it is, if the mask lies within the images.

        Raises:
            ValueError: If it does not.
        """
        self.hidden(1, tuple(data.shape[1:]), torch.Generator())
        return self

    def unknown(self, data: Tensor) -> Tensor:
        """Returns rows of the variance that is left to the model: of the hidden entries."""
        rng = torch.Generator(data.device).manual_seed(0)
        hidden = self.hidden(1000, tuple(data.shape[1:]), rng)
        return data * hidden.to(data).mean(0).sqrt()

    def hidden(
        self, n: int, event_shape: tuple[int, ...], rng: torch.Generator
    ) -> Bool[Tensor, "n *event"]:
        r"""Returns what is hidden of n pictures, shape (n, \*event).

        Arguments:
            n: The number of pictures.
            event_shape: The shape of one.
            rng: The source of random boxes.
        """
        if self.mask == "boxes":
            return random_boxes(n, event_shape, rng)
        inside = box(self.mask, event_shape).to(rng.device).expand(n, *event_shape)
        if bool(inside.all()) or not bool(inside.any()):
            raise ValueError(
                f"a mask must hide something and leave something, got {self.mask!r} for images of "
                f"shape {event_shape}; write condition.mask=center"
            )
        return inside

    def fits(self, hidden: Bool[Tensor, "N *event"]) -> bool:
        r"""Returns whether rows hide what the model was trained to fill in.

        Arguments:
            hidden: What they hide, shape (N, \*event).
        """
        if self.mask == "boxes":
            return boxes_only(hidden)
        expected = box(self.mask, tuple(hidden.shape[1:])).to(hidden.device)
        return bool((hidden == expected).all())

    def shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of one condition."""
        return (event_shape[0] + 1, *event_shape[1:])

    def of(
        self, data: Float[Tensor, "N *event"], rng: torch.Generator
    ) -> Float[Tensor, "N *condition"]:
        """Returns the conditions of rows, shape (N, C + 1, height, width)."""
        return self.masked(data, self.hidden(len(data), tuple(data.shape[1:]), rng))

    def masked(
        self, x: Float[Tensor, "N *event"], hidden: Bool[Tensor, "N *event"]
    ) -> Float[Tensor, "N *condition"]:
        r"""Returns the conditions of rows with a mask, shape (N, C + 1, height, width).

        Arguments:
            x: The rows, shape (N, \*event); what they have in hidden places is ignored.
            hidden: What is hidden, the same in all channels.
        """
        return torch.cat([torch.where(hidden, 0.0, x), hidden[:, :1].to(x.dtype)], 1)

    def drawn(
        self, data: Float[Tensor, "M *event"], n: int, rng: torch.Generator
    ) -> Float[Tensor, "n *condition"]:
        """Draws conditions: the visible parts of random rows."""
        rows = torch.randint(len(data), (n,), generator=rng, device=rng.device)
        return self.of(data[rows.to(data.device)], rng)


Condition: TypeAlias = Unconditional | Classes | Visible
"""What is given."""


def condition_of(method: Any) -> Condition:  # noqa: ANN401
    """Returns what a method, or its settings, are given; nothing where they say nothing.

    Arguments:
        method: A method, or its settings.
    """
    condition: Condition = getattr(
        getattr(method, "settings", method), "condition", Unconditional()
    )
    return condition


def build_base(
    condition: Condition,
    settings: Generator | Vae,
    event_shape: tuple[int, ...],
    rng_seed: int,
    data: Tensor,
) -> nn.Module:
    r"""Returns the network that proposes.

    Arguments:
        condition: What it is given, resolved.
        settings: Its architecture.
        event_shape: The shape of one event.
        rng_seed: The seed of the initial parameters.
        data: Rows that it must be able to make, shape (M, \*event).
    """
    if isinstance(condition, Unconditional):
        return settings.build(event_shape, rng_seed, data)
    shape = condition.shape(event_shape)
    if isinstance(condition, Classes):
        return build_conditional(settings, shape, None, shape[0], event_shape, rng_seed, data)
    summary, features = condition.summary, condition.features
    return build_conditional(settings, shape, summary, features, event_shape, rng_seed, data)


def build_energy(
    condition: Condition,
    settings: NetworkEnergy | MixtureEnergy | FlowEnergy,
    event_shape: tuple[int, ...],
    rng_seed: int,
    data: Tensor,
) -> nn.Module:
    r"""Returns the energy that learns.

    Arguments:
        condition: What it is given, resolved.
        settings: Its architecture.
        event_shape: The shape of one event.
        rng_seed: The seed of the initial parameters.
        data: Rows to which a reference is fitted, shape (M, \*event).

    Raises:
        ValueError: If such an energy knows nothing of conditions.
    """
    if isinstance(condition, Unconditional):
        return settings.build(event_shape, rng_seed, data)
    if not isinstance(settings, NetworkEnergy) or settings.reference_fit is not None:
        raise ValueError(
            f"the energy must be a network, to be told of {type(condition).__name__}, got "
            f"{type(settings).__name__}, or a reference that is fitted to the data; write "
            "energy=NetworkEnergy and reference_fit=null"
        )
    flat = isinstance(settings.network, Multilayer)
    shape = joined_shape(event_shape, condition.shape(event_shape), flat)
    return ConditionalEnergy(settings.build(shape, rng_seed), flat)
