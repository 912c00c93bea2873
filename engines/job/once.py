"""Work under a key is done once: whoever comes later is given the run that does it or did it.

The right to start is a lock that the run's own process inherits and holds to its end, so that two starters start one
run, and a kill at any moment frees it. A run that ended badly, or was killed, is no hindrance to another try.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from engines.host.files import write_whole
from engines.job import folders, runs
from engines.job.errors import BadParam, Refused
from engines.job.runs import Run

GOOD = ("done", "warned")
TICK = 0.05  # s between looks, while a starter has the right and no run yet
LONGEST = 512  # characters of a key


class Record(msgspec.Struct):
    """What was started under a key, oldest first."""

    key: str
    runs: list[str] = []


@dataclass(frozen=True)
class Claim:
    """The right to start the run of a key, as long as `descriptor` is open in any process; a context manager."""

    key: str
    path: Path
    descriptor: int

    def begin(self, run: Run) -> None:
        """Note that this run is the key's from now on. Raises Refused."""
        known = _record(self.path, self.key)
        try:
            write_whole(self.path, msgspec.json.encode(Record(self.key, [*known.runs, run.id])))
        except OSError as error:
            raise Refused(f"{self.path}: {error.strerror}", "make room there, or set XDG_STATE_HOME") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of it here; a process that inherited it still has it."""
        os.close(self.descriptor)


def settle(key: str, stopped: Callable[[], bool] = lambda: False) -> Claim | Run:
    """The right to start it, or the run that does it or did it well. Raises Refused, BadParam.

    Waits only while another starter has the right and has not begun a run.
    """
    if not key or len(key) > LONGEST or not key.isprintable():
        raise BadParam("once", key, f"a text of up to {LONGEST} printable characters")
    path = _folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    while True:
        if claim := _claimed(key, path):
            run = None
            try:
                run = _newest(path, key)
                if run is None or run.status() not in GOOD:
                    return claim
            except BaseException:
                os.close(claim.descriptor)
                raise
            os.close(claim.descriptor)
            return run
        run = _newest(path, key)
        if run is not None and run.status() in ("starting", "running", "asking", *GOOD):
            return run
        if stopped():
            raise Refused(f"{key} is about to be started by another process", "look again: crashcart runs")
        time.sleep(TICK)


def find(key: str) -> Run | None:
    """The newest run of a key; None where there was none, or its record was removed."""
    return _newest(_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json", key)


def tidy() -> None:
    """Forget keys whose runs are all removed and that nobody is about to start."""
    for path in _folder().glob("*.json"):
        with suppress(OSError, msgspec.MsgspecError, Refused):
            known = msgspec.json.decode(path.read_bytes(), type=Record)
            if any((runs.home() / name).is_dir() for name in known.runs):
                continue
            if claim := _claimed(known.key, path):
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
                os.close(claim.descriptor)


def _folder() -> Path:
    folder = folders.state("once")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}", "make room or set XDG_STATE_HOME") from None
    return folder


def _claimed(key: str, path: Path) -> Claim | None:
    """The right, where nobody has it."""
    lock = path.with_suffix(".lock")
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise Refused(f"{lock}: {error.strerror}", "make room there, or see what it is") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        with suppress(OSError):
            if lock.stat().st_ino == os.fstat(descriptor).st_ino:
                return Claim(key, path, descriptor)
        os.close(descriptor)  # it was tidied away between the two


def _record(path: Path, key: str) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return Record(key)
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(f"{path} cannot be read: {error}", "see what it is, and move it away") from None


def _newest(path: Path, key: str) -> Run | None:
    known = _record(path, key)
    run = Run(runs.home() / known.runs[-1]) if known.runs else None
    return run if run and run.readable() else None
