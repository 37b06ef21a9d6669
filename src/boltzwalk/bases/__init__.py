"""Bases: generators, variational autoencoders and flows, from which samples are drawn.

================  =============================================================================
``generator``     :class:`Generator` and :class:`Vae`: settings with ``build(shape, seed, data)``;
                  their architectures are in :mod:`boltzwalk.networks`
``flow``          :class:`Flow`: settings of a base with a known density
``flow_energy``   :class:`FlowEnergy`: settings of an energy that is a flow, with a known log Z
``stacked``       :class:`StackedEnergy`: settings of an energy on top of a stack of densities
``marginals``     maps of single columns to almost normal ones
``mixtures``      Gaussian mixtures by EM with shrunk covariances
``conditional``   bases conditioned on a class or on observed pixels
``latent``        energies on the latent variables of a base
``vae_loss``      the loss of an autoencoder, its default weight, its active dimensions
``published``     settings of published generators and autoencoders
================  =============================================================================
"""

from .conditional import ConditionalBase, ConditionedBase
from .flow import Flow, NormalizingFlow
from .flow_energy import FlowEnergy, LearntFlow
from .generator import BaseSettings, Generator, Vae
from .latent import LatentEnergy, ShiftedEnergy, posterior_energy
from .stacked import LearntStack, StackedEnergy
from .vae_loss import VaeParts, active_dimensions, default_gamma, vae_loss

__all__ = [
    "BaseSettings",
    "ConditionalBase",
    "ConditionedBase",
    "Flow",
    "FlowEnergy",
    "Generator",
    "LatentEnergy",
    "LearntFlow",
    "LearntStack",
    "NormalizingFlow",
    "ShiftedEnergy",
    "StackedEnergy",
    "Vae",
    "VaeParts",
    "active_dimensions",
    "default_gamma",
    "posterior_energy",
    "vae_loss",
]
