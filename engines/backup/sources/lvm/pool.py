"""The thin pool that a volume takes its room from: how much is free, and a watch that ends a writer before it is full.

Asked of the kernel alone. Source: Documentation/admin-guide/device-mapper/thin-provisioning.rst.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from engines.backup.sources.lvm import kernel
from engines.backup.sources.lvm.kernel import Mapped
from engines.backup.sources.lvm.watch import MOST, Course
from engines.job.errors import Failed

SECTOR = 512  # bytes


@dataclass(frozen=True)
class ThinPool:
    """A thin pool beside one of its volumes; sizes in bytes. chunk: what it gives at a time.

    free: what may still be taken before it is too full. mapped: what the volume has of it already.
    """

    name: str
    device: tuple[int, int]
    chunk: int
    free: int
    mapped: int


def pool_below(path: Path) -> ThinPool | None:
    """The pool of the thin volume at `path`; None for anything else."""
    try:
        found = path.stat()
        if not stat.S_ISBLK(found.st_mode):
            return None
        own = os.major(found.st_rdev), os.minor(found.st_rdev)
        thin = _words(kernel.table(own), "thin")
        if len(thin) < 2:
            return None
        major, _, minor = thin[0].partition(":")
        device = int(major), int(minor)
        mapped = int(_words(kernel.status(own), "thin")[0]) * SECTOR
        chunk = int(_words(kernel.table(device), "thin-pool")[2]) * SECTOR
        data, _ = kernel.pool_fill(kernel.status(device))
    except (OSError, ValueError, IndexError):
        return None
    free = int(data.total * MOST / 100) - data.used
    return ThinPool(_name(device), device, chunk, max(free, 0) * chunk, mapped)


def _words(found: Mapped, kind: str) -> list[str]:
    return next((target.status for target in found.targets if target.kind == kind), "").split()


def _name(device: tuple[int, int]) -> str:
    """VG/LV of the pool's own device, which device-mapper calls VG-LV-tpool, with each dash of a name doubled."""
    path = Path(f"/sys/dev/block/{device[0]}:{device[1]}/dm/name")
    known = path.read_text().strip().removesuffix("-tpool")
    group, _, pool = known.replace("--", "\0").partition("-")
    return f"{group}/{pool}".replace("\0", "-")


class PoolWatch:
    """Looks at a pool while somebody writes to one of its volumes."""

    def __init__(self, pool: ThinPool) -> None:
        self._pool = pool
        self._courses: dict[str, Course] = {}

    def check(self) -> None:
        """Raise Failed where the pool is about to be full, at the fastest filling seen, or in trouble."""
        now = time.monotonic()
        pool = self._pool
        try:
            data, metadata = kernel.pool_fill(kernel.status(pool.device))
        except OSError as error:
            raise Failed(f"thin pool {pool.name} does not answer: {error.strerror}", "see: lvs -a") from None
        for what, fill in (("data", data), ("metadata", metadata)):
            course = self._courses.setdefault(what, Course(now, now, fill.percent))
            course.note(now, fill.percent)
            if fill.trouble or course.too_full(fill.percent):
                raise Failed(
                    f"the {what} of thin pool {pool.name} {fill.trouble or f'is {fill.percent:.0f} % full'}:"
                    " stopped before the other guests on it can write no more",
                    f"extend the pool (lvextend --size +…G {pool.name}), then go on: crashcart resume",
                )
