"""One Python function a result: the settings that reach it, and the number they reached."""

from collections.abc import Callable

from ..train.settings import Settings
from .anatomy import (
    anatomy_convergent,
    anatomy_nonconvergent,
    anatomy_toy_convergent,
    anatomy_toy_nonconvergent,
)
from .digits import digits
from .mnist import fashion_mnist, mnist
from .own import images, table, toy
from .short_run import cifar10_short_run, mnist_short_run

__all__ = ["RECIPES"]

RECIPES: dict[str, Callable[[], Settings]] = {
    recipe.__name__: recipe
    for recipe in (
        digits,
        mnist,
        fashion_mnist,
        toy,
        table,
        images,
        mnist_short_run,
        cifar10_short_run,
        anatomy_convergent,
        anatomy_nonconvergent,
        anatomy_toy_convergent,
        anatomy_toy_nonconvergent,
    )
}
"""All recipes by name."""
