"""Who works on what: files on a shared folder, with no server and no locks.

The claim of a piece of work is a file NAME.1, which exactly one process can create. Its owner
touches it while it lives. A claim whose owner is dead is stale, and whoever creates NAME.2 first
takes over; the owner of NAME.1, had it only slept, sees it and lets go. So work is done by one
process at a time, and what a killed process had begun is taken up again.

An owner is dead at once where its process can be looked for, on the same machine, and after two
minutes without a touch elsewhere. Times are those of the folder, whatever clocks the machines have.
"""

from __future__ import annotations

import json
import os
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Claim", "claim", "claimed", "given_up", "kept"]

TOUCH, STALE = 10.0, 120.0
"""Seconds between two touches, and without one."""

ATTEMPTS = 4
"""Owners that may die before the work is given up: what kills its process would kill the next."""


class Claim:
    """A piece of work of this process.

    Attributes:
        path: The file of the claim.
        number: Whose turn it is: 1 for the first owner.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.number = path, number

    @property
    def lost(self) -> bool:
        """Whether another process has taken over."""
        following = self.path.with_name(f"{self.path.stem}.{self.number + 1}")
        return following.exists() or not self.path.exists()

    def release(self) -> None:
        """Lets go, so that anyone may take over."""
        self.path.unlink(missing_ok=True)


def claim(folder: Path, name: str) -> Claim | None:
    """Claims a piece of work; returns None where a living process has it, or too many have died.

    Arguments:
        folder: The folder of the claims, shared by all workers.
        name: The name of the work, without a dot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last, alive = claimed(folder, name)
    if alive or last >= ATTEMPTS:
        return None
    path = folder / f"{name}.{last + 1}"
    owner = json.dumps({"machine": _machine(), "process": os.getpid()})
    # Whole at once: a file that exists but is empty would look like the claim of nobody.
    temporary = folder / f".{name}.{os.getpid()}.{threading.get_ident()}"
    temporary.write_text(owner + "\n")
    try:
        os.link(temporary, path)
    except FileExistsError:
        return None
    finally:
        temporary.unlink()
    return Claim(path, last + 1)


def claimed(folder: Path, name: str) -> tuple[int, bool]:
    """Returns how many have claimed a piece of work, and whether the last one lives.

    Arguments:
        folder: The folder of the claims.
        name: The name of the work.
    """
    numbers = [
        int(path.suffix[1:])
        for path in folder.glob(f"{name}.*")
        if re.fullmatch(r"\.\d+", path.suffix)
    ]
    last = max(numbers, default=0)
    return last, bool(last) and _is_alive(folder / f"{name}.{last}")


def given_up(folder: Path, name: str) -> bool:
    """Returns whether every process that tried a piece of work has died of it.

    Arguments:
        folder: The folder of the claims.
        name: The name of the work.
    """
    last, alive = claimed(folder, name)
    return last >= ATTEMPTS and not alive


@contextmanager
def kept(held: Claim) -> Iterator[None]:
    """Touches a claim every few seconds, from a thread of its own.

    Arguments:
        held: The claim.
    """
    done = threading.Event()

    def touch() -> None:
        while not done.wait(TOUCH):
            try:
                os.utime(held.path)
            except OSError:  # released, or the folder is away for a moment
                continue

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_alive(path: Path) -> bool:
    """Whether the owner of a claim lives."""
    try:
        owner, touched = json.loads(path.read_text()), path.stat().st_mtime
    except FileNotFoundError:  # released just now
        return False
    if owner["machine"] == _machine():
        if owner["process"] == os.getpid():
            return True
        try:
            os.kill(owner["process"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
    return _now(path.parent) - touched < STALE


def _now(folder: Path) -> float:
    """The time by the clock of the folder, which may be that of a server."""
    path = folder / f".now.{platform.node()}.{os.getpid()}"
    path.touch()
    os.utime(path)
    found = path.stat().st_mtime
    path.unlink(missing_ok=True)
    return found


def _machine() -> str:
    """The name of the machine, and of the space in which its process numbers count."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{platform.node()} {space}".strip()
