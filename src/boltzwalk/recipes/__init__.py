"""One Python function a result: the settings that reach it, and the number they reached."""

from collections.abc import Callable

from ..settings.settings import Settings
from .anatomy import (
    anatomy_convergent,
    anatomy_nonconvergent,
    anatomy_toy_convergent,
    anatomy_toy_nonconvergent,
    cifar10_short_run,
    mnist_short_run,
)
from .cooperative import (
    conditional_digits,
    coopnets_digits,
    coopnets_mnist,
    digits_completion,
    facades_completion,
    vae_teaching_cifar10,
    vae_teaching_digits,
    vae_teaching_fashion_mnist,
    vae_teaching_mnist,
)
from .density import (
    gebm_parkinsons,
    gebm_parkinsons_cd,
    gebm_parkinsons_dv,
    gebm_parkinsons_ml,
    gebm_red_wine,
    gebm_red_wine_cd,
    gebm_red_wine_dv,
    gebm_red_wine_ml,
    gebm_white_wine,
    gebm_white_wine_cd,
    gebm_white_wine_dv,
    gebm_white_wine_ml,
)
from .generalized import gebm_cifar10, gebm_digits, gebm_manifold, gebm_mnist
from .jarzynski import (
    jarzynski_cifar10,
    jarzynski_digits,
    jarzynski_digits_pcd,
    jarzynski_mixture,
    jarzynski_mixture_cd,
    jarzynski_mixture_pcd,
    jarzynski_mnist,
    jarzynski_mnist_pcd,
)
from .starters import digits, fashion_mnist, images, mnist, table, toy

__all__ = ["BESIDE", "RECIPES", "SEEDS"]

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
        conditional_digits,
        digits_completion,
        coopnets_mnist,
        vae_teaching_mnist,
        vae_teaching_fashion_mnist,
        vae_teaching_cifar10,
        facades_completion,
        gebm_manifold,
        gebm_digits,
        gebm_mnist,
        gebm_cifar10,
        gebm_red_wine,
        gebm_red_wine_dv,
        gebm_red_wine_cd,
        gebm_red_wine_ml,
        gebm_white_wine,
        gebm_white_wine_dv,
        gebm_white_wine_cd,
        gebm_white_wine_ml,
        gebm_parkinsons,
        gebm_parkinsons_dv,
        gebm_parkinsons_cd,
        gebm_parkinsons_ml,
    )
}
"""All recipes by name."""

BESIDE: dict[str, tuple[str, ...]] = {
    "jarzynski_mixture": ("jarzynski_mixture_pcd", "jarzynski_mixture_cd"),
    "jarzynski_digits": ("jarzynski_digits_pcd",),
    "jarzynski_mnist": ("jarzynski_mnist_pcd",),
    **{
        name: tuple(f"{name}_{method}" for method in ("dv", "cd", "ml"))
        for name in ("gebm_red_wine", "gebm_white_wine", "gebm_parkinsons")
    },
}
"""What `boltzwalk train` trains beside a recipe, to compare: recipes that differ in their method
only, whose names begin with that of the recipe."""

SEEDS: dict[str, int] = {"gebm_red_wine": 3, "gebm_white_wine": 3, "gebm_parkinsons": 3}
"""How many seeds `boltzwalk train` takes for a recipe, where not one."""
