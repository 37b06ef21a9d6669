r"""The guard: detectors on the values of an update, which tell a run that leaves its way early.

Three kinds of rules. *Identities* hold in every run, so that their violation is no matter of
degree: with the norm p of the parameters and that of their change u, the triangle inequality

.. math:: |p_t - p_{t-1}| \le u_t ,

and with the moments m, v of Adam and the gradient g

.. math:: \|m_t\| \le \beta_1 \|m_{t-1}\| + (1 - \beta_1) \|g_t\| , \qquad
          \|v_t\| \ge \beta_2 \|v_{t-1}\| .

*Scales* compare batches and walkers with the rows of the data, whose distances from their mean are
measured before training. *Windows* compare the last updates with those before.

All rules read values that the loop has; none draws a random number, so that a run in which no rule
speaks is the same with and without them.

Not guaranteed: that every harm is noticed. A gradient with a wrong sign, or walkers that miss a
rare mode from the start, are on the scale of the data; `evaluate` tells.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["PROOF", "Alarm", "Diagnosis", "Guard", "RowScale", "row_scale"]

Diagnosis = Literal[
    "batch", "parameters", "optimizer", "rate", "no motion", "explosion", "frozen", "samples",
    "weights", "not finite",
]  # fmt: skip
"""Cause of an alarm, as far as the values tell it."""

PROOF = 50
"""Updates without an alarm after a checkpoint that prove it good: alarms come within as many."""

PRESENT = 20
"""Updates whose median is the present value of a series."""

WINDOW = 200
"""Updates whose values are remembered."""

ROWS = 4096
"""Rows from which the scale of the data is measured."""

FAR = 3.0
"""Distance of a row of a batch from the mean of the data, over the largest of a training row."""

NEAR = 0.3
"""Median distance of the rows of a batch from the mean, over the first percentile of rows."""

FLAT = 1e-3
"""Variance of a batch over that of the data below which its rows are one point."""

SAME = 5
"""Batches in a row that equal each other."""

SLACK = 1e-3
"""Relative rounding of norms in float32 that the identities grant."""

STILL = 1e-3
"""Norm of a change of parameters over its median before, below which nothing learns."""

END = 0.95
"""Share of a run after which a rate may fall to zero."""

JUMP = 4.0
"""Growth of the learning rate in one update: a warm-up doubles it at most."""

TRAVEL = 3.0
"""Travel over distance and noise path of an exploding run; see `diagnostics.verdict`."""

STEEPER = 30.0
"""Growth of the gradient norm of walkers over the largest median before, beyond the start."""

RUNAWAY = 10.0
"""Distance of walkers from the mean of the data, over that of the data."""

SHARP = 300.0
"""Energy gap over the temperature, in nats, where walkers are at a temperature of 0.5 or more."""

WARM = 0.5
"""Temperature from which energies over it are those of a density."""

ACCEPTED = 0.05
"""Share of accepted proposals below which walkers do not move."""

AWAY = (2.5, 0.15)
"""Distance of walkers to the batch: times the best so far, and above it."""

FEW = 0.02
"""Effective sample size of weighted walkers over their number."""

NAMES = (
    "loss", "learning_rate", "gradient_norm", "parameter_norm", "update_norm", "energy_gap",
    "gradient_mean", "travel", "distance", "noise_path", "temperature", "acceptance",
    "walker_scale", "walker_distance", "ess",
)  # fmt: skip
"""Values of an update that the rules read; a method may lack some of them."""


class Alarm(NamedTuple):
    """A rule that spoke.

    Attributes:
        diagnosis: The cause.
        reason: The value, the limit, and since when.
        update: The update after which the rule spoke.
    """

    diagnosis: Diagnosis
    reason: str
    update: int


class RowScale(NamedTuple):
    """Scale of the training rows by the distances from their mean.

    Attributes:
        mean: The mean row, flat.
        low: The first percentile of the distances.
        largest: The largest distance.
        variance: The mean of their squares.
        distinct: The share of distinct rows.
    """

    mean: Tensor
    low: float
    largest: float
    variance: float
    distinct: float


@torch.no_grad()
def row_scale(rows: Tensor) -> RowScale:
    r"""Returns the scale of training rows.

    Arguments:
        rows: The rows, shape (N, \*event).

    Example:
        >>> row_scale(torch.tensor([[-1.0], [1.0]])).largest
        1.0
    """
    flat = rows.flatten(1)
    mean = flat.mean(0)
    radii = torch.cat([(part - mean).norm(dim=1) for part in flat.split(ROWS)]).double()
    some = flat[:: -(-len(flat) // ROWS)]
    return RowScale(
        mean,
        float(radii.sort().values[len(radii) // 100]),
        float(radii.max()),
        float(radii.square().mean()),
        len(some.unique(dim=0)) / len(some),
    )


@dataclass
class Guard:
    """The rules with the values that they remember.

    Attributes:
        scale: The scale of the training rows.
        updates: The updates of the run.
        weighted: Whether walkers carry weights.
        rows: The training rows; where a batch has all of them, batches may be equal.
        acts: Whether batches are refused; else they are told of.
        series: The last values of each name.
        best: The least present distance of walkers so far.
        steepest: The largest present gradient norm of walkers so far.
        moments: The norms of the moments of the optimizer after the last update.
        same: How many batches in a row were equal.
    """

    scale: RowScale
    updates: int
    weighted: bool = False
    rows: int = 0
    acts: bool = True
    series: dict[str, deque[float]] = field(default_factory=dict)
    best: float = math.inf
    steepest: float = 0.0
    moments: dict[str, float] = field(default_factory=dict)
    same: int = 0
    last_batch: Tensor | None = None
    noticed: str = ""
    refused: str = ""

    def refuse(self, x: Tensor) -> str:
        r"""Returns why a batch cannot be learnt from; "" where it can, or where nothing is done.

        Arguments:
            x: The rows of the batch, shape (B, \*event).
        """
        problem = self._batch_problem(x)
        self.refused = problem or self.refused
        if self.acts:
            return problem
        self.noticed = problem
        return ""

    def _batch_problem(self, x: Tensor) -> str:
        """Why a batch cannot be learnt from, by the scale of the data."""
        if not bool(x.isfinite().all()):
            return "it has values that are not finite"
        flat, scale = x.flatten(1), self.scale
        radii = (flat - scale.mean).norm(dim=1)
        middle, far = float(radii.median()), float(radii.max())
        if far > FAR * scale.largest:
            return (
                f"a row is {far:.3g} from the mean of the data, training rows at most "
                f"{scale.largest:.3g} (limit {FAR:g} times)"
            )
        if len(x) >= 8 and middle < NEAR * scale.low:
            return (
                f"its rows are {middle:.3g} from the mean of the data, 99 % of the training rows "
                f"more than {scale.low:.3g} (limit {NEAR:g} times)"
            )
        if len(x) >= 8 and scale.distinct > 0.5:
            variance = float((flat - flat[:1]).square().sum(1).mean())
            if variance < FLAT * scale.variance:
                return (
                    f"its rows are one point, with {variance / scale.variance:.2g} of the variance"
                )
        return self._repeat(x)

    def _repeat(self, x: Tensor) -> str:
        """Whether a batch is the same as several before it."""
        last, self.last_batch = self.last_batch, x
        if self.scale.distinct < 0.5 or len(x) < 8 or len(x) >= self.rows > 0:
            return ""
        same = last is not None and last.shape == x.shape and torch.equal(last, x)
        self.same = self.same + 1 if same else 0
        return f"it equals the {SAME} before it" if self.same >= SAME else ""

    def check(
        self, update: int, info: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> Alarm | None:
        """Returns the alarm after an update, or None.

        Arguments:
            update: How many updates are done.
            info: The numbers of the update.
            optimizer: The optimizer of the parameters.
        """
        before = {name: self._last(name) for name in NAMES}
        known = [name for name in NAMES if name in info]
        values = torch.stack([info[name].detach().reshape(()).float() for name in known]).tolist()
        now = dict(zip(known, values, strict=True))
        for name, value in now.items():
            self.series.setdefault(name, deque(maxlen=WINDOW)).append(value)
        for diagnosis, reason in (
            ("batch", self.noticed),
            ("optimizer", self._moments(optimizer, now)),
            ("parameters", _outside_change(before, now)),
            ("rate", _rate_jump(before, now)),
            ("no motion", self._standstill(update)),
            *self._dynamics(now),
        ):
            if reason:
                return Alarm(diagnosis, reason, update)  # type: ignore[arg-type]
        return None

    def _last(self, name: str) -> float:
        values = self.series.get(name)
        return values[-1] if values else math.nan

    def _present(self, name: str, skip: int = 0) -> float:
        """The median of the last values of a name, without the newest `skip`; nan for too few."""
        values = list(self.series.get(name, ()))
        recent = values[len(values) - skip - PRESENT : len(values) - skip]
        return median(recent) if len(values) >= skip + PRESENT else math.nan

    def _moments(self, optimizer: torch.optim.Optimizer, now: Mapping[str, float]) -> str:
        """Which identity of the moments of the optimizer does not hold."""
        before, self.moments = self.moments, _moment_norms(optimizer)
        groups = optimizer.param_groups
        gradient = now.get("gradient_norm", math.nan)
        decay = max(group.get("weight_decay", 0.0) for group in groups)
        gradient += decay * 2 * now.get("parameter_norm", 0.0)
        betas = [group["betas"] for group in groups if "betas" in group]
        m, v = self.moments.get("exp_avg"), self.moments.get("exp_avg_sq")
        if not betas or m is None or v is None or "exp_avg" not in before:
            return ""
        most = max(b[0] for b in betas) * before["exp_avg"] + gradient
        least = min(b[1] for b in betas) * before["exp_avg_sq"]
        if m > (1 + SLACK) * most:
            return (
                f"the mean gradient of the optimizer has norm {m:.3g}, more than the {most:.3g} "
                "that it had and the gradient of this update together"
            )
        if v < (1 - SLACK) * least and least > 0:
            return (
                f"the mean square gradient of the optimizer has norm {v:.3g}, less than the "
                f"{least:.3g} to which it can fall in one update"
            )
        return ""

    def _standstill(self, update: int) -> str:
        """Whether parameters stopped to change long before the end of the run."""
        changes = list(self.series.get("update_norm", ()))
        if len(changes) < 2 * PRESENT or update > END * self.updates:
            return ""
        usual, now = median(changes[:-PRESENT]), max(changes[-PRESENT // 2 :])
        if not now <= STILL * usual:
            return ""
        return (
            f"parameters change by {now:.3g} an update, before by {usual:.3g} (limit {STILL:g} "
            f"times), at update {update} of {self.updates}: the learning rate has fallen to zero"
        )

    def _dynamics(self, now: Mapping[str, float]) -> list[tuple[str, str]]:
        """The rules on walkers and energies."""
        result = [("explosion", self._explosion())]
        accepted = self._present("acceptance")
        if accepted < ACCEPTED:
            result.append(
                ("frozen", f"{accepted:.1%} of the proposals are accepted (limit {ACCEPTED:.0%})")
            )
        ess = self._present("ess")
        if self.weighted and ess < FEW:
            result.append(
                (
                    "weights",
                    f"the effective sample size is {ess:.2%} of the walkers (limit {FEW:.0%})",
                )
            )
        if "walker_distance" in now:
            result.append(("samples", self._away()))
        return result

    def _explosion(self) -> str:
        """Whether walkers or energies leave the scale of the data."""
        walkers = self._present("walker_scale")
        if walkers > RUNAWAY and not walkers < 2 * self.series["walker_scale"][0]:
            return (
                f"walkers are {walkers:.3g} times as far from the mean of the data as the data "
                f"(limit {RUNAWAY:g})"
            )
        travel, distance = self._present("travel"), self._present("distance")
        noise = self._last("noise_path")
        reach = distance + (0.0 if math.isnan(noise) else noise)
        if travel > TRAVEL * reach:
            return f"travel {travel:.3g} is over {TRAVEL:g} times the {reach:.3g} that walkers need"
        temperature = self._last("temperature")
        gap = abs(self._present("energy_gap")) / temperature if temperature >= WARM else math.nan
        if gap > SHARP:
            return (
                f"energies of data and walkers differ by {gap:.3g} times the temperature (limit "
                f"{SHARP:g})"
            )
        slope, before = self._present("gradient_mean"), self.steepest
        earlier = self._present("gradient_mean", skip=PRESENT)
        self.steepest = max(self.steepest, 0.0 if math.isnan(earlier) else earlier)
        long = len(self.series.get("gradient_mean", ())) >= WINDOW // 2
        if long and math.isnan(distance) and slope > STEEPER * before > 0:
            return (
                f"the gradient norm of walkers is {slope:.3g}, {slope / before:.3g} times its "
                f"largest value before (limit {STEEPER:g})"
            )
        return ""

    def _away(self) -> str:
        """Whether walkers left the data that they had reached."""
        present, best = self._present("walker_distance"), self.best
        times, above = AWAY
        if present < best:
            self.best = present
        if present > max(times * best, best + above):
            return (
                f"the distance of walkers to the data is {present:.2g}, {best:.2g} at its best "
                f"(limit {max(times * best, best + above):.2g})"
            )
        return ""

    def text(self) -> str:
        """Returns the values that the rules remember, for a checkpoint."""
        kept = {
            "series": {name: list(values) for name, values in self.series.items()},
            **{name: getattr(self, name) for name in ("best", "steepest", "moments")},
        }
        return json.dumps(kept)

    def with_text(self, text: str) -> Guard:
        """Returns the guard with the values of a checkpoint.

        Arguments:
            text: The text of `text`; "" for none.
        """
        kept: dict[str, Any] = json.loads(text) if text else {}
        series = {k: deque(v, maxlen=WINDOW) for k, v in kept.pop("series", {}).items()}
        return dataclasses.replace(self, series=series, **kept)


def _outside_change(before: Mapping[str, float], now: Mapping[str, float]) -> str:
    """Whether parameters changed by more than the optimizer changed them."""
    old, new, made = before["parameter_norm"], now["parameter_norm"], now["update_norm"]
    change = abs(new - old)
    if not change > (1 + SLACK) * made + SLACK * max(new, old):
        return ""
    return (
        f"the norm of the parameters went from {old:.4g} to {new:.4g}, and the optimizer changed "
        f"them by {made:.3g} only: something else wrote to them"
    )


def _rate_jump(before: Mapping[str, float], now: Mapping[str, float]) -> str:
    """Whether the learning rate grew at once."""
    old, new = before["learning_rate"], now["learning_rate"]
    if not new > JUMP * old:
        return ""
    return f"the learning rate went from {old:.3g} to {new:.3g} in one update"


def _moment_norms(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The norms of the running moments of all parameters."""
    by_name: dict[str, list[Tensor]] = {}
    for entry in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            if name in entry:
                by_name.setdefault(name, []).append(entry[name])
    names = list(by_name)
    if not names:
        return {}
    norms = torch.stack([torch.nn.utils.get_total_norm(by_name[name]) for name in names])
    return dict(zip(names, norms.tolist(), strict=True))
