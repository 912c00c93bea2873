"""Children that end with the thread that started them."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Looked up before any fork: a child between fork and exec must not import or take a lock.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def bind_to_parent() -> Callable[[], None]:
    """A `preexec_fn`: the kernel kills the child when the thread that started it ends, however it ends."""
    parent = os.getpid()

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)

    return bind
