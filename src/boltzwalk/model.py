r"""A model: the result of a run, as a value.

.. math:: p(x) = e^{-U(x) / T} / Z

It has the energy, the method that draws its samples, the stored walkers, and a description of its
data: shape, units, columns, classes, and a sample of training and held-out rows. It does not need
the training data. Evaluation, completion, report and scores take a model.

`Model.sample`, `Model.energy`, `Model.log_prob` and `Model.score` speak the units of the data.
Everything else speaks model units, in which walkers move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .data.dataset import Dataset
from .data.rows import Batch
from .energies.composed import Tempered
from .energies.conditional import conditioned_on
from .energy import Energy
from .kernels import run_chain
from .method import Method
from .methods.proposal_training import chunk_sizes
from .metrics.anomaly import conformal_threshold, percentile
from .metrics.false_alarms import RowScores, false_alarms
from .rng import generator
from .settings.settings import Settings
from .smc.from_samples import Effort, log_z_from_samples, refused_log_z
from .smc.log_z import LogZ
from .walkers import Walkers

__all__ = ["Model", "RowScores"]

CHUNK = 4096
"""Rows whose energies are computed at once."""

REFERENCE_ROWS = 10_000
"""The most held-out rows that set a threshold."""


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model.

    Attributes:
        module: The energy that draws samples: the running average where there is one.
        method: The method that trained it, with all members of its contract.
        state: The state of the method: stored walkers, or None.
        data: The description of the data, with a sample of their rows.
        settings: The settings of the run.
        update: The number of updates.
        make_digest: Computes the digest of everything that samples and numbers depend on.
        folder: The run folder; None for a run that was not kept.
        verdict: The label of the verdict on its training, and the reason, where it is known.
    """

    module: nn.Module
    method: Method[Any]
    state: Any
    data: Dataset
    settings: Settings
    update: int
    make_digest: Callable[[], str]
    folder: Path | None = None
    verdict: tuple[str, str] | None = None
    _log_z: dict[int, LogZ] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        kind = type(self.settings.method).__name__
        return (
            f"Model({kind}, {type(self.settings.energy).__name__}, updates={self.update}, "
            f"event_shape={self.data.event_shape}, folder={str(self.folder)!r})"
        )

    @property
    def digest(self) -> str:
        """The digest of everything that samples and numbers depend on, as it is now."""
        return self.make_digest()

    # In the units of the data.

    def sample(self, n: int, seed: int = 0, steps: int = 0, label: str | None = None) -> Tensor:
        r"""Draws n samples as in training, shape (n, \*event), in the units of the data.

        Those of whitened columns are in float64, which a time stamp needs; others in float32.

        Arguments:
            n: The number of samples.
            seed: The seed of the noise.
            steps: The number of kernel steps; 0 takes those of training.
            label: The class, by name or number, of a model of classes; None for all alike.

        Raises:
            ValueError: If the run stores fewer walkers, or there is no such class.
        """
        rng = generator(seed, "sample", 0, self.settings.device)
        condition = self.method.condition
        c = condition.of_labels(condition.labels(self.data, n, label))
        return self.data.to_original(self.draw(n, rng, steps, c=c).x)

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        r"""Returns the energies :math:`U(x)`, shape (N,), of rows in the units of the data.

        Arguments:
            x: Rows, shape (N, \*event).

        Raises:
            ValueError: If the model has a condition, or the rows another shape.
        """
        self.require_unconditional("an energy")
        return self._energies(self._model_units(x))

    def log_prob(self, x: Tensor) -> Tensor:
        r"""Returns :math:`\log p(x)`, shape (N,), in nats and the units of the data, in float64.

        .. math:: \log p(x) = -U(x) / T - \log Z - \log |\partial y / \partial x|

        Arguments:
            x: Rows, shape (N, \*event).

        Raises:
            ValueError: If the model has no density, or its log Z cannot be trusted.
        """
        log_z = self.log_z()
        if log_z.refusal:
            raise ValueError(f"log p must have a log Z, got none: {log_z.refusal}")
        self.require_unconditional("an energy")
        rows = self._model_units(x)
        nats = self._energies(rows).double() / self.temperature + log_z.estimate
        return -nats - self.data.log_jacobian(rows)

    def log_z(self, seed: int = 0) -> LogZ:
        r"""Returns :math:`\log Z` of :math:`e^{-U / T}` in model units: an interval or a refusal.

        It is exact where the energy knows it; else annealing estimates it from samples of the
        model, once for each seed.

        Arguments:
            seed: The seed of all noise.
        """
        if seed not in self._log_z:
            rng = generator(seed, "likelihood", 0, self.settings.device)
            self._log_z[seed] = self.estimate_log_z(rng, Effort())
        return self._log_z[seed]

    def score(self, x: Tensor, false_alarm: float = 0.05) -> RowScores:
        r"""Returns how usual rows are among held-out rows of the data.

        The rate holds on average over held-out rows; `RowScores.false_alarms` has its interval.

        Arguments:
            x: Rows in the units of the data, shape (N, \*event).
            false_alarm: The share of ordinary rows that may be flagged.

        Raises:
            ValueError: If there are too few held-out rows for such a share.
        """
        self.require_unconditional("a score")
        rows, reference = self.reference_rows(false_alarm)
        usual = self._energies(rows).double()
        energy = self.energy(x).double()
        limit = conformal_threshold(usual, false_alarm)
        rate = false_alarms(usual, limit, false_alarm)
        ranks = percentile(usual, energy)
        return RowScores(energy, ranks, energy > limit, limit, rate, reference)

    def reference_rows(
        self, false_alarm: float = 0.01, most: int = REFERENCE_ROWS
    ) -> tuple[Tensor, str]:
        r"""Returns rows in model units that set a threshold, shape (N, \*event), and their name.

        Validation rows that chose the checkpoint have energies a little too low: they are left out
        where there are enough test rows for the rate.

        Arguments:
            false_alarm: The rate of false alarms that they are for.
            most: The largest number of rows.
        """
        data = self.data
        chosen = self.settings.output.best and len(data.validation) > 0
        enough = len(data.test) > 1 and (len(data.test) + 1) * false_alarm >= 1 - 1e-9
        rows, name = data.held_out(most, validation=not (chosen and enough))
        if len(data.validation) + len(data.test) < 2:
            name += ", whose energies are too low: more ordinary rows than asked are flagged"
        elif chosen and not enough:
            name += f", {len(data.validation):,} of which chose the checkpoint"
        return rows, name

    # In model units.

    @property
    def temperature(self) -> float:
        r"""The temperature T of the density :math:`e^{-U / T} / Z`; 0 of noiseless descent."""
        return self.method.temperature

    @property
    def device(self) -> torch.device:
        """The device of the energy."""
        return torch.device(self.settings.device)

    def arithmetic(self) -> torch.autocast:
        """Returns the precision of training, a context for the networks to work in."""
        enabled = self.settings.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def rows(self) -> Batch:
        """Returns the training rows of the description, with labels where they are needed."""
        return self.method.condition.rows(self.data)

    def draw(
        self,
        n: int,
        rng: torch.Generator,
        steps: int = 0,
        from_noise: bool = False,
        c: Tensor | None = None,
    ) -> Walkers:
        """Draws samples as in training: from the same start, by the same kernel.

        Arguments:
            n: The number of samples.
            rng: The source of the noise.
            steps: The number of kernel steps; 0 takes those of training.
            from_noise: Whether to leave stored walkers alone and start from noise.
            c: One condition for each sample; None draws them in the proportions of the data.

        Raises:
            ValueError: If the store holds fewer walkers.
        """
        condition = {} if c is None else {"c": c}
        with self.arithmetic():
            return self.method.sample(
                self.module, self.rows(), self.state, n, rng, steps, from_noise, **condition
            )

    @torch.no_grad()
    def propose(self, n: int, rng: torch.Generator, c: Tensor | None = None) -> Tensor | None:
        """Draws the proposals of the base, before any walker moves; None without a base.

        With a generator in the same state the first thousand are those that `draw` refines.

        Arguments:
            n: The number of proposals.
            rng: The source of the latent noise.
            c: One condition for each, as `draw` takes them.
        """
        base = self.method.base
        if base is None:
            return None
        c = self.method.condition.sample(self.rows(), n, rng) if c is None else c
        with self.arithmetic():
            bases = ((conditioned_on(base, part), size) for size, part in chunk_sizes(n, c))
            return torch.cat([g.decode(g.latents(size, rng)) for g, size in bases]).float()

    def available(self, n: int) -> int:
        """Returns n, or the number of stored walkers where no more samples can be drawn.

        Arguments:
            n: The number of samples that are wanted.
        """
        most = self.method.max_samples(self.state)
        return n if most is None else min(n, most)

    def weighted_walkers(self) -> Walkers | None:
        """Returns all weighted walkers; None where walkers have no weights."""
        with self.arithmetic():
            return self.method.weighted_walkers(self.module, self.state)

    def move(
        self, walkers: Walkers, steps: int, rng: torch.Generator, energy: Energy | None = None
    ) -> Walkers:
        """Moves walkers by the kernel and in the arithmetic of training.

        Arguments:
            walkers: The walkers, evaluated by the energy.
            steps: The number of kernel steps.
            rng: The source of the noise.
            energy: The energy that they move under; None for that of the model.

        Raises:
            ValueError: If the method moves latent variables, or nothing.
        """
        if self.method.latent:
            raise ValueError(
                "walkers of a generalized model are latent variables of its base, which events do "
                "not determine; draw samples with more steps instead"
            )
        kernel = self.method.kernel
        if kernel is None:
            raise ValueError(
                f"{type(self.settings.method).__name__} must have a kernel to move walkers, got "
                "none; add the fields kernel and steps"
            )
        with self.arithmetic():
            target = self.module if energy is None else energy
            return run_chain(kernel, target, walkers, steps, rng, diagnose=False, check=False)[0]

    def density_energy(self) -> nn.Module:
        r"""Returns the energy U of the density :math:`e^{-U / T} / Z`.

        It differs from `module` where a method learns an energy relative to a base.

        Raises:
            ValueError: If the model has no density, since its base has none.
        """
        return self.method.density_energy(self.module)

    def known_log_z(self) -> float | None:
        r"""Returns :math:`\log Z` where it is known exactly; None where it is not."""
        return self.method.log_z(self.module)

    def require_unconditional(self, purpose: str) -> None:
        """Raises where the model is not one of p(x).

        Arguments:
            purpose: The part that needs an energy of x alone, for the message.

        Raises:
            ValueError: If the energy has a condition.
        """
        condition = self.method.condition
        if not condition.unconditional:
            raise ValueError(
                f"{purpose} must have a model of p(x), got the condition "
                f"{type(condition).__name__}: energies given different conditions differ by an "
                "unknown constant; train with condition=NoCondition"
            )

    def _model_units(self, x: Tensor) -> Tensor:
        """Rows in the units of the data, checked and converted."""
        x = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        x = x if x.is_floating_point() else x.double()
        if tuple(x.shape[1:]) != self.data.event_shape:
            raise ValueError(
                f"rows must have shape (N, {', '.join(map(str, self.data.event_shape))}), got "
                f"{tuple(x.shape)}; write one row of the data for each entry"
            )
        wrong = (~x.flatten(1).isfinite().all(1)).nonzero().flatten()
        if len(wrong):
            raise ValueError(
                f"rows must be finite, got nan or infinity in row {int(wrong[0])}; drop such rows, "
                "or fill them in with boltzwalk.complete"
            )
        # Only after the map: in float32 a time stamp of 1.6e9 is a multiple of 128.
        rows = self.data.from_original(x.to(self.data.train.device)).to(self.data.train.dtype)
        wrong = (~rows.flatten(1).isfinite().all(1)).nonzero().flatten()
        if len(wrong):
            raise ValueError(
                "rows must be finite in float32 in the units of the model, got row "
                f"{int(wrong[0])} too far from the data; drop such rows"
            )
        return rows

    @torch.no_grad()
    def _energies(self, rows: Tensor) -> Tensor:
        """The energies of rows in model units."""
        u = self.density_energy()
        with self.arithmetic():
            return torch.cat([u(part).float() for part in rows.split(CHUNK)])

    def estimate_log_z(self, rng: torch.Generator, effort: Effort) -> LogZ:
        r"""Returns :math:`\log Z`: exact where it is known, else by annealing, or a refusal.

        Arguments:
            rng: The source of all noise.
            effort: The work that an estimate may take.
        """
        condition = self.method.condition
        if not condition.unconditional:
            return refused_log_z(condition.refusal("likelihood"))
        try:
            energy = self.density_energy()
        except ValueError as error:
            return refused_log_z(str(error))
        if not self.temperature > 0:
            return refused_log_z("the run was trained by noiseless descent, which has no density")
        known = getattr(energy, "log_z", None)
        if known is not None and self.temperature == 1:
            half_width = float(getattr(energy, "log_z_half_width", 0.0))
            refusal = energy.log_z_refusal if half_width != half_width else ""
            return LogZ(float(known), half_width, str(refusal))
        x = self.draw(self.available(effort.samples), rng).x
        return log_z_from_samples(Tempered(energy, self.temperature), x, rng, effort)
