"""Damages the core in one place at a time and demands that a test notices.

    PYTHONPATH=src python tests/mutate.py            # all mutants, some minutes
    PYTHONPATH=src python tests/mutate.py hmc nan    # those whose name contains one of the words

Each mutant is a piece of text that must occur exactly once in its file, and what it becomes. The
process imports torch once and forks for each mutant, so a mutant costs its tests and no more. Exits
with 1 if a mutant survives, if a piece of text is gone, or if the undamaged code fails.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

# ruff: noqa: E501 (a table of code)

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "src" / "boltzwalk"
SECONDS = 300  # no mutant may hang the run


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str


def mutants(file: str, *rows: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(name, file, old, new) for name, old, new in rows]


WALKERS = mutants(
    "walkers.py",
    ("log Z without the mean", " - math.log(len(log_w))", ""),
    (
        "ESS upside down",
        "torch.exp(2 * torch.logsumexp(log_w, 0) - torch.logsumexp(2 * log_w, 0))",
        "torch.exp(torch.logsumexp(2 * log_w, 0) - 2 * torch.logsumexp(log_w, 0)).clamp(min=1)",
    ),
    ("ESS without the square", "torch.logsumexp(2 * log_w, 0)", "torch.logsumexp(log_w, 0)"),
    ("resample keeps the weights", "log_w=log_mean_weight(log_w).expand(n)", "x=survivors.x"),
    (
        "resample forgets the evidence",
        "log_mean_weight(log_w).expand(n)",
        "torch.zeros_like(log_w)",
    ),
    (
        "resample overflows",
        "torch.softmax(log_w.double(), 0).cumsum(0)",
        "(log_w.exp() / log_w.exp().sum()).cumsum(0)",
    ),
    ("resample without the offset", "device=log_w.device) + u)", "device=log_w.device) + 0.5)"),
    ("resample off by one", ".clamp(max=n - 1)", ".add(1).clamp(max=n - 1)"),
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
    ("gradient of the mean", "torch.autograd.grad(u.sum(), x)", "torch.autograd.grad(u.mean(), x)"),
    (
        "no gradient inside no_grad",
        "with torch.enable_grad():",
        "with torch.set_grad_enabled(torch.is_grad_enabled()):",
    ),
    (
        "gradients of the parameters",
        "(grad,) = torch.autograd.grad(u.sum(), x)",
        "u.sum().backward(); grad = x.grad",
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
        "return accept(walkers, proposal, ratio, rng)",
        "new, info = accept(walkers, proposal, ratio, rng); return dataclasses.replace(new, grad=walkers.grad), info",
    ),
    (
        "mala: energy cache goes stale",
        "return accept(walkers, proposal, ratio, rng)",
        "new, info = accept(walkers, proposal, ratio, rng); return dataclasses.replace(new, energy=walkers.energy), info",
    ),
    (
        "mala forgets the weights",
        "proposal = evaluate(energy, y, walkers.log_w)",
        "proposal = evaluate(energy, y)",
    ),
    (
        "ula forgets the weights",
        "return evaluate(energy, y, walkers.log_w), always(walkers)",
        "return evaluate(energy, y), always(walkers)",
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
    ("hmc: accepts without the temperature", "lost / self.temperature", "lost"),
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
        "return accept(walkers, proposal, lost / self.temperature, rng)",
        "new, info = accept(walkers, proposal, lost / self.temperature, rng); object.__setattr__(new, 'grad', proposal.grad); return new, info",
    ),
    (
        "hmc: forgets the weights",
        "walkers = evaluate(energy, x, walkers.log_w)",
        "walkers = evaluate(energy, x)",
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
        "math.sqrt(self.inverse_mass * self.temperature * spread)",
        "math.sqrt(self.inverse_mass * spread)",
    ),
    (
        "kinetic: noise without the mass",
        "math.sqrt(self.inverse_mass * self.temperature * spread)",
        "math.sqrt(self.temperature * spread)",
    ),
    (
        "kinetic: noise not rooted",
        "math.sqrt(self.inverse_mass * self.temperature * spread)",
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
        "v = torch.add(v, grad, alpha=kick).mul_(keep)",
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
        "return evaluate(energy, x, walkers.log_w, memory=(v,)), always(walkers)",
        "new = evaluate(energy, x, walkers.log_w, memory=(v,)); object.__setattr__(new, 'grad', grad); return new, always(walkers)",
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
    ("independence: proposal ignored", "/ self.temperature + towards", "/ self.temperature"),
    (
        "independence: proposal reversed",
        "/ self.temperature + towards",
        "/ self.temperature - towards",
    ),
    ("independence: temperature ignored", "/ self.temperature + towards", "+ towards"),
    (
        "independence: proposal tempered too",
        "(walkers.energy - new.energy) / self.temperature + towards",
        "(walkers.energy - new.energy + towards) / self.temperature",
    ),
    (
        "independence: forgets the weights",
        "new = evaluate(energy, y, walkers.log_w)",
        "new = evaluate(energy, y)",
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
        "target = usual if target is None else target",
        "target = usual",
    ),
    ("adaptation: gain does not fall", "4 * t**-0.6", "4"),
    ("adaptation: average of all", "late = tried[steps // 2 :]", "late = tried"),
    (
        "adaptation: step size kept",
        "kernel = dataclasses.replace(kernel, step_size=math.exp(log_step))",
        "pass",
    ),
    ("adaptation: last step size", "math.exp(sum(late) / len(late))", "math.exp(late[-1])"),
    (
        "adaptation: walkers stay",
        "walkers, info = kernel.step(energy, walkers, rng)",
        "_, info = kernel.step(energy, walkers, rng)",
    ),
    ("adaptation: any target", "if not 0 < target < 1:", "if not 0 <= target <= 1:"),
    ("adaptation: no steps", "if steps < 1:", "if steps < 0:"),
    (
        "adaptation: kernels without accept step",
        "if usual is None or first is None:",
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
    ("chain: gradient summed", "gradient_mean=size.mean() / steps", "gradient_mean=size.mean()"),
    (
        "chain: gradient after the step",
        "        if diagnose:\n            size += _norm(walkers.grad)\n        walkers, info = kernel.step(energy, walkers, rng)",
        "        walkers, info = kernel.step(energy, walkers, rng)\n        if diagnose:\n            size += _norm(walkers.grad)",
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
        "torch.full_like(accepted, math.nan)",
        "torch.zeros_like(accepted)",
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
]

FIRST = {  # where it is not tests/kernels/test_kernels_NAME.py
    "walkers.py": "test_walkers.py",
    "energies/energy.py": "kernels/test_kernels_evaluation.py",
    "kernels/kernel.py": "kernels/test_kernels_edges.py",
}


def test_files(file: str) -> tuple[list[str], list[str]]:
    """The test files that know the file best, and all the others, so that nothing escapes them."""
    best = FIRST.get(file, f"kernels/test_kernels_{Path(file).stem}.py")
    every = [str(path.relative_to(HERE)) for path in sorted((HERE / "kernels").glob("test_*.py"))]
    return [best], [name for name in [*every, "test_walkers.py"] if name != best]


def copy_project(folder: Path) -> None:
    """Copies what the tests need."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    (folder / "tests").mkdir(parents=True)
    shutil.copytree(PACKAGE, folder / "src" / "boltzwalk", ignore=ignore)
    shutil.copytree(HERE / "kernels", folder / "tests" / "kernels", ignore=ignore)
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
    signal.alarm(SECONDS)
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
        code = run_tests(folder, best) or run_tests(folder, others)
        output = (folder / "output.txt").read_text()
        if code == 1:
            failed = [line for line in output.splitlines() if line.startswith("FAILED")]
            return "killed by " + (failed[0].split("::")[-1].split(" - ")[0] if failed else "?")
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
    torch.set_num_threads(1)  # a fork of a process with threads may hang
    print(f"torch {torch.__version__}, numpy {numpy.__version__}: imported once")
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "undamaged"
        copy_project(folder)
        best, others = test_files("walkers.py")
        if run_tests(folder, [*best, *others]) != 0:
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
