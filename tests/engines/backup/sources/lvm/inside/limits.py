"""Scenes with limits: cgroup v2 on a mapped device."""

from __future__ import annotations

import time
from typing import Any

from engines.backup.limits import cgroup
from engines.backup.limits.speed import Speed
from engines.backup.limits.throttle import Limit
from engines.backup.limits.throttling import throttled
from engines.host import device
from engines.job.contract import Cancel
from tests.engines.backup.sources.lvm.inside import scenes
from tests.engines.backup.sources.lvm.inside.scenes import MIB

LIMIT = 40_000_000


def held() -> dict[str, Any]:
    """A thick volume of 64 MiB is read twice over, cold, under io.max."""
    own = device.of(scenes.B)
    hierarchy = cgroup.mounted()
    assert own is not None and hierarchy is not None
    home = hierarchy.group()
    read = 0
    with throttled(Limit(rate=LIMIT), own, _no_speed, Cancel()) as throttle:
        throttle.enter()
        began = time.monotonic()
        for _ in range(2):
            read += _cold(throttle)
        took = time.monotonic() - began
        words, said, inside = throttle.words, throttle.report(read, took), hierarchy.group()
    return {
        "rate": read / took,
        "words": words,
        "said": said,
        "inside": str(inside),
        "home": str(home),
        "after": str(hierarchy.group()),
        "left": [str(folder) for folder in hierarchy.root.rglob("crashcart-*")],
        "version": hierarchy.version,
    }


def _cold(throttle: Any) -> int:
    import os

    descriptor = os.open(scenes.B, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    read = 0
    while part := os.pread(descriptor, 4 * MIB, read):
        throttle.take(len(part))
        read += len(part)
    os.close(descriptor)
    return read


def _no_speed() -> Speed:
    raise AssertionError("nobody asks for it")


def of_a_vm() -> dict[str, Any]:
    """A process in a group with a limit has the disk open for writing, as a VM would."""
    import subprocess
    from pathlib import Path

    from engines.backup.limits import speed

    own = device.of(scenes.B)
    group = Path("/sys/fs/cgroup/vm.scope")
    group.mkdir()
    (group / "io.max").write_text(f"{own} rbps=80000000")
    with subprocess.Popen(["sleep", "600"], stdin=scenes.B.open("r+b", buffering=0)) as vm:
        (group / "cgroup.procs").write_text(str(vm.pid))
        found = speed.allowed(scenes.B, 64 * MIB)
        vm.kill()
    group.rmdir()
    measured = speed.allowed(scenes.B, 64 * MIB)
    again = speed.allowed(scenes.B, 64 * MIB)
    return {
        "rate": found.rate,
        "origin": found.origin,
        "measured": measured.rate,
        "measured_origin": measured.origin,
        "again": again.rate,
        "again_origin": again.origin,
    }
