"""Ways to do one thing, each in a process of its own, timed in turns.

A process keeps what it has built and allocated, so that no way has the memory or the settings of
another; rounds of turns see the same load, so that ratios within one round can be compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from workers import ONE_THREAD

__all__ = ["answer", "take_turns"]


def take_turns(script: str, kinds: Sequence[str], rounds: int) -> list[dict[str, dict[str, float]]]:
    """Returns the processor seconds of each piece of each kind, for every round.

    Arguments:
        script: The file that calls :func:`answer` when it is given the name of a kind.
        kinds: The names.
        rounds: The number of rounds.
    """
    workers = {
        kind: subprocess.Popen(
            [sys.executable, script, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            text=True,
        )
        for kind in kinds
    }

    def ask(kind: str) -> dict[str, float]:
        worker = workers[kind]
        assert worker.stdin is not None
        assert worker.stdout is not None
        print("go", file=worker.stdin, flush=True)
        line = worker.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {kind!r} ended with code {worker.wait()}")
        found: dict[str, float] = json.loads(line)
        return found

    found = [{kind: ask(kind) for kind in kinds} for _ in range(rounds)]
    for worker in workers.values():
        worker.terminate()
        worker.wait()
    return found


def answer(pieces: dict[str, Callable[[], object]], each: int = 1) -> None:
    """Answers every line of stdin with the processor seconds of each piece.

    Arguments:
        pieces: What is timed, once before all to warm up.
        each: How often in one turn.
    """
    for piece in pieces.values():
        piece()
    for _ in sys.stdin:
        seconds = {}
        for name, piece in pieces.items():
            began = time.process_time()
            for _ in range(each):
                piece()
            seconds[name] = (time.process_time() - began) / each
        print(json.dumps(seconds), flush=True)
