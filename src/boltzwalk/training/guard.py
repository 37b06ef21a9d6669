r"""The guard: detectors on the values of an update, which tell a run that leaves its way early.

Three kinds of rules. *Identities* hold in every run, so that their violation is no matter of
degree: with the norm p of the parameters and that of their change u, the triangle inequality

.. math:: |p_t - p_{t-1}| \le u_t ,

and with the moments m, v of Adam and the gradient g

.. math:: \|m_t\| \le \|m_{t-1}\| + \|g_t\| , \qquad \|v_t\| \ge \beta_2 \|v_{t-1}\| ,

also where parameters without a gradient keep their moments.

*Scales* compare batches (:mod:`boltzwalk.training.row_scale`) and walkers with the rows of the
data. *Windows* compare the last updates with those before.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .row_scale import Batches

__all__ = ["PROOF", "Alarm", "Diagnosis", "Guard", "compared_anew"]

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

AWAY = (2.5, 0.4)
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


@dataclass
class Guard:
    """The rules with the values that they remember.

    Attributes:
        batches: The rule on batches.
        updates: The updates of the run.
        weighted: Whether walkers carry weights.
        rate: The learning rate of an update, counted from 0, by the settings.
        acts: Whether batches are refused; else they are told of.
        series: The last values of each name.
        best: The least present distance of walkers so far.
        steepest: The largest present gradient norm of walkers so far.
        moments: The norms of the moments of the optimizer after the last update.
    """

    batches: Batches
    updates: int
    rate: Callable[[int], float]
    weighted: bool = False
    acts: bool = True
    series: dict[str, deque[float]] = field(default_factory=dict)
    best: float = math.inf
    steepest: float = 0.0
    moments: dict[str, float] = field(default_factory=dict)
    noticed: str = ""
    refused: str = ""

    def refuse(self, x: Tensor) -> str:
        r"""Returns why a batch cannot be learnt from; "" where it can, or where nothing is done.

        Arguments:
            x: The rows of the batch, shape (B, \*event).
        """
        problem = self.batches.problem(x)
        self.refused = problem or self.refused
        if self.acts:
            return problem
        self.noticed = problem
        return ""

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
            ("rate", self._rate(update, before, now)),
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
        gradient = now["gradient_norm"]
        decay = max(group.get("weight_decay", 0.0) for group in groups)
        gradient += decay * 2 * now["parameter_norm"]
        betas = [group["betas"] for group in groups if "betas" in group]
        m, v = self.moments.get("exp_avg"), self.moments.get("exp_avg_sq")
        if not betas or m is None or v is None or "exp_avg" not in before:
            return ""
        most = before["exp_avg"] + gradient
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

    def _rate(self, update: int, before: Mapping[str, float], now: Mapping[str, float]) -> str:
        """Whether the learning rate is another than that of the schedule, or grew at once."""
        old, new, due = before["learning_rate"], now["learning_rate"], self.rate(update - 1)
        if abs(new - due) > SLACK * due:
            return (
                f"the learning rate is {new:.3g}, that of the settings and the schedule {due:.3g}"
            )
        if new > JUMP * old:
            return f"the learning rate went from {old:.3g} to {new:.3g} in one update"
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

    def text(self, key: str) -> str:
        """Returns the values that the rules remember, for a checkpoint.

        Arguments:
            key: The settings under which they may be compared.
        """
        series = {name: list(values) for name, values in self.series.items()}
        names = ("best", "steepest", "moments")
        values = {name: getattr(self, name) for name in names}
        return json.dumps({"key": key, "series": series, **values})

    def with_text(self, text: str, key: str) -> Guard:
        """Returns the guard with the values of a checkpoint.

        Arguments:
            text: The text of `text`; "" for none.
            key: The settings; where they are others only the best values are taken.
        """
        values: dict[str, Any] = json.loads(text) if text else {"key": key}
        if values.pop("key") != key:
            return dataclasses.replace(self, best=values["best"], steepest=values["steepest"])
        series = {k: deque(v, maxlen=WINDOW) for k, v in values.pop("series", {}).items()}
        return dataclasses.replace(self, series=series, **values)


def compared_anew(text: str) -> str:
    """Returns the values of a guard under no settings, so that only the best ones are taken.

    Arguments:
        text: The text of a guard; "" for none.
    """
    return json.dumps({**json.loads(text), "key": ""}) if text else ""


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


def _moment_norms(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The norms of the running moments of all parameters."""
    by_name: dict[str, list[Tensor]] = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:  # in their order: that of the state is another after loading
        entry = optimizer.state.get(parameter, {})
        for name in ("exp_avg", "exp_avg_sq"):
            if name in entry:
                by_name.setdefault(name, []).append(entry[name])
    names = list(by_name)
    if not names:
        return {}
    norms = torch.stack([torch.nn.utils.get_total_norm(by_name[name]) for name in names])
    return dict(zip(names, norms.tolist(), strict=True))
