"""A machine's private folder, swept by a later machine when its own process was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Self

PREFIX = "crashcart-boot-"
FRESH = 60.0  # seconds in which a folder may have been made and not locked yet


class Scratch:
    """A 0700 folder under the temporary directory, or in `within`, locked for as long as its process lives."""

    def __init__(self, within: str = "") -> None:
        _sweep(within or tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within or None))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(within: str) -> None:
    for folder in Path(within).glob(f"{PREFIX}*"):
        try:
            known = folder.lstat()
            if known.st_uid == os.getuid() and time.time() - known.st_mtime > FRESH:
                _remove_unheld(folder)
        except OSError:
            continue  # another machine swept it first


def _remove_unheld(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
