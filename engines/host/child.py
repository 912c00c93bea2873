"""Children: started from this checkout wherever they stand, and ended with whoever started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import engines

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Looked up before any fork: a child between fork and exec must not import or take a lock.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def module(name: str, *words: str) -> list[str]:
    """The command that runs a module of this checkout; it needs `environment`."""
    return [sys.executable, "-m", name, *words]


def environment(of: Mapping[str, str] | None = None) -> dict[str, str]:
    """`of` or the caller's own, with this checkout importable wherever the child stands."""
    given = dict(os.environ if of is None else of)
    assert engines.__file__ is not None
    root = str(Path(engines.__file__).resolve().parents[1])
    return {**given, "PYTHONPATH": os.pathsep.join(filter(None, [root, given.get("PYTHONPATH")]))}


def bind_to_parent() -> Callable[[], None]:
    """A `preexec_fn`: the kernel kills the child when the thread that started it ends, however it ends."""
    parent = os.getpid()

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)

    return bind


def die_with_parent(by: signal.Signals = signal.SIGKILL, parent: int = 0) -> None:
    """Have the kernel end this process by that signal when its parent, whose pid is best told to it, is gone."""
    parent = parent or os.getppid()
    _prctl(PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), by)
