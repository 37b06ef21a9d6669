"""The pictures of a run: samples after an update, drawn into its folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from ..data.rows import Batch
from ..durable import write_atomically
from ..method import can_sample
from ..model import Model
from ..rng import generator
from .pictures import image_png, picture, picture_of_classes
from .run import Run

__all__ = ["draw_picture", "picture_is_due", "picture_path", "try_picture"]

PICTURED = 100
"""Images in a picture."""

COMPLETED = 12
"""Completed images in a picture."""


def picture_is_due(run: Run) -> bool:
    """Returns whether a picture is drawn after the update of a run.

    Arguments:
        run: The run after the update.
    """
    output = run.settings.output
    last = run.update == run.settings.updates
    due = last or bool(output.picture_every and run.update % output.picture_every == 0)
    return output.pictures and due and can_sample(run.method)


def picture_path(folder: Path, update: int) -> Path:
    """Returns where the picture of an update belongs."""
    return folder / "samples" / f"update_{update:08d}.png"


def draw_picture(model: Model, folder: Path) -> None:
    """Draws samples into the folder, under the number of the update and as samples.png.

    A model of classes has a line for each; one that completes images has three lines: the observed
    pixels of held-out images, their completions, and the images.
    """
    data, condition = model.data, model.method.condition
    rng = generator(model.settings.seed, "picture", model.update, model.device)
    n = model.available(PICTURED if len(data.event_shape) == 3 else 1000)
    if condition.completes:
        rows = data.test_rows()[0][:COMPLETED]
        c = condition.of(Batch(rows), rng)
        assert c is not None
        x = model.draw(len(rows), rng, c=c).x
        png = image_png(torch.cat([c[:, :-1], x, rows]), data, len(rows))
    else:
        labels = condition.labels(data, n)
        x = model.draw(n, rng, c=condition.of_labels(labels)).x
        png = picture(x, data) if labels is None else picture_of_classes(x, labels, data)
    write_atomically(picture_path(folder, model.update), png)
    write_atomically(folder / "samples.png", png)


PICTURE_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError),
)
"""The errors by which a picture may fail; none of them may cost a run."""


def try_picture(model: Model, folder: Path) -> None:
    """Draws samples into the folder as `draw_picture` does; warns where that fails.

    Arguments:
        model: The model.
        folder: The run folder.

    Raises:
        FloatingPointError: If the samples are not finite.
    """
    try:
        draw_picture(model, folder)
    except FloatingPointError:
        raise
    except PICTURE_ERRORS as error:
        warnings.warn(
            f"no picture of update {model.update} ({type(error).__name__}: {error}); the run goes "
            "on",
            stacklevel=2,
        )
