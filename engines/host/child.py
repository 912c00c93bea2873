"""Children: Python of this checkout and of no folder that somebody stands in, ended with whoever started them."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

import engines

INTERPRETER = sys.executable
ROOT = "/"  # where children stand: no user can put a module there
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4  # linux/prctl.h
CAP_SYS_PTRACE = 1 << 19  # linux/capability.h
# Looked up before any fork: a child between fork and exec must not import or take a lock.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def module(name: str, *words: str) -> list[str]:
    """The command that runs a module of this checkout; for `start`."""
    return [INTERPRETER, "-P", "-m", name, *words]


def code(text: str, *words: str) -> list[str]:
    """The command that runs a few lines of Python; for `start`, or `run` with `environment`."""
    return [INTERPRETER, "-P", "-W", "ignore", "-c", text, *words]


def start(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.PIPE,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
    keep: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """A child in a session of its own, standing in /: a Ctrl-C of the terminal is for its parent.

    env: its environment before `environment` adds to it. before: called in the child before it becomes the program.
    keep: descriptors that it inherits, and with them the locks on them.
    """
    pipes: dict[str, Any] = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    return subprocess.Popen(
        argv,
        **pipes,
        start_new_session=True,
        cwd=ROOT,
        env=environment(env),
        preexec_fn=before,
        close_fds=True,
        pass_fds=tuple(keep),
    )


def become(name: str) -> NoReturn:
    """Be a module of this checkout from here on, in the same folder: what is typed there may be relative."""
    os.execve(INTERPRETER, module(name), environment())  # noqa: S606  our own interpreter, fixed words


def environment(of: Mapping[str, str] | None = None) -> dict[str, str]:
    """`of` or the caller's own, with this checkout importable wherever the child stands, and nothing of that place."""
    given = dict(os.environ if of is None else of)
    assert engines.__file__ is not None
    root = str(Path(engines.__file__).resolve().parents[1])
    others = [place for place in given.get("PYTHONPATH", "").split(os.pathsep) if Path(place).is_absolute()]
    path = os.pathsep.join(dict.fromkeys([root, *others]))
    return {**given, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def bind_to_parent() -> Callable[[], None]:
    """A `preexec_fn`: the kernel kills the child when the thread that started it ends, however it ends."""
    parent = os.getpid()

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)

    return bind


def bounded(memory: int) -> Callable[[], None]:
    """A `preexec_fn` as `bind_to_parent`, for a program that reads what a guest wrote: no more address space than
    that many bytes, and no core dump, which would hold the guest's secrets."""
    bind = bind_to_parent()

    def bound() -> None:
        bind()
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return bound


@cache
def unread_by_others() -> None:
    """From now on no other process of this user may read the memory of this one, as gdb would; children may be read.

    Root's own children open what it holds by its /proc, which takes a right that some containers lack: there it stays.
    """
    if os.geteuid() == 0 and not _rights() & CAP_SYS_PTRACE:
        return
    _prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _rights() -> int:
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index("CapEff:") + 1], 16)


def die_with_parent(by: signal.Signals = signal.SIGKILL, parent: int = 0) -> None:
    """Have the kernel end this process by that signal when its parent, whose pid is best told to it, is gone."""
    parent = parent or os.getppid()
    _prctl(PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), by)
