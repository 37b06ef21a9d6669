r"""Analytic targets with known :math:`\log Z`, moments and exact samples, one density a module.

Each is a frozen dataclass, and itself an energy:

===================  ==========================================================================
``target(x)``        the energies :math:`U(x)` for x of shape (N, dim)
``sample(n, rng)``   n independent exact samples, shape (n, dim), in the default dtype on the
                     device of ``rng``
``log_z``            :math:`\log Z = \log \int e^{-U(x)} dx`, a float
``mean, variance``   the moments of each coordinate, shape (dim,), in the default dtype
===================  ==========================================================================

Where value and gradient are cheaper together in closed form, ``energy_and_grad(x)`` gives both.
Widths are standard deviations and called ``scale``. The energies are unnormalised on purpose: with
a log Z of zero, an estimator that returns zero would pass.
"""

from .boltzmann_machine import BoltzmannMachine
from .double_well import DoubleWell
from .funnel import Funnel
from .gaussian import Gaussian
from .gumbel import GumbelProduct
from .mixture import GaussianMixture
from .rings import GaussianRings
from .rosenbrock import Rosenbrock

__all__ = [
    "BoltzmannMachine",
    "DoubleWell",
    "Funnel",
    "Gaussian",
    "GaussianMixture",
    "GaussianRings",
    "GumbelProduct",
    "Rosenbrock",
]
