"""The system calls by which a run writes, of which one fails, stops halfway or is the last."""

import errno
import os
from contextlib import suppress
from pathlib import Path

CALLS = ("open", "write", "fsync", "replace", "link", "unlink", "ftruncate", "mkdir")

KILLS = ("kill before", "kill halfway", "kill after")
ERRORS = ("ENOSPC", "EIO")
KINDS = (*KILLS, *ERRORS, "short")


class KilledError(BaseException):
    """The end of the process: after it no call of the system does anything any more."""


class FaultLayer:
    """Counts the calls below a folder, and does something else at one of them.

    Arguments:
        monkeypatch: The fixture of pytest.
        folder: The folder; calls elsewhere go their way.
        at: The number of the call at which the fault happens, from 1; 0 for none.
        kind: "kill before", "kill halfway" (a write of half of the bytes) or "kill after" the call;
            "ENOSPC", from that call on; "EIO", once; or "short", half of the bytes at every write.
    """

    def __init__(self, monkeypatch, folder, at=0, kind="kill before"):
        assert kind in KINDS
        self.folder, self.at, self.kind = Path(folder).resolve(), at, kind
        self.count, self.calls, self.dead, self.happened = 0, [], False, False
        self.descriptors = {}
        self.system = {name: getattr(os, name) for name in CALLS}
        self.monkeypatch = monkeypatch

    def __enter__(self):
        for name in CALLS:
            self.monkeypatch.setattr(os, name, self._wrapped(name))
        return self

    def __exit__(self, *_):
        for name, call in self.system.items():
            self.monkeypatch.setattr(os, name, call)

    def _wrapped(self, name):
        call = self.system[name]

        def wrapped(*args, **kwargs):
            if not self._concerns(name, args):
                return call(*args, **kwargs)
            if self.dead:
                raise KilledError
            self.count += 1
            self.calls.append((name, self._path(name, args)))
            result = self._faulty(name, call, args, kwargs)
            if name == "open":
                self.descriptors[result] = str(args[0])
            return result

        return wrapped

    def _faulty(self, name, call, args, kwargs):
        if self.kind == "short" and self.at:
            return call(args[0], _half(args[1])) if name == "write" else call(*args, **kwargs)
        full = self.kind == "ENOSPC" and self.happened and name in ("open", "write", "fsync")
        if self.count != self.at and not full:
            return call(*args, **kwargs)
        self.happened = True
        if self.kind in ERRORS:
            if name == "write" and len(args[1]) > 1 and not full:
                call(args[0], _half(args[1]))
            code = getattr(errno, self.kind)
            raise OSError(code, os.strerror(code), self._path(name, args))
        if self.kind == "kill halfway" and name == "write":
            call(args[0], _half(args[1]))
        if self.kind == "kill after":
            with suppress(FileExistsError, FileNotFoundError):
                call(*args, **kwargs)
        self.dead = True
        raise KilledError

    def _path(self, name, args):
        return self.descriptors.get(args[0], "") if name in ("write", "fsync") else str(args[0])

    def _concerns(self, name, args):
        if name in ("write", "fsync", "ftruncate"):
            return args[0] in self.descriptors
        return isinstance(args[0], str | Path) and self.folder in (
            Path(args[0]).resolve(),
            *Path(os.path.abspath(args[0])).parents,
        )


def _half(content):
    return bytes(content)[: max(1, len(content) // 2)]
