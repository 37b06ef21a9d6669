"""How a model learns: one method a file. The contract is in :mod:`boltzwalk.method`.

====================  =============================================================================
`Contrastive`         maximum likelihood by MCMC; `DataStart`, `ReplayStart`, `NoiseStart` choose
                      where its walkers start
`Jarzynski`           the same with weighted walkers; `ExactStart`, `RelaxedStart`
`Cooperative`         an energy and a generator that learn from each other (CoopNets)
`Variational`         an energy and a VAE that learn from each other
`Generalized`         an energy relative to a base, and the base (GEBM)
`MaximumLikelihood`   energies whose log Z is known
====================  =============================================================================

Conditions of a model: `NoCondition`, `ClassConditional`, `ObservedPixels`.
"""

from ..condition import NoCondition
from ..data.rows import Batch
from .condition import ClassConditional, ObservedPixels
from .contrastive import Contrastive
from .cooperative import Cooperative
from .generalized import Generalized
from .jarzynski import ExactStart, Jarzynski, RelaxedStart
from .latents import StepDecay
from .maximum_likelihood import MaximumLikelihood
from .starts import DataStart, NoiseStart, ReplayStart
from .variational import Variational

__all__ = [
    "Batch",
    "ClassConditional",
    "Contrastive",
    "Cooperative",
    "DataStart",
    "ExactStart",
    "Generalized",
    "Jarzynski",
    "MaximumLikelihood",
    "NoCondition",
    "NoiseStart",
    "ObservedPixels",
    "RelaxedStart",
    "ReplayStart",
    "StepDecay",
    "Variational",
]
