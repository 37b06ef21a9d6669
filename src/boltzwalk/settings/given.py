"""An energy that was given as a `torch.nn.Module`, as settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from ..networks.architecture import describe, rebuild
from .outside import MissingCodeError

__all__ = ["GivenEnergy", "given_energy"]


@dataclass(frozen=True)
class GivenEnergy:
    """A module from Python: its class, and its architecture as plain values.

    Arguments:
        reference: The class, such as ``my_models.py:MyNet``.
        architecture: What :func:`.describe` returns; empty where the module cannot be described.
        reason: Why it cannot; "" where it can.
    """

    reference: str
    architecture: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    from_python: ClassVar[bool] = True

    def build(
        self, event_shape: tuple[int, ...], seed: int, data: Tensor | None = None
    ) -> nn.Module:
        """Returns the module again, with parameters that a checkpoint has to fill.

        Arguments:
            event_shape: The shape of one event.
            seed: Not used.
            data: Not used.

        Raises:
            ValueError: If it cannot be described.
            MissingCodeError: If its code is not imported.
        """
        if not self.architecture:
            raise ValueError(
                f"the energy {self.reference} was given in Python and cannot be built again "
                f"({self.reason}); write bw.load(folder, energy=...)"
            )
        try:
            return rebuild(self.architecture)
        except LookupError as error:
            raise MissingCodeError(self.reference, str(error)) from error


def given_energy(module: nn.Module, reference: str) -> GivenEnergy:
    """Returns a module as settings.

    Arguments:
        module: The module.
        reference: Its class.
    """
    try:
        return GivenEnergy(reference, describe(module))
    except ValueError as error:
        return GivenEnergy(reference, {}, str(error))
