r"""MCMC kernels, one family a module.

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
:class:`AdamDescent`      about the distance per component      no           1
:class:`Transport`        the factor of the gradient            no           1
========================  ====================================  ===========  ================

Each has ``step(energy, walkers, rng) -> (walkers, info)`` and the target :math:`\exp(-U / T)`.
:func:`run_chain` makes K steps, :func:`adapt_step_size` adapts the step size to an acceptance, and
:data:`TrainingKernel` is the type of the kernels that may train a model.
"""

from typing import Annotated, TypeAlias

from ..extension import KERNEL
from ..kernel import Kernel, StepInfo, accept, require_weighable
from .adaptation import adapt_step_size
from .chain import ChainInfo, run_chain
from .descent import AdamDescent, Descent
from .hamiltonian import HMC, leapfrog
from .independence import Independence, NormalProposals
from .kinetic import KineticLangevin
from .langevin import MALA, ULA, langevin_log_ratio, langevin_proposal, noise_temperature
from .transport import Transport

TrainingKernel: TypeAlias = Annotated[
    Kernel | ULA | MALA | HMC | KineticLangevin | Descent | AdamDescent, KERNEL
]
"""The kernels that may move the walkers of a training method, and any that fits the contract."""

__all__ = [
    "HMC",
    "MALA",
    "ULA",
    "AdamDescent",
    "ChainInfo",
    "Descent",
    "Independence",
    "Kernel",
    "KineticLangevin",
    "NormalProposals",
    "StepInfo",
    "TrainingKernel",
    "Transport",
    "accept",
    "adapt_step_size",
    "langevin_log_ratio",
    "langevin_proposal",
    "leapfrog",
    "noise_temperature",
    "require_weighable",
    "run_chain",
]
