r"""Conditions: a class, or the observed pixels of an image.

.. math:: p(x \mid \text{class}) , \qquad p(h \mid v)

The walkers of an update receive the conditions of the rows of its batch, so that data and walkers
differ in x alone. The contract, and `NoCondition`, are in :mod:`boltzwalk.condition`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ..bases.conditional import build_conditional
from ..bases.generator import EncoderSettings, Generator, Vae
from ..condition import NoCondition
from ..data.dataset import Dataset
from ..data.masks import BOX_NAMES, are_random_boxes, box_mask, random_boxes
from ..data.rows import Batch
from ..extension import CONDITION
from ..networks.convolutional import Convolution, ConvolutionalEncoder

__all__ = ["ClassConditional", "ConditionSettings", "ObservedPixels"]

SUMMARY = ConvolutionalEncoder((Convolution(32), Convolution(64), Convolution(64)))


@dataclass(frozen=True)
class ClassConditional:
    """A model of p(x | class).

    Arguments:
        number: The number of classes K; 0 takes one more than the largest label of the data.
    """

    number: int = 0

    unconditional = False
    completes = False

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.number

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(
                f"number must be >= 0, got {self.number}; 0 counts the classes of the data"
            )

    def rows(self, dataset: Dataset) -> Batch:
        """Returns the rows of training with their classes.

        Raises:
            ValueError: If they have none.
        """
        return dataset.labelled()

    def batch(self, dataset: Dataset, n: int, rng: torch.Generator) -> Batch:
        """Draws n of them."""
        return dataset.labelled_batch(n, rng)

    def resolved(self, data: Batch) -> ClassConditional:
        """Returns the condition with the number of classes of the data."""
        return replace(self, number=self.number or int(_labels(data).max()) + 1)

    def free_entries(self, data: Batch) -> Tensor:
        """Returns the rows: the model predicts every entry."""
        return data.x

    def shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of one condition."""
        return (self.number,)

    def of(self, data: Batch, rng: torch.Generator) -> Float[Tensor, "N K"]:
        """Returns the conditions of rows, shape (N, K).

        Raises:
            ValueError: If there is no such class.
        """
        labels = _labels(data)
        low, high = int(labels.min()), int(labels.max())
        if not 0 <= low <= high < self.number:
            raise ValueError(
                f"labels must be from 0 to {self.number - 1}, got {low} to {high}; write "
                f"condition.number={high + 1}"
            )
        return self._one_hot(labels).to(data.x.dtype)

    def of_labels(self, labels: Tensor | None) -> Tensor | None:
        """Returns the conditions of labels, shape (N, K), in float32; None for None.

        Arguments:
            labels: The classes, shape (N,).
        """
        return None if labels is None else self._one_hot(labels)

    def _one_hot(self, labels: Tensor) -> Tensor:
        return functional.one_hot(labels.long(), self.number).float()

    def labels(self, dataset: Dataset, n: int, name: str | None = None) -> Int[Tensor, " n"]:
        """Returns n labels to draw samples of, sorted: of one class, or as many of each.

        Arguments:
            dataset: The data.
            n: The number of labels.
            name: The class, by number or by name; None for all classes alike.

        Raises:
            ValueError: If there is no such class.
        """
        classes: Tensor = _labels(dataset.labelled()).unique()
        if name is None:
            return classes[torch.arange(n, device=classes.device) * len(classes) // n]
        known = {str(i): i for i in classes.tolist()}
        known |= {text: i for i, text in enumerate(dataset.class_names) if str(i) in known}
        if name not in known:
            raise ValueError(f"class must be one of {', '.join(known)}, got {name!r}")
        return torch.full((n,), known[name], device=classes.device)

    def sample(self, data: Batch, n: int, rng: torch.Generator) -> Float[Tensor, "n K"]:
        """Draws conditions in the proportions of the data, shape (n, K)."""
        labels = _labels(data)
        rows = torch.randint(len(labels), (n,), generator=rng, device=rng.device)
        rows = rows.to(labels.device)
        return self.of(Batch(data.x[rows], labels[rows]), rng)

    def build_base(
        self,
        settings: Generator | Vae,
        event_shape: tuple[int, ...],
        seed: int,
        data: Tensor,
    ) -> nn.Module:
        r"""Returns the base of an architecture, which receives the class.

        Arguments:
            settings: The architecture.
            event_shape: The shape of one event.
            seed: The seed of the initial parameters.
            data: Rows that the base must be able to make, shape (M, \*event).
        """
        c_shape = self.shape(event_shape)
        return build_conditional(settings, c_shape, None, c_shape[0], event_shape, seed, data)

    def build_energy(
        self,
        settings: Any,  # noqa: ANN401
        event_shape: tuple[int, ...],
        seed: int,
        data: Tensor,
    ) -> nn.Module:
        r"""Returns the energy :math:`U(x \mid c)` of an architecture.

        Arguments:
            settings: The architecture.
            event_shape: The shape of one event.
            seed: The seed of the initial parameters.
            data: The training rows, shape (M, \*event).

        Raises:
            ValueError: If the architecture takes no condition.
        """
        c_shape = self.shape(event_shape)
        return _conditional_energy("a class", settings, event_shape, c_shape, seed)

    def refusal(self, section: str) -> str:
        """Returns why a section of an evaluation is undefined; "" where it is not.

        Arguments:
            section: The name of the section.
        """
        if section in ("training", "quality", "base", "modes"):
            return ""
        return "energies given different classes differ by unknown constants: there is no U(x)"


@dataclass(frozen=True)
class ObservedPixels:
    """A model of the hidden pixels of an image, given the observed ones.

    Arguments:
        mask: The hidden pixels: lower, upper, left, right, center, a box top,left,height,width in
            pixels, or boxes: a random one for every picture of every update, with a quarter to a
            half of its height and width.
        summary: The network that sums up the visible part for the decoder.
        features: The numbers that sum it up.
    """

    mask: str = "center"
    summary: EncoderSettings = field(default_factory=lambda: SUMMARY)
    features: int = 64

    unconditional = False
    completes = True
    classes = 0

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ValueError(f"features must be >= 1, got {self.features}; 64 are usual")
        edges = [edge.strip().isdigit() for edge in self.mask.split(",")]
        if self.mask not in ("boxes", *BOX_NAMES) and edges != [True] * 4:
            raise ValueError(
                f"mask must be one of {', '.join(BOX_NAMES)}, a box top,left,height,width in "
                f"pixels, or boxes for random ones, got {self.mask!r}; write condition.mask=center"
            )

    def rows(self, dataset: Dataset) -> Batch:
        r"""Returns the rows of training, shape (M, \*event).

        Raises:
            ValueError: If they are no images.
        """
        if len(dataset.event_shape) != 3:
            raise ValueError(
                "the visible part is that of images, got rows of shape "
                f"{dataset.event_shape}; write condition=NoCondition, whose energy completes "
                "rows of a table as well"
            )
        return Batch(dataset.train)

    def batch(self, dataset: Dataset, n: int, rng: torch.Generator) -> Batch:
        r"""Draws n of them, shape (n, \*event)."""
        return Batch(dataset.batch(n, rng))

    def resolved(self, data: Batch) -> ObservedPixels:
        """Returns the condition as it is, if the mask lies within the images.

        Raises:
            ValueError: If it does not.
        """
        self.hidden(1, tuple(data.x.shape[1:]), torch.Generator())
        return self

    def free_entries(self, data: Batch) -> Tensor:
        """Returns rows whose variance is that of the hidden pixels."""
        x = data.x
        rng = torch.Generator(x.device).manual_seed(0)
        hidden = self.hidden(1000, tuple(x.shape[1:]), rng)
        return x * hidden.to(x).mean(0).sqrt()

    def hidden(
        self, n: int, event_shape: tuple[int, ...], rng: torch.Generator
    ) -> Bool[Tensor, "n *event"]:
        r"""Returns the hidden pixels of n images, shape (n, \*event).

        Arguments:
            n: The number of pictures.
            event_shape: The shape of one.
            rng: The source of random boxes.
        """
        if self.mask == "boxes":
            return random_boxes(n, event_shape, rng)
        inside = box_mask(self.mask, event_shape).to(rng.device).expand(n, *event_shape)
        if bool(inside.all()) or not bool(inside.any()):
            raise ValueError(
                f"a mask must hide something and leave something, got {self.mask!r} for images of "
                f"shape {event_shape}; write condition.mask=center"
            )
        return inside

    @property
    def usual_mask(self) -> str:
        """The mask to complete held-out images with."""
        return "center" if self.mask == "boxes" else self.mask

    def fits(self, hidden: Bool[Tensor, "N *event"]) -> bool:
        r"""Returns whether rows hide the pixels that the model was trained to complete.

        Arguments:
            hidden: Their hidden pixels, shape (N, \*event).
        """
        if self.mask == "boxes":
            return are_random_boxes(hidden)
        expected = box_mask(self.mask, tuple(hidden.shape[1:])).to(hidden.device)
        return bool((hidden == expected).all())

    def shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of one condition."""
        return (event_shape[0] + 1, *event_shape[1:])

    def of(self, data: Batch, rng: torch.Generator) -> Float[Tensor, "N *condition"]:
        """Returns the conditions of rows, shape (N, C + 1, height, width)."""
        x = data.x
        return self.masked(x, self.hidden(len(x), tuple(x.shape[1:]), rng))

    def masked(
        self, x: Float[Tensor, "N *event"], hidden: Bool[Tensor, "N *event"]
    ) -> Float[Tensor, "N *condition"]:
        r"""Returns the conditions of rows with a mask, shape (N, C + 1, height, width).

        Arguments:
            x: The rows, shape (N, \*event); what they have in hidden places is ignored.
            hidden: What is hidden, the same in all channels.
        """
        return torch.cat([torch.where(hidden, 0.0, x), hidden[:, :1].to(x.dtype)], 1)

    def sample(self, data: Batch, n: int, rng: torch.Generator) -> Float[Tensor, "n *condition"]:
        """Draws conditions: the observed pixels of random rows."""
        rows = torch.randint(len(data.x), (n,), generator=rng, device=rng.device)
        return self.of(Batch(data.x[rows.to(data.x.device)]), rng)

    def labels(self, dataset: Dataset, n: int, name: str | None = None) -> None:
        """Raises ValueError: the model draws no new images."""
        raise ValueError(
            "samples must be of a model of full images, got one that fills in the hidden part of "
            "images; write boltzwalk complete RUN"
        )

    def of_labels(self, labels: Tensor | None) -> None:
        """Returns None: no class is given."""

    def build_base(
        self,
        settings: Generator | Vae,
        event_shape: tuple[int, ...],
        seed: int,
        data: Tensor,
    ) -> nn.Module:
        r"""Returns the base of an architecture, which receives the observed pixels.

        Arguments:
            settings: The architecture.
            event_shape: The shape of one event.
            seed: The seed of the initial parameters.
            data: Rows that the base must be able to make, shape (M, \*event).
        """
        c_shape = self.shape(event_shape)
        return build_conditional(
            settings, c_shape, self.summary, self.features, event_shape, seed, data
        )

    def build_energy(
        self,
        settings: Any,  # noqa: ANN401
        event_shape: tuple[int, ...],
        seed: int,
        data: Tensor,
    ) -> nn.Module:
        r"""Returns the energy :math:`U(x \mid c)` of an architecture.

        Arguments:
            settings: The architecture.
            event_shape: The shape of one event.
            seed: The seed of the initial parameters.
            data: The training rows, shape (M, \*event).

        Raises:
            ValueError: If the architecture takes no condition.
        """
        c_shape = self.shape(event_shape)
        return _conditional_energy("observed pixels", settings, event_shape, c_shape, seed)

    def refusal(self, section: str) -> str:
        """Returns why a section of an evaluation is undefined; "" where it is not.

        Arguments:
            section: The name of the section.
        """
        if section == "training":
            return ""
        return "it fills in the hidden part of an image; boltzwalk complete judges that"


ConditionSettings: TypeAlias = Annotated[NoCondition | ClassConditional | ObservedPixels, CONDITION]
"""The conditions of settings."""


def _labels(data: Batch) -> Tensor:
    """The labels of rows that must have them."""
    assert data.labels is not None
    return data.labels


def _conditional_energy(
    name: str,
    settings: Any,  # noqa: ANN401
    event_shape: tuple[int, ...],
    c_shape: tuple[int, ...],
    seed: int,
) -> nn.Module:
    """The network energy of events joined with their conditions."""
    build = getattr(settings, "build_conditional", None)
    if build is None:
        raise ValueError(
            f"the energy of a model with {name} must take the condition as an input, got "
            f"{type(settings).__name__}; write energy=NetworkEnergy"
        )
    network: nn.Module = build(event_shape, c_shape, seed)
    return network
