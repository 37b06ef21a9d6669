"""Damages the core in one place at a time and demands that a test notices.

    PYTHONPATH=src python tests/mutate.py            # all mutants, some minutes
    PYTHONPATH=src python tests/mutate.py hmc nan    # those whose name contains one of the words

Each mutant is a piece of text that must occur exactly once in its file, and what it becomes. The
process imports torch once and forks for each mutant, so a mutant costs its tests and no more. Exits
with 1 if a mutant survives, if a piece of text is gone, or if the undamaged code fails.
"""

import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import mutants_cooperative
import mutants_evaluation
import mutants_generalized
import mutants_study

# ruff: noqa: E501 (a table of code)

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "src" / "boltzwalk"
SECONDS = 300  # no mutant may hang the run

MODULES = (mutants_evaluation, mutants_cooperative, mutants_generalized, mutants_study)
TABLES = {file: rows for module in MODULES for file, rows in module.TABLES.items()}
TESTS = {file: names for module in MODULES for file, names in module.TESTS.items()}


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str


def mutants(file: str, *rows: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(name, file, old, new) for name, old, new in rows]


WALKERS = mutants(
    "walkers.py",
    ("log Z without the mean", " - math.log(log_w.shape[-1])", ""),
    (
        "ESS upside down",
        "torch.exp(2 * torch.logsumexp(log_w, -1) - torch.logsumexp(2 * log_w, -1))",
        "torch.exp(torch.logsumexp(2 * log_w, -1) - 2 * torch.logsumexp(log_w, -1)).clamp(min=1)",
    ),
    ("ESS without the square", "torch.logsumexp(2 * log_w, -1)", "torch.logsumexp(log_w, -1)"),
    (
        "log Z over all the replicates",
        "torch.logsumexp(log_w, -1) - math.log",
        "torch.logsumexp(log_w.flatten(), -1) - math.log",
    ),
    ("put at the front", "index_copy(0, index, new)", "index_copy(0, index.sort().values, new)"),
    ("put in place", "field.index_copy(0", "field.index_copy_(0"),
    (
        "indexing forgets a field",
        'if field.name != "memory"]',
        'if field.name != "memory"][:3] * 0 or ["x", "energy", "x", "log_w"]',
    ),
    (
        "memory is not indexed",
        "function(*(walkers.memory[i] for walkers in populations))",
        "first.memory[i]",
    ),
    ("memory is lost", "for i in range(len(first.memory))", "for i in range(0)"),
    ("where upside down", "return _each(pick, a, b)", "return _each(pick, b, a)"),
    ("cat reverses", "torch.cat(fields)", "torch.cat(fields[::-1])"),
    (
        "evaluate forgets the weights",
        "torch.zeros_like(u) if log_w is None else log_w",
        "torch.zeros_like(u)",
    ),
    ("evaluate forgets the memory", "else log_w, memory)", "else log_w)"),
    ("evaluate keeps the graph", "Walkers(x.detach(), u", "Walkers(x, u"),
)

ENERGY = mutants(
    "energies/energy.py",
    ("energy of shape (N, 1) allowed", "if u.shape != x.shape[:1]:", "if False:"),
    ("closed form ignored", "if closed_form is not None:", "if False:"),
    ("gradient of the mean", "torch.autograd.grad(u.sum(), x,", "torch.autograd.grad(u.mean(), x,"),
    (
        "no gradient inside no_grad",
        "with torch.enable_grad():",
        "with torch.set_grad_enabled(torch.is_grad_enabled()):",
    ),
    (
        "gradients of the parameters",
        "(grad,) = torch.autograd.grad(u.sum(), x, retain_graph=keep_graph)",
        "u.sum().backward(retain_graph=keep_graph); grad = x.grad",
    ),
    ("the energy keeps its graph", "return u.detach(), grad", "return u, grad"),
    ("batch norm allowed", "isinstance(layer, nn.modules.batchnorm._BatchNorm)", "False"),
    (
        "dropout allowed",
        "isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0",
        "False",
    ),
    ("inactive dropout refused", " and layer.p > 0", ""),
)

KERNEL = mutants(
    "kernels/kernel.py",
    ("no accept step", "accepted = u < acceptance", "accepted = u < 2"),
    ("accept inverted", "accepted = u < acceptance", "accepted = u > acceptance"),
    ("walkers swapped", "where(accepted, proposal, walkers)", "where(accepted, walkers, proposal)"),
    ("one uniform for all walkers", "acceptance.shape, generator", "(1,), generator"),
    (
        "batch accepted as one",
        "accepted = u < acceptance",
        "accepted = u[:1].expand_as(u) < acceptance.mean()",
    ),
    ("nan ratio accepted", " & ~log_ratio.isnan()", " | log_ratio.isnan()"),
    (
        "infinite energy accepted",
        "event_sum(proposal.grad) + proposal.energy",
        "event_sum(proposal.grad)",
    ),
    ("infinite gradient accepted", "event_sum(proposal.grad) + proposal.energy", "proposal.energy"),
    ("acceptance above one", ".clamp(max=0).exp()", ".exp()"),
    (
        "acceptance is the indicator",
        "Info(acceptance, accepted)",
        "Info(accepted.to(acceptance), accepted)",
    ),
    ("refused moves half accepted", "log_ratio, -math.inf)", "log_ratio, -1.0)"),
    (
        "event sum over the walkers",
        "field.sum(tuple(range(1, field.ndim)))",
        "field.sum(tuple(range(field.ndim - 1)))",
    ),
    (
        "unadjusted acceptance of zero",
        "walkers.energy.new_ones(())",
        "walkers.energy.new_zeros(())",
    ),
    ("all weights allowed", "if not kernel.weighable:", "if False:"),
    ("zero is positive", "if not 0 < value < math.inf", "if not 0 <= value < math.inf"),
    ("infinity is finite", "if not 0 < value < math.inf", "if not 0 < value"),
    ("nan is positive", "if not 0 < value < math.inf", "if value <= 0 or value == math.inf"),
)

LANGEVIN = mutants(
    "kernels/langevin.py",
    (
        "noise sqrt(eps) instead of sqrt(2 eps)",
        "math.sqrt(2 * step_size * temperature)",
        "math.sqrt(step_size * temperature)",
    ),
    (
        "noise without the temperature",
        "math.sqrt(2 * step_size * temperature)",
        "math.sqrt(2 * step_size)",
    ),
    (
        "noise with the square of the temperature",
        "math.sqrt(2 * step_size * temperature)",
        "math.sqrt(2 * step_size) * temperature",
    ),
    ("drift uphill", "alpha=-step_size)", "alpha=step_size)"),
    ("drift halved", "alpha=-step_size)", "alpha=-step_size / 2)"),
    ("noise shared by all walkers", "torch.randn(x.shape,", "torch.randn((1, *x.shape[1:]),"),
    (
        "proposal ratio dropped",
        "(old.energy - new.energy).add_(work, alpha=0.5)",
        "(old.energy - new.energy)",
    ),
    ("proposal ratio upside down", ".add_(work, alpha=0.5)", ".sub_(work, alpha=0.5)"),
    ("proposal ratio off by 2", ".add_(work, alpha=0.5)", ".add_(work)"),
    (
        "energy difference reversed",
        "(old.energy - new.energy).add_",
        "(new.energy - old.energy).add_",
    ),
    (
        "reverse move uses the old gradient",
        "path.mul_(old.grad + new.grad)",
        "path.mul_(old.grad + old.grad)",
    ),
    (
        "reverse move: sign of the gradient",
        "path.mul_(old.grad + new.grad)",
        "path.mul_(old.grad - new.grad)",
    ),
    ("second order of the ratio dropped", ".add_(old.grad - new.grad, alpha=step_size / 2)", ""),
    ("second order of the ratio off by 2", "alpha=step_size / 2)", "alpha=step_size)"),
    ("second order of the ratio: sign", ".add_(old.grad - new.grad,", ".sub_(old.grad - new.grad,"),
    (
        "ratio without the temperature",
        ".add_(work, alpha=0.5) / temperature",
        ".add_(work, alpha=0.5)",
    ),
    (
        "mala forgets its temperature in the ratio",
        "proposal, self.step_size, self.temperature)",
        "proposal, self.step_size)",
    ),
    (
        "mala: gradient cache goes stale",
        "return accept(walkers, proposal, log_ratio, rng)",
        "new, info = accept(walkers, proposal, ratio, rng); return dataclasses.replace(new, grad=walkers.grad), info",
    ),
    (
        "mala: energy cache goes stale",
        "return accept(walkers, proposal, log_ratio, rng)",
        "new, info = accept(walkers, proposal, ratio, rng); return dataclasses.replace(new, energy=walkers.energy), info",
    ),
    (
        "mala forgets the weights",
        "proposal = walkers_at(energy, y, walkers.log_w)",
        "proposal = walkers_at(energy, y)",
    ),
    (
        "ula forgets the weights",
        "return walkers_at(energy, y, walkers.log_w), unadjusted_info(walkers)",
        "return walkers_at(energy, y), unadjusted_info(walkers)",
    ),
    (
        "clip from above only",
        "clamp(-self.gradient_clip, self.gradient_clip)",
        "clamp(max=self.gradient_clip)",
    ),
    (
        "clip of the step instead of the gradient",
        "clamp(-self.gradient_clip, self.gradient_clip)",
        "clamp(-self.gradient_clip / self.step_size, self.gradient_clip / self.step_size)",
    ),
    (
        "box before the move",
        "y = y.clamp_(*self.box)",
        "y = y + walkers.x.clamp(*self.box) - walkers.x",
    ),
    ("box ignored", "y = y.clamp_(*self.box)", "y = y"),
    (
        "clipped chains are weighable",
        "return self.gradient_clip is None and self.box is None",
        "return self.box is None",
    ),
    (
        "boxed chains are weighable",
        "return self.gradient_clip is None and self.box is None",
        "return self.gradient_clip is None",
    ),
    ("noise temperature off by 2", "noise**2 / (2 * step_size)", "noise**2 / step_size"),
    ("empty box allowed", "not self.box[0] < self.box[1]", "not self.box[0] <= self.box[1]"),
    (
        "ula claims invariance",
        "invariant: ClassVar[bool] = False",
        "invariant: ClassVar[bool] = True",
    ),
)

HAMILTONIAN = mutants(
    "kernels/hamiltonian.py",
    (
        "hmc: first kick is a whole one",
        "torch.add(momentum, walkers.grad, alpha=-step_size / 2)",
        "torch.add(momentum, walkers.grad, alpha=-step_size)",
    ),
    (
        "hmc: last kick is a whole one",
        "alpha=-step_size / 2 if last else -step_size",
        "alpha=-step_size",
    ),
    (
        "hmc: inner kicks are half ones",
        "alpha=-step_size / 2 if last else -step_size",
        "alpha=-step_size / 2",
    ),
    (
        "hmc: kick uphill",
        "torch.add(momentum, walkers.grad, alpha=-step_size / 2)",
        "torch.add(momentum, walkers.grad, alpha=step_size / 2)",
    ),
    (
        "hmc: momentum changed in place",
        "momentum = torch.add(momentum, walkers.grad, alpha=-step_size / 2)",
        "momentum.add_(walkers.grad, alpha=-step_size / 2)",
    ),
    ("hmc: one leapfrog step too many", "for i in range(steps):", "for i in range(steps + 1):"),
    ("hmc: drift of half a step", "momentum, alpha=step_size)", "momentum, alpha=step_size / 2)"),
    (
        "hmc: kinetic energy without the half",
        "event_sum(momentum.square()) / 2",
        "event_sum(momentum.square())",
    ),
    (
        "hmc: kinetic energy left out",
        "_kinetic(start) - _kinetic(end) + walkers.energy",
        "walkers.energy",
    ),
    (
        "hmc: kinetic energy reversed",
        "_kinetic(start) - _kinetic(end)",
        "_kinetic(end) - _kinetic(start)",
    ),
    (
        "hmc: potential energy reversed",
        "+ walkers.energy - proposal.energy",
        "- walkers.energy + proposal.energy",
    ),
    ("hmc: accepts without the temperature", "log_ratio / self.temperature", "log_ratio"),
    ("hmc: momentum without the temperature", "start *= math.sqrt(self.temperature)", "start *= 1"),
    ("hmc: variance squared", "start *= math.sqrt(self.temperature)", "start *= self.temperature"),
    (
        "hmc: same momentum for all walkers",
        "torch.randn(x.shape,",
        "torch.randn((1, *x.shape[1:]),",
    ),
    (
        "hmc: gradients miscounted",
        "return self.leapfrog_steps\n",
        "return self.leapfrog_steps + 1\n",
    ),
    (
        "hmc: gradient of the proposal kept",
        "return accept(walkers, proposal, log_ratio / self.temperature, rng)",
        "new, info = accept(walkers, proposal, log_ratio / self.temperature, rng); object.__setattr__(new, 'grad', proposal.grad); return new, info",
    ),
    (
        "hmc: forgets the weights",
        "walkers = walkers_at(energy, x, walkers.log_w)",
        "walkers = walkers_at(energy, x)",
    ),
    ("hmc: no leapfrog step allowed", "if self.leapfrog_steps < 1:", "if self.leapfrog_steps < 0:"),
    (
        "hmc: drift without the half",
        "(self.leapfrog_steps * self.step_size) ** 2 / 2",
        "(self.leapfrog_steps * self.step_size) ** 2",
    ),
    (
        "hmc: usual target",
        "target_acceptance: ClassVar[float] = 0.8",
        "target_acceptance: ClassVar[float] = 0.651",
    ),
)

KINETIC = mutants(
    "kernels/kinetic.py",
    (
        "kinetic: no inverse mass in the kick",
        "-self.step_size / 2 * self.inverse_mass",
        "-self.step_size / 2",
    ),
    (
        "kinetic: whole kicks",
        "-self.step_size / 2 * self.inverse_mass",
        "-self.step_size * self.inverse_mass",
    ),
    (
        "kinetic: kick uphill",
        "h, kick = self.step_size, -self.step_size",
        "h, kick = self.step_size, self.step_size",
    ),
    (
        "kinetic: friction halved",
        "math.exp(-self.friction * h)",
        "math.exp(-self.friction * h / 2)",
    ),
    (
        "kinetic: noise of half the friction",
        "-math.expm1(-2 * self.friction * h)",
        "-math.expm1(-self.friction * h)",
    ),
    (
        "kinetic: noise without the temperature",
        "math.sqrt(self.inverse_mass * self.temperature * variance)",
        "math.sqrt(self.inverse_mass * spread)",
    ),
    (
        "kinetic: noise without the mass",
        "math.sqrt(self.inverse_mass * self.temperature * variance)",
        "math.sqrt(self.temperature * variance)",
    ),
    (
        "kinetic: noise not rooted",
        "math.sqrt(self.inverse_mass * self.temperature * variance)",
        "self.inverse_mass * self.temperature * spread",
    ),
    (
        "kinetic: first drift whole",
        "x = torch.add(walkers.x, v, alpha=h / 2)",
        "x = torch.add(walkers.x, v, alpha=h)",
    ),
    ("kinetic: last drift whole", "alpha=h / 2 if i == self.substeps - 1 else h)", "alpha=h)"),
    ("kinetic: inner drifts half", "alpha=h / 2 if i == self.substeps - 1 else h)", "alpha=h / 2)"),
    ("kinetic: second kick left out", "v = v.add_(grad, alpha=kick)", "v = v"),
    (
        "kinetic: first kick after the friction",
        "v = torch.add(v, grad, alpha=kick).mul_(decay)",
        "v = torch.mul(v, keep).add_(grad, alpha=kick)",
    ),
    ("kinetic: velocity forgotten", "walkers.log_w, memory=(v,))", "walkers.log_w)"),
    ("kinetic: velocity never used", "if not walkers.memory:", "if True:"),
    (
        "kinetic: first velocity of unit variance",
        ".mul_(math.sqrt(self.inverse_mass * self.temperature))",
        "",
    ),
    (
        "kinetic: velocity changed in place",
        "v = torch.add(v, grad, alpha=kick)",
        "v = v.add_(grad, alpha=kick)",
    ),
    (
        "kinetic: noise shared by all walkers",
        "torch.randn(x.shape,",
        "torch.randn((1, *x.shape[1:]),",
    ),
    ("kinetic: foreign memory taken", "!= [walkers.x.shape]:", "== []:"),
    ("kinetic: gradients miscounted", "return self.substeps + 1", "return self.substeps"),
    (
        "kinetic: drift without the mass",
        "self.inverse_mass / self.friction * (t +",
        "1 / self.friction * (t +",
    ),
    (
        "kinetic: drift in the long run",
        "(t + math.expm1(-self.friction * t) / self.friction)",
        "t",
    ),
    (
        "kinetic: claims weights",
        "weighable: ClassVar[bool] = False",
        "weighable: ClassVar[bool] = True",
    ),
    (
        "kinetic: cache of the middle",
        "return walkers_at(energy, x, walkers.log_w, memory=(v,)), unadjusted_info(walkers)",
        "new = walkers_at(energy, x, walkers.log_w, memory=(v,)); object.__setattr__(new, 'grad', grad); return new, unadjusted_info(walkers)",
    ),
)

DESCENT = mutants(
    "kernels/descent.py",
    (
        "descent uphill",
        "torch.add(walkers.x, walkers.grad, alpha=-self.step_size)",
        "torch.add(walkers.x, walkers.grad, alpha=self.step_size)",
    ),
    ("descent: no drift", "return self.step_size\n", "return 0.0\n"),
    (
        "momentum upside down",
        "torch.lerp(walkers.grad, average, self.momentum)",
        "torch.lerp(average, walkers.grad, self.momentum)",
    ),
    (
        "momentum is a sum",
        "torch.lerp(walkers.grad, average, self.momentum)",
        "walkers.grad + self.momentum * average",
    ),
    ("momentum forgotten", "walkers.log_w, memory=(average,))", "walkers.log_w)"),
    ("adam without the first correction", "average / (1 - self.beta1**t) / root", "average / root"),
    (
        "adam without the second correction",
        "(square / (1 - self.beta2**t)).sqrt_()",
        "square.sqrt()",
    ),
    ("adam: floor inside the root", ".sqrt_().add_(self.epsilon)", ".add_(self.epsilon).sqrt_()"),
    ("adam: first weight for both", "square, self.beta2)", "square, self.beta1)"),
    (
        "adam: square of the average",
        "torch.lerp(grad.square(), square",
        "torch.lerp(average.square(), square",
    ),
    ("adam: steps not counted", "count = count + 1", "count = count * 0 + 1"),
    ("adam: one count for all", "t = count.reshape", "t = count.max().expand_as(count).reshape"),
    (
        "adam: uphill",
        "torch.add(x, move, alpha=-self.step_size)",
        "torch.add(x, move, alpha=self.step_size)",
    ),
    ("adam: foreign memory taken", "if got and got != shapes:", "if False:"),
    ("shares of one allowed", "if not 0 <= value < 1:", "if not 0 <= value <= 1:"),
    ("negative shares allowed", "if not 0 <= value < 1:", "if not value < 1:"),
)

INDEPENDENCE = mutants(
    "kernels/independence.py",
    (
        "independence: ratio reversed",
        "(walkers.energy - new.energy)",
        "(new.energy - walkers.energy)",
    ),
    (
        "independence: proposal ignored",
        "/ self.temperature + proposal_log_ratio",
        "/ self.temperature",
    ),
    (
        "independence: proposal reversed",
        "/ self.temperature + proposal_log_ratio",
        "/ self.temperature - proposal_log_ratio",
    ),
    (
        "independence: temperature ignored",
        "/ self.temperature + proposal_log_ratio",
        "+ proposal_log_ratio",
    ),
    (
        "independence: proposal tempered too",
        "(walkers.energy - new.energy) / self.temperature + proposal_log_ratio",
        "(walkers.energy - new.energy + proposal_log_ratio) / self.temperature",
    ),
    (
        "independence: forgets the weights",
        "new = walkers_at(energy, y, walkers.log_w)",
        "new = walkers_at(energy, y)",
    ),
    ("independence: any shape", "if y.shape != walkers.x.shape:", "if False:"),
)

ADAPTATION = mutants(
    "kernels/adaptation.py",
    (
        "adaptation: wrong way",
        "info.acceptance.mean().item() - target)",
        "target - info.acceptance.mean().item())",
    ),
    (
        "adaptation: target ignored",
        "target = default if target is None else target",
        "target = usual",
    ),
    ("adaptation: gain does not fall", "4 * t**-0.6", "4"),
    (
        "adaptation: average of all",
        "second_half = log_steps[steps // 2 :]",
        "second_half = log_steps",
    ),
    (
        "adaptation: step size kept",
        "kernel = dataclasses.replace(kernel, step_size=math.exp(log_step))",
        "pass",
    ),
    ("adaptation: last step size", "math.exp(mean)", "math.exp(second_half[-1])"),
    (
        "adaptation: walkers stay",
        "walkers, info = kernel.step(energy, walkers, rng)",
        "_, info = kernel.step(energy, walkers, rng)",
    ),
    ("adaptation: any target", "if not 0 < target < 1:", "if not 0 <= target <= 1:"),
    ("adaptation: no steps", "if steps < 1:", "if steps < 0:"),
    (
        "adaptation: kernels without accept step",
        "if default is None or initial is None:",
        "if first is None:",
    ),
)

CHAIN = mutants(
    "kernels/chain.py",
    ("chain: a step short", "for _ in range(steps):", "for _ in range(max(1, steps - 1)):"),
    ("chain: acceptance summed", "acceptance.mean() / steps", "acceptance.mean()"),
    (
        "chain: acceptance of the last step",
        "acceptance += info.acceptance",
        "acceptance = info.acceptance * steps",
    ),
    (
        "chain: gradient summed",
        "gradient_mean=gradient_sum.mean() / steps",
        "gradient_mean=gradient_sum.mean()",
    ),
    (
        "chain: gradient after the step",
        "        if diagnose:\n            gradient_sum += _norm(walkers.grad)\n        walkers, info = kernel.step(energy, walkers, rng)",
        "        walkers, info = kernel.step(energy, walkers, rng)\n        if diagnose:\n            gradient_sum += _norm(walkers.grad)",
    ),
    ("chain: first gradient is the last", "_norm(start.grad)", "_norm(walkers.grad)"),
    (
        "chain: last gradient is the first",
        "gradient_last=_norm(walkers.grad)",
        "gradient_last=_norm(start.grad)",
    ),
    ("chain: displacement from zero", "_norm(walkers.x - start.x)", "_norm(walkers.x)"),
    (
        "chain: norm of the mean",
        "gradient_first=_norm(start.grad).mean()",
        "gradient_first=start.grad.mean(0).norm()",
    ),
    ("chain: no steps", "if steps < 1:", "if steps < 0:"),
    (
        "chain: waits for the device",
        "acceptance += info.acceptance",
        "acceptance += info.acceptance; info.accepted.any().item()",
    ),
    (
        "chain: remembers everything",
        "walkers, info = kernel.step(energy, walkers, rng)",
        "walkers, info = kernel.step(energy, walkers, rng); run.__dict__.setdefault('past', []).append(walkers)",
    ),
    (
        "chain: diagnosis made up",
        "torch.full_like(mean_acceptance, math.nan)",
        "torch.zeros_like(accepted)",
    ),
)

RESAMPLING = mutants(
    "smc/resampling.py",
    (
        "resample overflows",
        "torch.softmax(log_w.double(), 0)",
        "log_w.double().exp() / log_w.double().exp().sum()",
    ),
    ("resample adds in float32", "shares.cumsum(0)", "shares.float().cumsum(0).double()"),
    ("resample without the offset", "device=log_w.device) + u)", "device=log_w.device) + 0.5)"),
    ("systematic is stratified", 'count = 1 if scheme == "systematic" else n', "count = n"),
    (
        "multinomial is stratified",
        "points = u.sort().values",
        "points = (torch.arange(n) + u) / n",
    ),
    ("multinomial out of order", "points = u.sort().values", "points = u"),
    ("resample without a weight", "if not bool(shares.isfinite().all()):", "if False:"),
    (
        "resample keeps the weights",
        "return dataclasses.replace(survivors, log_w=equal)",
        "return survivors",
    ),
    (
        "resample forgets the evidence",
        "equal = log_mean_weight(walkers.log_w)",
        "equal = walkers.log_w.new_zeros(())",
    ),
    (
        "resample: one weight for all",
        ".expand(len(walkers)).clone()",
        ".expand(len(walkers))",
    ),
    (
        "resample off by one",
        "torch.searchsorted(ends / ends[-1], points)",
        "(torch.searchsorted(ends / ends[-1], points) + 1).clamp(max=len(ends) - 1)",
    ),
    (
        "resample: points beyond the sum",
        "torch.searchsorted(ends / ends[-1], points)",
        "torch.searchsorted(ends, points).clamp(max=len(ends) - 1)",
    ),
    ("replicates mix", "index[i] = i * size + ancestors", "index[i] = ancestors"),
    ("replicates: threshold of all", "threshold * size)", "threshold * len(walkers))"),
    (
        "replicates: nan is enough",
        "low = ~(effective_sample_size(blocks) >= threshold * size)",
        "low = effective_sample_size(blocks) < threshold * size",
    ),
    (
        "replicates: at the threshold",
        "effective_sample_size(blocks) >= threshold",
        "effective_sample_size(blocks) > threshold",
    ),
    (
        "replicates: evidence of all",
        "log_w[i] = log_mean_weight(blocks[i])",
        "log_w[i] = log_mean_weight(walkers.log_w)",
    ),
    (
        "replicates: all resampled",
        "chosen = low.nonzero().flatten().tolist()",
        "chosen = list(range(replicates))",
    ),
    ("replicates: weights changed in place", "log_w = blocks.clone()", "log_w = blocks"),
    (
        "replicates: scheme ignored",
        "ancestors(blocks[i], rng, scheme)",
        "ancestors(blocks[i], rng)",
    ),
    ("threshold of zero", "if not 0 < threshold <= 1:", "if not 0 <= threshold <= 1:"),
    ("threshold above one", "if not 0 < threshold <= 1:", "if not 0 < threshold:"),
    ("threshold of nan", "if not 0 < threshold <= 1:", "if threshold <= 0 or threshold > 1:"),
    (
        "residual: whole parts rounded away",
        "integer_part = (expected + 1e-9).floor()",
        "integer_part = expected.floor()",
    ),
    (
        "residual: rest of all",
        "remainder = (expected - integer_part).clamp(min=0)",
        "remainder = expected",
    ),
    (
        "residual: rest of none",
        "remainder = (expected - integer_part).clamp(min=0)",
        "remainder = torch.ones_like(expected)",
    ),
    ("residual out of order", "points)]).sort().values", "points)])"),
)

REWEIGHTING = mutants(
    "smc/reweighting.py",
    (
        "reweight: reversed",
        "walkers.log_w + (walkers.energy - new.energy) / temperature",
        "walkers.log_w + (new.energy - walkers.energy) / temperature",
    ),
    (
        "reweight: without the temperature",
        "(walkers.energy - new.energy) / temperature",
        "(walkers.energy - new.energy)",
    ),
    ("reweight: forgets the weights", "walkers.log_w + (walkers.energy", "(walkers.energy"),
    ("reweight: forgets the memory", "walkers.log_w, walkers.memory)", "walkers.log_w)"),
    (
        "follow: mala is not reweighted",
        "if kernel.invariant or update_first or steps == 0:",
        "if update_first or steps == 0:",
    ),
    (
        "follow: update first ignored",
        "if kernel.invariant or update_first or steps == 0:",
        "if kernel.invariant or steps == 0:",
    ),
    (
        "follow: no step, no weight",
        "if kernel.invariant or update_first or steps == 0:",
        "if kernel.invariant or update_first:",
    ),
    (
        "follow: reweighted at temperature one",
        "reweight(energy, walkers, kernel.temperature)",
        "reweight(energy, walkers)",
    ),
    ("follow: ula is not paid for", "if isinstance(kernel, ULA):", "if False:"),
    ("follow: everything is paid for", "if isinstance(kernel, ULA):", "if True:"),
    (
        "follow: paid at temperature one",
        "log_ratio(walkers, moved, kernel.step_size, kernel.temperature)",
        "log_ratio(walkers, moved, kernel.step_size)",
    ),
    ("follow: aliased", "log_ratio(walkers, moved,", "log_ratio(moved, moved,"),
    ("follow: reversed", "log_ratio(walkers, moved,", "log_ratio(moved, walkers,"),
    (
        "follow: last step only",
        "dataclasses.replace(moved, log_w=walkers.log_w + increment)",
        "dataclasses.replace(moved, log_w=increment)",
    ),
    (
        "follow: acceptance of the last step",
        "acceptance + info.acceptance",
        "info.acceptance * steps",
    ),
    ("follow: acceptance summed", "acceptance.mean() / max(steps, 1)", "acceptance.mean()"),
    (
        "follow: clip and box allowed",
        "    require_weighable(kernel)\n    if kernel.invariant",
        "    if kernel.invariant",
    ),
    (
        "attached: clip and box allowed",
        "    require_weighable(kernel)\n    if not isinstance",
        "    if not isinstance",
    ),
    (
        "attached: a step too many",
        "walkers, steps - 1, rng, update_first",
        "walkers, steps, rng, update_first",
    ),
    ("attached: update first ignored", "if steps > 1 or update_first:", "if steps > 1:"),
    (
        "attached: moved at temperature one",
        "langevin_proposal(old, kernel.step_size, kernel.temperature, rng)",
        "langevin_proposal(old, kernel.step_size, 1.0, rng)",
    ),
    (
        "attached: paid at temperature one",
        "log_ratio(old, new, kernel.step_size, kernel.temperature)",
        "log_ratio(old, new, kernel.step_size)",
    ),
    (
        "attached: forgets the weights",
        "dataclasses.replace(new, log_w=old.log_w + increment)",
        "dataclasses.replace(new, log_w=increment)",
    ),
    ("attached: walkers keep the graph", "Walkers(x, u.detach(),", "Walkers(x, u,"),
    (
        "attached: mala without a graph",
        "return result, energy(result.walkers.x)",
        "return followed, followed.walkers.energy",
    ),
    ("floor: without the temperature", "/ (8 * kernel.temperature)", "/ 8"),
    (
        "floor: probed at temperature one",
        "(2 * kernel.step_size * kernel.temperature) ** 0.5",
        "(2 * kernel.step_size) ** 0.5",
    ),
    ("floor: off by 2", "/ (8 * kernel.temperature)", "/ (4 * kernel.temperature)"),
    ("floor: of a coordinate", ".square().sum(1).mean()", ".square().mean(1).mean()"),
    (
        "floor: of mala",
        "    if not isinstance(kernel, ULA):\n        return torch.zeros",
        "    if False:\n        return torch.zeros",
    ),
    ("floor: of all walkers", "device=rng.device)[:PROBES]]", "device=rng.device)]"),
)

JARZYNSKI = mutants(
    "methods/jarzynski.py",
    (
        "jarzynski: weights of before",
        "torch.softmax(moved.log_w, 0)",
        "torch.softmax(picked.log_w, 0)",
    ),
    (
        "jarzynski: no weights",
        "torch.softmax(moved.log_w, 0)",
        "torch.full_like(moved.log_w, 1 / n)",
    ),
    ("jarzynski: walkers pushed down", "u_data.mean() - (share", "u_data.mean() + (share"),
    (
        "jarzynski: penalty without weights",
        "(share * u_walkers.square()).sum()",
        "u_walkers.square().mean()",
    ),
    ("jarzynski: weights in bfloat16", "(share * u_walkers).sum()", "share @ u_walkers"),
    (
        "jarzynski: logged in bfloat16",
        "(share * moved.energy).sum()",
        "share @ moved.energy",
    ),
    ("jarzynski: data without noise", "data + self.data_noise * noise", "data"),
    (
        "jarzynski: put at the front",
        "put(state.walkers, index, moved)",
        "put(state.walkers, index.sort().values, moved)",
    ),
    (
        "jarzynski: idle walkers move unweighed",
        "picked, n < len(state), rng)",
        "picked, False, rng)",
    ),
    ("jarzynski: one evaluation too many", "picked, n < len(state), rng)", "picked, True, rng)"),
    (
        "jarzynski: share of all",
        "effective_sample_size(moved.log_w) / n",
        "effective_sample_size(moved.log_w) / len(state)",
    ),
    (
        "jarzynski: nan is enough",
        "if not bool(ess >= self.threshold):",
        "if bool(ess < self.threshold):",
    ),
    (
        "jarzynski: at the threshold",
        "if not bool(ess >= self.threshold):",
        "if not bool(ess > self.threshold):",
    ),
    (
        "jarzynski: idle walkers resampled as they were",
        "self.population(energy, state) if idle else state.walkers",
        "state.walkers",
    ),
    (
        "jarzynski: all reweighted to be resampled",
        "self.population(energy, state) if idle else state.walkers",
        "self.population(energy, state)",
    ),
    (
        "jarzynski: scheme ignored",
        "resample(walkers, rng, self.resampling)",
        "resample(walkers, rng)",
    ),
    (
        "jarzynski: resamplings not counted",
        "count = state.resamplings + 1",
        "count = state.resamplings + 0",
    ),
    ("jarzynski: warns of everything", "if self.threshold >= ceiling:", "if True:"),
    ("jarzynski: warns of nothing", "if self.threshold >= ceiling:", "if False:"),
    ("jarzynski: warns always", "if often >= 1 and often.is_integer():", "if often >= 1:"),
    ("jarzynski: warns at once", "if often >= 1 and often.is_integer():", "if often.is_integer():"),
    ("jarzynski: advises the ceiling", "{ceiling**2:.2g}", "{ceiling:.2g}"),
    (
        "jarzynski: likelihood without the temperature",
        "log_z + mean / self.kernel.temperature",
        "log_z + mean",
    ),
    ("jarzynski: relative log Z is absolute", "if isinstance(self.start, ExactStart):", "if True:"),
    (
        "jarzynski: population at temperature one",
        "reweight(energy, part, self.kernel.temperature)",
        "reweight(energy, part)",
    ),
    ("jarzynski: population of one part", "range(0, len(state), AT_ONCE))", "range(0, 1))"),
    (
        "jarzynski: samples without weights",
        "chosen = ancestors(walkers.log_w, rng, self.resampling)",
        "chosen = torch.arange(len(walkers))",
    ),
    (
        "jarzynski: first samples only",
        "chosen[torch.randperm(len(chosen), generator=rng, device=data.device)[:n]]",
        "chosen[:n]",
    ),
    (
        "jarzynski: samples keep their weights",
        "log_w=torch.zeros_like(walkers.log_w[:n])",
        "log_w=walkers.log_w[chosen]",
    ),
    ("jarzynski: samples move as in training", "steps or self.steps", "self.steps"),
    ("jarzynski: gradients of the first evaluation", "first = 0 if n", "first = 1 if n"),
    (
        "jarzynski: gradients of mala",
        "self.start.size and not self.kernel.invariant else 1",
        "self.start.size else 1",
    ),
    ("jarzynski: chunks in the wrong order", "torch.cat(u)", "torch.cat(u[::-1])"),
    (
        "jarzynski: chunks forget the idle",
        "part, self.steps, rng, idle) for",
        "part, self.steps, rng) for",
    ),
    ("jarzynski: exact start of unit Z", "x.new_full((len(x),), log_z)", "x.new_zeros(len(x))"),
    ("jarzynski: exact start at temperature one", "data, rng, kernel.temperature)", "data, rng)"),
    (
        "jarzynski: relaxed start does not relax",
        "return run(kernel, energy, walkers, self.steps, rng, diagnose=False)[0]",
        "return walkers",
    ),
    ("jarzynski: samples from noise", "if from_noise:", "if False:"),
    ("jarzynski: more samples than walkers", "if n > len(state):", "if False:"),
    ("jarzynski: more walkers than there are", "if self.walkers > self.start.size:", "if False:"),
    ("jarzynski: clip and box allowed", "require_weighable(self.kernel)", "pass"),
    ("jarzynski: any threshold", "require_ess_threshold(self.threshold)", "pass"),
)

EXACT = mutants(
    "energies/exact.py",
    ("exact: trained network", "bool((constant == constant[0]).all())", "True"),
    ("exact: one sample is enough", "rows = max(n, 16)", "rows = n"),
    ("exact: infinite constant", " and bool(constant[0].isfinite())", ""),
    ("exact: constant ignored", "log_z - float(constant[0]) / temperature", "log_z"),
    ("exact: constant reversed", "log_z - float(constant[0])", "log_z + float(constant[0])"),
    (
        "exact: constant at temperature one",
        "float(constant[0]) / temperature",
        "float(constant[0])",
    ),
    ("exact: samples of another temperature", " and temperature == 1", ""),
    ("exact: samples of another type", "sample(n, rng).to(like)", "sample(n, rng)"),
    ("exact: sixteen samples", "return x[:n], log_z", "return x, log_z"),
)

COMPOSED = mutants(
    "energies/composed.py",
    (
        "reference: log Z at temperature one",
        "math.log(2 * math.pi * width**2)",
        "math.log(2 * math.pi * self.scale**2)",
    ),
    ("reference: samples at temperature one", "self.scale * math.sqrt(temperature)", "self.scale"),
    ("reference: dimension of a row", "math.prod(like.shape[1:])", "like.shape[1]"),
    (
        "reference: samples of another type",
        "generator=rng, dtype=like.dtype, device",
        "generator=rng, device",
    ),
)

MUTANTS = [
    *WALKERS,
    *ENERGY,
    *KERNEL,
    *LANGEVIN,
    *HAMILTONIAN,
    *KINETIC,
    *DESCENT,
    *INDEPENDENCE,
    *ADAPTATION,
    *CHAIN,
    *RESAMPLING,
    *REWEIGHTING,
    *JARZYNSKI,
    *EXACT,
    *COMPOSED,
    *(mutant for file, rows in TABLES.items() for mutant in mutants(file, *rows)),
]

FIRST = {  # where it is not tests/kernels/test_kernels_NAME.py
    "walkers.py": "test_walkers.py",
    "energies/energy.py": "kernels/test_kernels_evaluation.py",
    "kernels/kernel.py": "kernels/test_kernels_edges.py",
    "energies/exact.py": "energies/test_energies_exact.py",
    "energies/composed.py": "energies/test_energies_exact.py",
    "smc/resampling.py": "smc/test_smc_resampling.py",
    "smc/reweighting.py": "smc/test_smc_reweighting.py",
    "methods/jarzynski.py": "methods/test_jarzynski*.py",
}


def test_files(file: str) -> tuple[list[str], list[str]]:
    """The test files that know the file best, and all the others, so that nothing escapes them."""
    if file in TABLES:
        names = TESTS.get(file, (f"metrics/test_{Path(file).stem}.py",))
        best, *others = dict.fromkeys(name for words in names for name in _found(words))
        return [best], others
    best = _found(FIRST.get(file, f"kernels/test_kernels_{Path(file).stem}.py"))
    every = [*_found("kernels/test_*.py"), "test_walkers.py"]
    if best[0] not in every:  # what carries weights knows what carries weights
        every = [name for words in FIRST.values() for name in _found(words) if name not in every]
    return best, [name for name in dict.fromkeys(every) if name not in best]


def _found(words: str) -> list[str]:
    return sorted(str(path.relative_to(HERE)) for path in HERE.glob(words))


def copy_project(folder: Path) -> None:
    """Copies what the tests need."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    (folder / "tests").mkdir(parents=True)
    shutil.copytree(PACKAGE, folder / "src" / "boltzwalk", ignore=ignore)
    for path in HERE.glob("*/"):
        shutil.copytree(path, folder / "tests" / path.name, ignore=ignore)
    for name in ("conftest.py", "statistics_helpers.py", "test_walkers.py"):
        shutil.copy(HERE / name, folder / "tests")
    shutil.copy(HERE.parent / "pyproject.toml", folder)


def run_tests(folder: Path, files: list[str]) -> int:
    """Runs the tests in a fork and returns the exit code of pytest; 1 means that one failed."""
    child = os.fork()
    if child == 0:
        code = 99  # whatever happens, the child ends here and not in the loop of its parent
        try:
            code = _child(folder, files)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _child(folder: Path, files: list[str]) -> int:
    """Runs the tests in this process, with the damaged package in front of the path."""
    signal.alarm(SECONDS * (1 + len(files) // 10))
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    sys.path.insert(0, str(folder / "src"))
    import pytest

    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "hypothesispytest", "xdist")]
    arguments = ["-x", "-q", "--tb=line", *without]
    code = int(pytest.main([*arguments, *(f"tests/{file}" for file in files)]))
    loaded = Path(sys.modules["boltzwalk"].__file__ or "").resolve()
    assert loaded.is_relative_to(folder.resolve()), loaded
    return code


def judge(mutant: Mutant) -> str:
    """Returns "killed by ..." or what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_project(folder)
        target = folder / "src" / "boltzwalk" / mutant.file
        text = target.read_text()
        if text.count(mutant.old) != 1:
            return f"LOST: {mutant.old!r} occurs {text.count(mutant.old)} times in {mutant.file}"
        target.write_text(text.replace(mutant.old, mutant.new))
        best, others = test_files(mutant.file)
        code = run_tests(folder, best) or (run_tests(folder, others) if others else 0)
        output = (folder / "output.txt").read_text()
        if code == 1:
            failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
            failed = [line for line in failed if "::" in line]  # not a file that does not import
            if failed:
                return "killed by " + failed[0].split("::")[-1].split(" - ")[0]
        return "SURVIVED" if code == 0 else f"BROKEN: pytest exits with {code}\n{output[-2000:]}"


def main(words: list[str]) -> int:
    """Judges the mutants and returns the exit code."""
    sys.dont_write_bytecode = True
    import numpy
    import torch

    # What the tests load besides: the comparison of tensors alone imports for more than a second.
    torch.testing.assert_close(torch.func.grad(torch.square)(torch.ones(())), torch.tensor(2.0))
    torch.distributions.Normal(0.0, 1.0)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    importlib.import_module("sklearn.neural_network")
    torch.set_num_threads(1)  # a fork of a process with threads may hang
    print(f"torch {torch.__version__}, numpy {numpy.__version__}: imported once")
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "undamaged"
        copy_project(folder)
        needed = [name for m in chosen for names in test_files(m.file) for name in names]
        if run_tests(folder, list(dict.fromkeys(needed))) != 0:
            print((folder / "output.txt").read_text()[-4000:], "\nthe undamaged code fails")
            return 1
    began, bad = time.monotonic(), 0
    for i, mutant in enumerate(chosen, 1):
        verdict = judge(mutant)
        bad += not verdict.startswith("killed")
        print(f"{i:3d} {mutant.file:24s} {mutant.name:45s} {verdict}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} killed in {time.monotonic() - began:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
