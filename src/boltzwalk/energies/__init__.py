"""What is modelled: the contract of an energy, analytic targets, networks, compositions.

==================  ===========================================================================
``energy``          the contract, and the one place where an energy meets its gradient
``analytic``        targets with known log Z, moments and exact samples
``settings``        `NetworkEnergy`: a trainable energy as a value
``multilayer``,     the architectures, each a frozen dataclass with ``build(event_shape)``; the
``convolutional``,  settings of published convolutional networks are in ``published``
``non_local``,
``residual``
``layers``          PyTorch's layers, faster where chains spend their time
``composed``        tempered energies, products, a Gaussian reference
``conditional``     the energy given a class, or the visible part of a picture
``fitted``          a Gaussian reference fitted to data
``learnt_mixture``  a mixture of Gaussians whose means and masses learn
``flow``            a normalising flow whose log Z is known, to judge methods that must find it
``exact``           exact samples and log Z of an energy before it learns
``spectral``        spectral normalisation that leaves sampling pure
==================  ===========================================================================
"""

from ..networks.convolutional import Convolutional
from ..networks.dense import Multilayer
from ..networks.non_local import NonLocal
from ..networks.residual import Residual
from .network_energy import NetworkEnergy

__all__ = ["Convolutional", "Multilayer", "NetworkEnergy", "NonLocal", "Residual"]
