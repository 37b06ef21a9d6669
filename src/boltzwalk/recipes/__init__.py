"""One Python function a result: the settings that reach it, and the number they reached."""

from collections.abc import Callable

from ..train.settings import Settings
from .anatomy import (
    anatomy_convergent,
    anatomy_nonconvergent,
    anatomy_toy_convergent,
    anatomy_toy_nonconvergent,
)
from .cooperative import (
    coopnets_digits,
    coopnets_mnist,
    vae_teaching_cifar10,
    vae_teaching_digits,
    vae_teaching_fashion_mnist,
    vae_teaching_mnist,
)
from .digits import digits
from .generalized import gebm_cifar10, gebm_digits, gebm_manifold, gebm_mnist
from .jarzynski import jarzynski_mixture, jarzynski_mixture_cd, jarzynski_mixture_pcd
from .jarzynski_images import (
    jarzynski_cifar10,
    jarzynski_digits,
    jarzynski_digits_pcd,
    jarzynski_mnist,
    jarzynski_mnist_pcd,
)
from .mnist import fashion_mnist, mnist
from .own import images, table, toy
from .short_run import cifar10_short_run, mnist_short_run

__all__ = ["BESIDE", "RECIPES"]

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
        jarzynski_mixture,
        jarzynski_mixture_pcd,
        jarzynski_mixture_cd,
        jarzynski_digits,
        jarzynski_digits_pcd,
        jarzynski_mnist,
        jarzynski_mnist_pcd,
        jarzynski_cifar10,
        coopnets_digits,
        vae_teaching_digits,
        coopnets_mnist,
        vae_teaching_mnist,
        vae_teaching_fashion_mnist,
        vae_teaching_cifar10,
        gebm_manifold,
        gebm_digits,
        gebm_mnist,
        gebm_cifar10,
    )
}
"""All recipes by name."""

BESIDE: dict[str, tuple[str, ...]] = {
    "jarzynski_mixture": ("jarzynski_mixture_pcd", "jarzynski_mixture_cd"),
    "jarzynski_digits": ("jarzynski_digits_pcd",),
    "jarzynski_mnist": ("jarzynski_mnist_pcd",),
}
"""What `boltzwalk train` trains beside a recipe, to compare: recipes that differ in their method
only, whose names begin with that of the recipe."""
