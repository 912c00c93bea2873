"""Scenes of several disks: a VM that writes to two of them in turn, and what their snapshots hold."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.backup.sources.lvm import agent, sweep
from engines.backup.sources.lvm.moment import Moment
from engines.backup.sources.lvm.source import opened
from engines.backup.sources.options import SourceOptions
from engines.host.holder import Holder, boot_id, start_time
from tests.engines.backup.sources.lvm.inside import scenes

SOCKET = Path("/run/agent")
COUNTING = """
import mmap, os, struct, sys
first, second = (os.open(path, os.O_RDWR | os.O_DIRECT) for path in sys.argv[1:])
page = mmap.mmap(-1, 4096)
number = 0
while True:
    number += 1
    page[:8] = struct.pack("<Q", number)
    os.pwrite(first, page, 0)
    os.pwrite(second, page, 0)
    if number == 3: print("counts", flush=True)
"""


@contextlib.contextmanager
def vm(first: Path, second: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes the same growing number to one disk, then to the other, on and on."""
    argv = [sys.executable, "-S", "-c", COUNTING, str(first), str(second)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline()
        try:
            yield writer
        finally:
            writer.kill()


def two_disks(kind: str) -> dict[str, Any]:
    """In one moment the numbers on the two disks differ by one at most."""
    first, second = {"thick": (scenes.A, scenes.B), "thin": (scenes.ONE, scenes.TWO)}[kind]
    before = scenes.names()
    with vm(first, second) as writer:
        with opened([first, second], SourceOptions()) as sources:
            numbers = [int.from_bytes(scenes.read(source, 4096)[:8], "little") for source in sources]
            consistency, warnings = sources[0].consistency, sources[0].warnings
            for source in sources:
                source.check()
            now = int.from_bytes(_head(first), "little")
        state = Path(f"/proc/{writer.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return {
        "numbers": numbers,
        "now": now,
        "consistency": consistency,
        "warnings": warnings,
        "state": state,
        "left": sorted(set(scenes.names()) - set(before)),
    }


def _head(path: Path) -> bytes:
    import mmap

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    os.preadv(descriptor, [page], 0)
    os.close(descriptor)
    return page[:8]


def mounted() -> dict[str, Any]:
    """A disk that this machine itself has mounted cannot be made to stand still from outside."""
    scenes.run("mke2fs", "-q", "-F", str(scenes.A))
    scenes.run("mount", str(scenes.A), "/mnt")
    try:
        with opened([scenes.A, scenes.B], SourceOptions()) as sources:
            return {"consistency": sources[0].consistency, "warnings": sources[0].warnings}
    finally:
        scenes.run("umount", "/mnt")


@contextlib.contextmanager
def guest_agent() -> Iterator[None]:
    """A real guest agent, as it runs inside a VM."""
    argv = ["qemu-ga", "--method", "unix-listen", "--path", str(SOCKET), "--statedir", "/run/tmp"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            end = time.monotonic() + 60
            while not SOCKET.exists():
                assert time.monotonic() < end and running.poll() is None, "qemu-ga does not start"
                time.sleep(0.05)
            yield
        finally:
            running.kill()
            SOCKET.unlink(missing_ok=True)


def quiesced() -> dict[str, Any]:
    """A guest with a file system and its agent: what is written but not yet on disk is in the snapshot.

    A loop device stands between the two for the VM: a file system frozen directly on the volume would be the
    host's own, which LVM freezes for itself.
    """
    scenes.run("mke2fs", "-q", "-F", "-t", "ext4", str(scenes.A))
    loop = scenes.run("losetup", "--find", "--show", str(scenes.A)).strip()
    scenes.run("mount", loop, "/mnt")
    seen: dict[str, Any] = {}
    try:
        Path("/mnt/note").write_text("not yet on the disk")
        with guest_agent():
            with opened([scenes.A], SourceOptions(agent=SOCKET)) as (source,):
                seen |= {"consistency": source.consistency, "warnings": source.warnings}
                seen["clean"] = scenes.run("dumpe2fs", "-h", str(source.snapshot.path)).count("needs_recovery") == 0
                with subprocess.Popen(
                    ["debugfs", "-R", "cat note", str(source.snapshot.path)], stdout=subprocess.PIPE, text=True
                ) as debugfs:
                    assert debugfs.stdout is not None
                    seen["note"] = debugfs.stdout.read()
            Path("/mnt/after").write_text("thawed")
            with agent.Agent(SOCKET) as asked:
                seen["thawed"] = asked.thaw()
    finally:
        scenes.run("umount", "/mnt")
        scenes.run("losetup", "--detach", loop)
    with opened([scenes.A], SourceOptions(agent=Path("/run/nobody"))) as (source,):
        seen |= {"without": source.consistency, "without_warnings": source.warnings}
    return seen


def held_too_long() -> dict[str, Any]:
    """A holder lets go by itself; a killed one is made good by the next sweep."""
    with subprocess.Popen(["sleep", "600"]) as one:
        holder = Holder(one.pid, start_time(one.pid), boot_id())
        with Moment([holder], longest=5.0) as moment:
            stopped = _state(one.pid)
            end = time.monotonic() + 120
            while (let_go := _state(one.pid)) == "T" and time.monotonic() < end:
                time.sleep(0.1)
        whole = moment.released.whole
        with contextlib.suppress(OSError), Moment([holder], longest=60.0) as killed:
            os.kill(killed._child.pid, signal.SIGKILL)
            killed._child.wait()
            left = _state(one.pid)
        woken = sweep.wake()
        awake = _state(one.pid)
        one.kill()
    return {
        "stopped": stopped,
        "let_go": let_go,
        "whole": whole,
        "killed": killed.released.whole,
        "left": left,
        "woken": woken,
        "awake": awake,
    }


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
