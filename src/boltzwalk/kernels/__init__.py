r"""How walkers move: one family a file.

========================  ====================================  ===========  ================
kernel                    `step_size`                           invariant    gradients a step
========================  ====================================  ===========  ================
:class:`ULA`              ε, noise of variance 2εT              up to O(ε)   1
:class:`MALA`             ε, noise of variance 2εT              yes          1
:class:`HMC`              the time h; ε = h²/2 if L = 1         yes          L
:class:`KineticLangevin`  the time h; ε → uh²/2 as γh → ∞       up to O(h²)  substeps + 1
:class:`Independence`     (none)                                yes          1
:class:`NormalProposals`  (none)                                yes          1
:class:`Descent`          the factor of the gradient            no           1
:class:`AdamDescent`      about the distance a component moves  no           1
:class:`Transport`        the factor of the gradient            no           1
========================  ====================================  ===========  ================

Each has ``step(energy, walkers, rng) -> (walkers, info)`` and the target :math:`\exp(-U / T)`.
:func:`run` makes K steps, :func:`adapt_step_size` finds a step size.
"""

from typing import Annotated, TypeAlias

from ..extension import KERNEL
from ..kernel import Info, Kernel, accept, refuse_weights
from .adaptation import adapt_step_size
from .chain import ChainInfo, run
from .descent import AdamDescent, Descent
from .hamiltonian import HMC, leapfrog
from .independence import Independence, NormalProposals, Proposal
from .kinetic import KineticLangevin
from .langevin import MALA, ULA, log_ratio, noise_temperature, propose
from .transport import Transport

TrainingKernel: TypeAlias = Annotated[
    ULA | MALA | HMC | KineticLangevin | Descent | AdamDescent, KERNEL
]
"""The kernels that may train."""

__all__ = [
    "HMC",
    "MALA",
    "ULA",
    "AdamDescent",
    "ChainInfo",
    "Descent",
    "Independence",
    "Info",
    "Kernel",
    "KineticLangevin",
    "NormalProposals",
    "Proposal",
    "TrainingKernel",
    "Transport",
    "accept",
    "adapt_step_size",
    "leapfrog",
    "log_ratio",
    "noise_temperature",
    "propose",
    "refuse_weights",
    "run",
]
