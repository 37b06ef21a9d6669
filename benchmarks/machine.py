"""What the machine can do: its peak in products and convolutions, and how a chain uses memory."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import torch
from cases import CASES, plain_energy
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["describe", "flops_per_step", "memory_of_chain", "peaks"]


def describe(rounds: int) -> str:
    """Names the processor, the threads, the load and the versions, in one line."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    versions = []
    for package in ("torch", "torchebm", "blackjax", "jax"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    return (
        f"{name}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; "
        f"one thread a process, CPU time, median of {rounds}; {', '.join(versions)}"
    )


def peaks() -> dict[str, float]:
    """Measures the peak of one thread in GFLOP/s, the best of ten trials each."""
    torch.set_num_threads(1)
    found = {}
    n, channels, side = 1024, 128, 32
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
        found[f"product {name}"] = _rate(partial(torch.mm, a, b), 2 * n**3)
        x = torch.randn(16, channels, side, side).to(dtype, memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3).to(dtype, memory_format=torch.channels_last)
        flops = 2 * 16 * side * side * channels * channels * 9
        found[f"convolution {name}"] = _rate(partial(functional.conv2d, x, w, padding=1), flops)
    return found


def _rate(work: Callable[[], object], flops: float) -> float:
    """The best rate of ten trials, GFLOP/s."""
    best = float("inf")
    for _ in range(10):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return flops / best / 1e9


def flops_per_step(case_name: str) -> float:
    """Counts the FLOPs of one energy and input gradient of one chain."""
    case = CASES[case_name]
    network = plain_energy(case)
    x = torch.randn(2, *case.event_shape).requires_grad_().clone()  # it fails for leaves
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(network(x).sum(), x)
    return float(counter.get_total_flops()) / len(x)


def memory_of_chain(steps: int, chains: int = 16) -> float:
    """Runs one chain of the short-run network in this process; returns its peak memory in MB."""
    from boltzwalk.kernels import ULA, run_chain
    from boltzwalk.networks.published import short_run_network
    from boltzwalk.training.process import keep_freed_memory, peak_memory
    from boltzwalk.walkers import walkers_at

    torch.set_num_threads(1)
    keep_freed_memory()
    energy, rng = short_run_network(64).build((3, 32, 32)), torch.Generator().manual_seed(0)
    walkers = walkers_at(energy, torch.rand(chains, 3, 32, 32, generator=rng))
    run_chain(ULA(0.001), energy, walkers, steps, rng)
    return peak_memory(torch.device("cpu"))
