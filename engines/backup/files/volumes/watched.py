"""A disk whose reads end where a stop is asked for: what looks through much of it needs no more than that."""

from __future__ import annotations

from typing_extensions import override

from engines.backup.files.model import DiskBytes
from engines.job.contract import Cancel


class Watched(DiskBytes):
    """`disk` until `cancel` is set; `read` then raises Stopped."""

    def __init__(self, disk: DiskBytes, cancel: Cancel) -> None:
        self.size = disk.size
        self._disk = disk
        self._cancel = cancel

    @override
    def read(self, offset: int, length: int) -> bytes:
        self._cancel.check()
        return self._disk.read(offset, length)
