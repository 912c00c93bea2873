"""Which processes have a file or device open, as /proc tells."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def processes(wanted: os.stat_result, *, writing: bool) -> Iterator[int]:
    """Ids of processes other than this one that have it open (for writing); those of other users only for root."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid() and _has(folder, wanted, writing):
            yield int(folder.name)


def _has(folder: Path, wanted: os.stat_result, writing: bool) -> bool:
    try:
        for entry in os.scandir(folder / "fd"):
            if not _same(os.stat(entry.path), wanted):  # noqa: PTH116  scandir's own path, far quicker than Path
                continue
            flags = int((folder / "fdinfo" / entry.name).read_text().split("flags:")[1].split()[0], 8)
            if not writing or flags & os.O_ACCMODE != os.O_RDONLY:
                return True
    except (OSError, IndexError):
        return False  # gone, or another user's
    return False


def _same(seen: os.stat_result, wanted: os.stat_result) -> bool:
    if stat.S_ISBLK(wanted.st_mode):
        return stat.S_ISBLK(seen.st_mode) and seen.st_rdev == wanted.st_rdev
    return stat.S_ISREG(seen.st_mode) and (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino)
