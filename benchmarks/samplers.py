"""Chain-steps per CPU second of our samplers and of their peers, side by side in one run.

    python benchmarks/samplers.py                     # everything, about eight minutes
    python benchmarks/samplers.py --quick             # one round, two or three minutes
    python benchmarks/samplers.py --cases dense mnist --rounds 9

Each implementation of each case lives in a process of its own (:mod:`workers`). They are asked in
rotation, one at a time, so that all share the noise of the machine. What is printed are medians
over the rounds: of the rates, and of the ratios within one round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TypeAlias

from cases import CASES
from machine import describe, flops_per_step, memory_of_chain, peaks
from peers import ALGORITHMS, IMPLEMENTATIONS, OURS
from workers import NOT_INSTALLED, ONE_THREAD, Worker, serve

Rates: TypeAlias = dict[tuple[str, str], list[float] | str]
"""Of (algorithm, implementation): the chain-steps per CPU second of each round, or a reason."""

PEERS = IMPLEMENTATIONS[len(OURS) :]
TARGET = 2.5  # times the hand-written loop, for the convolutional networks
NOTES = """\
A chain-step is one energy gradient of one chain: a Langevin step, or a leapfrog step of HMC.
boltzwalk runs as in `boltzwalk train`: freed memory is kept, bf16 is torch.autocast around the
networks. hand-written is the loop of published scripts: default layout, memory and options.
TorchEBM takes two gradients for a leapfrog step. Both are counted, so a proposal of the same length
takes it twice as long as its column says. blackjax's ULA is its SGLD with the full gradient.
"training" is a short-run update: K Langevin steps, the loss and its parameter gradient, Adam."""


def main() -> int:
    """Parses the command line and prints everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        serve(arguments.worker)
        return 0
    if arguments.memory:
        print(memory_of_chain(arguments.memory))
        return 0

    began = time.monotonic()
    rounds, training_steps = (1, 10) if arguments.quick else (arguments.rounds, 50)
    print(describe(rounds))
    print(NOTES, flush=True)
    found = {}
    for case in arguments.cases:
        found[case] = measure(case, rounds, training_steps, 0.25 if arguments.quick else 0.5)
        print_rates(case, found[case], training_steps)
    print_shares(found)
    print_memory((10, 60) if arguments.quick else (10, 200))
    print_verdict(found)
    print(f"\n{time.monotonic() - began:.0f} s in all, load {os.getloadavg()[0]:.1f}")
    return 0


def measure(case: str, rounds: int, training_steps: int, seconds: float) -> Rates:
    """Asks one worker for each implementation, in rotation.

    They are new for each case: how glibc treats freed memory depends on what a process did before.
    """
    workers = {name: Worker(Path(__file__).resolve(), name) for name in IMPLEMENTATIONS}
    rates: Rates = {}
    for algorithm in ALGORITHMS:
        answers: dict[str, list[float | str]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                answers[name].append(worker.ask(case, algorithm, training_steps, seconds))
        for name, those in answers.items():
            numbers = [answer for answer in those if isinstance(answer, float)]
            rates[algorithm, name] = numbers or str(those[0])
    for worker in workers.values():
        worker.stop()
    return rates


def print_rates(case: str, rates: Rates, training_steps: int) -> None:
    """Prints the rates of one case, and the ratios of ours to those of the peers."""
    k_is = f" (K = {training_steps})" if CASES[case].is_network else ""
    what = f"{CASES[case].title}, {CASES[case].chains} chains{k_is}"
    print(f"\n{what}: chain-steps per CPU second")
    print_row("", list(ALGORITHMS))
    for name in IMPLEMENTATIONS:
        row = [median(rates[algorithm, name]) for algorithm in ALGORITHMS]
        if rates[ALGORITHMS[0], name] == NOT_INSTALLED:
            print(f"{name:28s}    {NOT_INSTALLED}")
        elif any(row):
            print_row(name, [_number(rate) if rate else "-" for rate in row])
    for ours in OURS:
        for peer in PEERS:
            ratios = [ratio(rates, algorithm, ours, peer) for algorithm in ALGORITHMS]
            if any(ratios):
                name = f"  {ours.split()[-1]} / {peer}"
                print_row(name, [f"{number:.2f} x" if number else "-" for number in ratios])
    sys.stdout.flush()


def print_shares(found: dict[str, Rates]) -> None:
    """Prints the peak of the machine, and how much of it our networks reach while they sample."""
    peak = peaks()  # of each kind of work in each type
    print("\nPeak of one thread, GFLOP/s: " + ", ".join(f"{k} {v:.0f}" for k, v in peak.items()))
    if not any(CASES[case].is_network for case in found):
        return
    print("Share of the higher one that our chains reach, noise and all:")
    print_row("", list(ALGORITHMS[:-1]))
    for case, rates in found.items():
        for ours in OURS if CASES[case].is_network else ():
            kind = ours.split()[-1]
            highest = max(peak[f"product {kind}"], peak[f"convolution {kind}"])
            work = flops_per_step(case) / 1e9
            row = [median(rates[algorithm, ours]) or 0.0 for algorithm in ALGORITHMS[:-1]]
            print_row(f"  {case} {kind}", [f"{rate * work / highest:.0%}" for rate in row])
    sys.stdout.flush()


def print_memory(lengths: tuple[int, int]) -> None:
    """Prints the peak memory of a short and of a long chain, each in a fresh process."""
    script, megabytes = str(Path(__file__).resolve()), []
    for steps in lengths:
        command = [sys.executable, script, "--memory", str(steps)]
        environment = {**os.environ, **ONE_THREAD}
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        megabytes.append(float(process.stdout))
    print(
        f"\nPeak memory of a chain of the short-run network: K = {lengths[0]}: "
        f"{megabytes[0]:.0f} MB, K = {lengths[1]}: {megabytes[1]:.0f} MB, "
        f"ratio {megabytes[1] / megabytes[0]:.3f}"
    )


def print_verdict(found: dict[str, Rates]) -> None:
    """Prints whether the targets are reached, by the faster of our two rows."""
    print("\nTargets, by the faster of our rows:")
    for case, rates in found.items():
        least = dict.fromkeys(PEERS, 1.0)
        if CASES[case].convolutions:
            least["hand-written"] = TARGET
        for peer in PEERS:
            best = {
                algorithm: max((ratio(rates, algorithm, ours, peer) or 0.0, ours) for ours in OURS)
                for algorithm in ALGORITHMS
            }
            compared = {algorithm: pair for algorithm, pair in best.items() if pair[0]}
            if compared:
                reached = min(compared.values())[0] >= least[peer]
                row = ", ".join(
                    f"{algorithm} {number:.2f} x ({ours.split()[-1]})"
                    for algorithm, (number, ours) in compared.items()
                )
                verdict = "reached" if reached else "MISSED"
                print(f"  {case:8s} >= {least[peer]} x {peer:13s} {verdict:8s} {row}")


def median(rates: list[float] | str) -> float | None:
    """The median over the rounds, if there are any."""
    return None if isinstance(rates, str) else statistics.median(rates)


def ratio(rates: Rates, algorithm: str, ours: str, peer: str) -> float | None:
    """How many times as fast ours is, the median over the rounds, if both were measured."""
    a, b = rates[algorithm, ours], rates[algorithm, peer]
    if isinstance(a, str) or isinstance(b, str):
        return None
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def print_row(name: str, cells: list[str]) -> None:
    """Prints a name and right-aligned cells."""
    print(f"{name:28s}" + "".join(f"{cell:>12s}" for cell in cells))


def _number(rate: float) -> str:
    """A rate with three digits."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate:.3g}"


if __name__ == "__main__":
    sys.exit(main())
