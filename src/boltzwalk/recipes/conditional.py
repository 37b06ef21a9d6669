"""Models that are given something: the class of a digit, the visible part of a facade.

| Learning energy-based model with variational auto-encoder as amortized sampler
| (Xie, Zheng, Li, 2021), https://arxiv.org/abs/2012.14936
"""

from dataclasses import replace

from ..methods.condition import Classes
from ..methods.variational import Variational
from ..train.settings import Settings
from .cooperative import vae_teaching_digits

__all__ = ["conditional_digits"]


def conditional_digits() -> Settings:
    """Digits of 8x8 pixels of the class that is asked for, proposed by a VAE that is told it.

    Reached: not run.
    """
    settings = vae_teaching_digits()
    assert isinstance(settings.method, Variational)
    return replace(settings, method=replace(settings.method, condition=Classes()))
