"""QEMU runs its guest as a user who owns nothing, with what root opened for it, and ends with whoever started it."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engines.host.child import ROOT

FIRST = 0x70000000  # of 65536 numbers that belong to nobody; systemd and containers take none so high
# Waits for the end of its stdin, which is that of whoever holds the other end; a signal of a terminal is not for it.
REAPER = "trap '' INT TERM HUP; read -r _; kill -9 \"$1\""


def user(folder: Path) -> int | None:
    """The number of a user, and of a group, for one machine; None where this process may not become another.

    folder: what it gets to write in; None, too, where another user cannot reach that.

    One for each process, so that no guest that broke out of its QEMU meets another as itself.
    """
    if os.geteuid() != 0 or not _reached(folder):
        return None
    found = FIRST + os.getpid() % 65536
    mapped = all(_mapped(Path(f"/proc/self/{kind}_map"), found) for kind in ("uid", "gid"))
    return found if mapped and _may_become() else None


def _reached(folder: Path) -> bool:
    """Whether every folder on the way lets others pass, those behind a symbolic link among them."""
    way = {*folder.parents, *folder.resolve().parents}
    return all(each.stat().st_mode & stat.S_IXOTH for each in way)


def _mapped(path: Path, number: int) -> bool:
    """In a user namespace only some numbers exist."""
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            inside, _, count = map(int, line.split())
            if inside <= number < inside + count:
                return True
    return False


def _may_become() -> bool:
    """CAP_SETGID and CAP_SETUID (linux/capability.h)."""
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index("CapEff:") + 1], 16) & 0xC0 == 0xC0


def prepare(folder: Path, user: int, names: tuple[str, ...]) -> None:
    """Let that user write the files of these names in root's own folder, and nothing else there."""
    for name in names:
        path = folder / name
        path.touch(mode=0o600)
        os.chown(path, user, user)
    os.chown(folder, 0, user)
    folder.chmod(0o710)


@contextmanager
def ends_with_us(pid: int) -> Iterator[None]:
    """End a process whenever this one does: the kernel forgets whose child one is that becomes another user."""
    reaper = subprocess.Popen(
        ["/bin/sh", "-c", REAPER, "sh", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=ROOT,
    )
    try:
        yield
    finally:
        reaper.kill()  # before the process is: its number may be another's soon
        reaper.wait()
        if reaper.stdin:
            reaper.stdin.close()
