r"""Starts of the walkers: they distinguish the contrastive methods.

======================  =============================================================
:class:`DataStart`      contrastive divergence (Hinton, 2002)
:class:`ReplayStart`    persistent contrastive divergence (Tieleman, 2008); with a share of
                        restarts, the buffer of Du and Mordatch (2019); with one walker for
                        each row of data and long chains, convergent learning (Nijkamp et al., 2020)
:class:`NoiseStart`     short-run MCMC (Nijkamp et al., 2019)
======================  =============================================================

Each has ``init(data, rng) -> state``, ``draw(data, state, n, rng) -> (x, index)`` and
``put(state, index, x) -> state``; the state is a :class:`Replay` or None. To draw samples of a
trained model, ``sample(data, state, n, rng) -> x`` says where their chains start; ``noise_start``
is the distribution of chains from noise, and ``from_noise`` whether those of training are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .replay import Replay

__all__ = ["DataStart", "NoiseStart", "ReplayStart"]


@dataclass(frozen=True)
class NoiseStart:
    r"""Walkers start from noise :math:`p_0` at every update; the chain is never continued.

    Arguments:
        distribution: :math:`p_0`, uniform on [-scale, scale] or Gaussian of that deviation.
        scale: The width of :math:`p_0`, in units of the data.

    References:
        | Learning non-convergent non-persistent short-run MCMC (Nijkamp et al., 2019)
        | https://arxiv.org/abs/1904.09770
    """

    distribution: Literal["uniform", "gaussian"] = "uniform"
    scale: float = 1.0

    from_noise: ClassVar[bool] = True

    @property
    def noise_start(self) -> NoiseStart:
        """This start itself."""
        return self

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale must be > 0, got {self.scale}; the usual value is 1.0")

    def init(self, data: Float[Tensor, "M *event"], rng: torch.Generator) -> Replay | None:
        """Nothing is kept from one update to the next."""
        return None

    def noise(
        self, like: Float[Tensor, "M *event"], n: int, rng: torch.Generator
    ) -> Float[Tensor, "n *event"]:
        r"""Draws n walkers from :math:`p_0`, of the event shape, type and device of `like`."""
        shape = (n, *like.shape[1:])
        draw = torch.rand if self.distribution == "uniform" else torch.randn
        x = draw(shape, generator=rng, dtype=like.dtype, device=like.device)
        return self.scale * (2 * x - 1 if self.distribution == "uniform" else x)

    def draw(
        self, data: Float[Tensor, "M *event"], state: Replay | None, n: int, rng: torch.Generator
    ) -> tuple[Float[Tensor, "n *event"], Int[Tensor, " n"] | None]:
        """Returns n new walkers and no slots."""
        return self.noise(data, n, rng), None

    def put(self, state: Replay | None, index: Tensor | None, x: Tensor) -> Replay | None:
        """Nothing is kept."""
        return state

    def sample(
        self, data: Float[Tensor, "M *event"], state: Replay | None, n: int, rng: torch.Generator
    ) -> Float[Tensor, "n *event"]:
        """Returns n walkers from noise, as in training."""
        return self.noise(data, n, rng)


@dataclass(frozen=True)
class DataStart:
    """Walkers start at the data of the update.

    References:
        | Training products of experts by minimizing contrastive divergence (Hinton, 2002)
    """

    from_noise: ClassVar[bool] = False

    @property
    def noise_start(self) -> NoiseStart:
        """A standard normal."""
        return NoiseStart("gaussian")

    def init(self, data: Float[Tensor, "M *event"], rng: torch.Generator) -> Replay | None:
        """Nothing is kept from one update to the next."""
        return None

    def draw(
        self, data: Float[Tensor, "M *event"], state: Replay | None, n: int, rng: torch.Generator
    ) -> tuple[Float[Tensor, "n *event"], Int[Tensor, " n"] | None]:
        """Returns n rows of the data, each at most once where there are enough of them."""
        picked = torch.randperm(len(data), generator=rng, device=rng.device)
        return data[picked[torch.arange(n, device=rng.device) % len(data)]], None

    def put(self, state: Replay | None, index: Tensor | None, x: Tensor) -> Replay | None:
        """Nothing is kept."""
        return state

    def sample(
        self, data: Float[Tensor, "M *event"], state: Replay | None, n: int, rng: torch.Generator
    ) -> Float[Tensor, "n *event"]:
        """Returns n walkers from noise: chains from the data would show the data."""
        return self.noise_start.noise(data, n, rng)


@dataclass(frozen=True)
class ReplayStart:
    """Walkers start where they stopped last time.

    Arguments:
        size: The number of walkers in the store; 0 keeps one for each row of the training data.
        restart_share: The share of the drawn walkers that start anew from noise, in [0, 1].
        noise: The distribution of the first walkers and of the restarts.
        from_data: Whether the first walkers and the restarts are rows of data instead of noise.

    References:
        | Training restricted Boltzmann machines using approximations to the likelihood gradient
        | (Tieleman, 2008)
        | Implicit generation and modeling with energy based models (Du and Mordatch, 2019)
        | https://arxiv.org/abs/1903.08689
    """

    size: int = 10_000
    restart_share: float = 0.0
    noise: NoiseStart = field(default_factory=NoiseStart)
    from_data: bool = False

    from_noise: ClassVar[bool] = False

    @property
    def noise_start(self) -> NoiseStart:
        """The distribution of chains from noise."""
        return self.noise

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size must be >= 1, or 0 for one a row of data, got {self.size}")
        if not 0 <= self.restart_share <= 1:
            raise ValueError(
                f"restart_share must be in [0, 1], got {self.restart_share}; "
                "0.05 restarts one walker in twenty"
            )

    def init(self, data: Float[Tensor, "M *event"], rng: torch.Generator) -> Replay | None:
        """Fills the store with noise, or with rows of data."""
        return Replay(self._fresh(data, self.size or len(data), rng))

    def draw(
        self, data: Float[Tensor, "M *event"], state: Replay | None, n: int, rng: torch.Generator
    ) -> tuple[Float[Tensor, "n *event"], Int[Tensor, " n"] | None]:
        """Returns n walkers of the store, a share of them restarted, and their slots."""
        assert state is not None, "ReplayStart.init makes the state"
        index = state.draw(n, rng)
        fresh = torch.rand(n, generator=rng, device=rng.device) < self.restart_share
        mask = fresh.reshape(-1, *[1] * (data.ndim - 1))
        return torch.where(mask, self._fresh(data, n, rng), state.x[index]), index

    def put(self, state: Replay | None, index: Tensor | None, x: Tensor) -> Replay | None:
        """Writes every walker back to its own slot."""
        assert state is not None
        assert index is not None
        return state.put(index, x)

    def sample(
        self, data: Float[Tensor, "M *event"], state: Replay | None, n: int, rng: torch.Generator
    ) -> Float[Tensor, "n *event"]:
        """Returns n different walkers of the store, none restarted."""
        assert state is not None
        if n > len(state):
            raise ValueError(
                f"the store holds {len(state)} walkers, asked for {n} samples; ask for at most "
                f"{len(state)}, or start from noise with many steps"
            )
        return state.x[state.draw(n, rng)]

    def _fresh(
        self, data: Float[Tensor, "M *event"], n: int, rng: torch.Generator
    ) -> Float[Tensor, "n *event"]:
        """Walkers that were never in the store."""
        if self.from_data:
            return DataStart().draw(data, None, n, rng)[0]
        return self.noise.noise(data, n, rng)
