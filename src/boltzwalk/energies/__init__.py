"""Energies: trainable ones, analytic targets, and compositions of energies.

==================  ===========================================================================
``network_energy``  :class:`NetworkEnergy`: settings of a trainable energy of any architecture in
                    :mod:`boltzwalk.networks`
``learnt_mixture``  :class:`MixtureEnergy`: settings of a mixture of Gaussians whose means and
                    masses are trained
``conditional``     energies conditioned on a class or on observed pixels
``composed``        tempered energies, products, Gaussian references
``exact``           exact samples and log Z of an untrained energy
``analytic``        targets with known log Z, moments and exact samples
==================  ===========================================================================

The contract of an energy is in :mod:`boltzwalk.energy`. A normalising flow as an energy is in
:mod:`boltzwalk.bases.flow_energy`.
"""

from .composed import FittedReference, GaussianReference, Product, Tempered
from .conditional import ConditionalEnergy
from .exact import exact_samples
from .learnt_mixture import LearntMixture, MixtureEnergy
from .network_energy import NetworkEnergy

__all__ = [
    "ConditionalEnergy",
    "FittedReference",
    "GaussianReference",
    "LearntMixture",
    "MixtureEnergy",
    "NetworkEnergy",
    "Product",
    "Tempered",
    "exact_samples",
]
