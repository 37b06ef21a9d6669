"""Worker processes: one implementation each, asked one at a time.

A worker reads questions from stdin and answers on stdout, one JSON object a line. It keeps its
built and compiled code, so that a question costs its measurement only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

from peers import Job, NotOfferedError, prepare

__all__ = ["NOT_INSTALLED", "ONE_THREAD", "Worker", "serve"]

NOT_INSTALLED = "not installed: pip install boltzwalk[bench]"
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


class Worker:
    """A process that runs one implementation on request."""

    def __init__(self, script: Path, implementation: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--worker", implementation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            text=True,
        )

    def ask(self, case: str, algorithm: str, training_steps: int, seconds: float) -> float | str:
        """Measures once; returns chain-steps per CPU second, or the reason for none."""
        question = {
            "case": case,
            "algorithm": algorithm,
            "training_steps": training_steps,
            "seconds": seconds,
        }
        print(json.dumps(question), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"a worker ended with code {self.process.wait()} at {question}")
        answer: float | str = json.loads(line)
        return answer

    def stop(self) -> None:
        """Ends the process by closing its input."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def serve(implementation: str) -> None:
    """Answers all questions: the body of a worker process."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep the output of libraries out of the answers
    jobs: dict[tuple[str, str], Job] = {}
    for line in sys.stdin:
        answer = _answer(implementation, jobs, **json.loads(line))
        _write_line(answers, answer)


def _answer(
    implementation: str,
    jobs: dict[tuple[str, str], Job],
    case: str,
    algorithm: str,
    training_steps: int,
    seconds: float,
) -> float | str:
    """Measures a job, which is built and warmed up at its first request."""
    key = case, algorithm
    if key not in jobs:
        try:
            jobs[key] = prepare(implementation, case, algorithm, training_steps)
        except NotOfferedError as reason:
            return str(reason)
        except ImportError:
            return NOT_INSTALLED
        jobs[key].run()  # compiles, and fills caches
    return _rate(jobs[key], seconds)


def _rate(job: Job, seconds: float) -> float:
    """Repeats the job for about these seconds, at least once; returns gradients per CPU second."""
    began, done = time.process_time(), 0
    while True:
        job.run()
        done += 1
        spent = time.process_time() - began
        if spent * (done + 1) / done > seconds:
            return done * job.gradients / spent


def _write_line(answers: TextIO, answer: float | str) -> None:
    """Writes and flushes one line."""
    print(json.dumps(answer), file=answers, flush=True)
