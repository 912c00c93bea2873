"""A file of a local repository while it grows."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from typing_extensions import override

from engines.backup.pages.write_behind import WriteBehind
from engines.backup.store.ownership import Ownership
from engines.backup.store.store import Appender, Bytes


class LocalAppender(Appender):
    """A growing file whose pages go to the disk as it grows, by whoever calls `push`; see Appender.

    rename: gives it its name among a repository's files, once it is sealed.
    """

    def __init__(self, path: Path, owner: Ownership, keep: int, rename: Callable[[str], None]) -> None:
        self._rename = rename
        self.offset = keep
        self._flush = WriteBehind()
        self._closing = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        owner.take(self._fd)
        os.ftruncate(self._fd, keep)

    @override
    def write(self, parts: Sequence[Bytes]) -> None:
        total = sum(len(part) for part in parts)
        try:
            written = os.pwritev(self._fd, parts, self.offset)
            if written < total:
                rest = b"".join(parts)
                while written < total:
                    written += os.pwrite(self._fd, rest[written:], self.offset + written)
        except OSError:
            os.ftruncate(self._fd, self.offset)  # what fitted of it would stand behind the footer
            raise
        self.offset += total

    @override
    def push(self) -> None:
        with self._closing:
            if self._fd < 0:
                return
            self._flush.push(self._fd, self.offset)

    @override
    def seal(self, name: str) -> None:
        os.fsync(self._fd)
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self.abandon()
        self._rename(name)

    @override
    def abandon(self) -> None:
        with self._closing:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
