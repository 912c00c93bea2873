"""What a local place lacks that a repository then does another way, found out by trying."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from engines.backup.store.store import TEMPORARY

LINKS = "hard links: a new name is claimed by a second file first"
FOLDER_SYNC = "fsync of folders: after a power cut the newest names may be gone, and the next run makes them anew"


def lacks(folder: Path) -> Iterator[str]:
    """In words, for people; nothing is left in the folder. Raises OSError where it cannot be written."""
    name = folder / f"{TEMPORARY}{os.urandom(8).hex()}"
    other = name.with_name(f"{name.name}-2")
    name.write_bytes(bytes(mmap.PAGESIZE))
    try:
        if not _does(lambda: os.link(name, other)):
            yield LINKS
        if not _does(lambda: _sync(folder)):
            yield FOLDER_SYNC
        if not _does(lambda: _map(name)):
            yield "shared mappings: what would be mapped is held in memory, and written as a whole"
        if not _does(lambda: name.chmod(0o640)):
            yield "modes and owners: who may read it is up to how it is mounted"
    finally:
        for path in (name, other):
            with suppress(OSError):
                path.unlink()


def _does(act: Callable[[], object]) -> bool:
    try:
        act()
    except OSError:
        return False
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _map(path: Path) -> None:
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), mmap.PAGESIZE):
        pass
