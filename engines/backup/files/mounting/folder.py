"""The folder that is mounted on: the one that was looked at, whatever its name leads to later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.job.errors import Refused


@dataclass(frozen=True)
class Folder:
    """A folder by its real path and its `identity`, device:inode."""

    path: Path
    identity: str

    @classmethod
    def empty(cls, path: Path) -> Folder:
        """What lies at a real path now. Raises Refused where that is no empty folder."""
        if not path.is_dir():
            raise Refused(f"{path} is no folder", f"make it first: mkdir {path}")
        try:
            descriptor = _open(path)
            try:
                if any(os.scandir(descriptor)):
                    raise Refused(f"{path} is not empty", "name an empty folder: a mount hides what is in it")
                return cls(path, _identity(descriptor))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}", "name another folder") from None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of the very folder. Raises OSError, Refused where another lies there."""
        descriptor = _open(self.path)
        try:
            if _identity(descriptor) != self.identity:
                raise Refused(f"{self.path} is another folder by now", "see who put it there, and start again")
            yield descriptor
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _identity(descriptor: int) -> str:
    found = os.fstat(descriptor)
    return f"{found.st_dev}:{found.st_ino}"
