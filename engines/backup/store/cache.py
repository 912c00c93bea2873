"""Where files of a far repository that are mapped are kept on this machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from engines.backup.store.store import TEMPORARY
from engines.job import folders


class FarCache:
    """Copies of a far repository's files, below this user's cache folder."""

    def __init__(self, where: str) -> None:
        self._folder = folders.cache("far") / hashlib.sha256(where.encode()).hexdigest()[:16]

    def path(self, name: str) -> Path:
        """Where the copy of a file is, or would be."""
        return self._folder / name

    def scratch(self, name: str) -> Path:
        """A new path beside it, to build it at."""
        path = self.path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")

    def filled(self, name: str, size: int, piece: int, read: Callable[[str, int, int], bytes]) -> Path:
        """The copy, made by reads of at most `piece` bytes where there is none of that size."""
        path = self.path(name)
        if path.is_file() and path.stat().st_size == size:
            return path
        partial = self.scratch(name)
        try:
            with partial.open("xb") as stream:
                for at in range(0, size, piece):
                    stream.write(read(name, at, min(piece, size - at)))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def take(self, built: Path, name: str) -> None:
        """Keep what was built at `scratch(name)` as the copy."""
        built.replace(self.path(name))

    def forget(self, name: str) -> None:
        """Remove the copy, if there is one."""
        self.path(name).unlink(missing_ok=True)
