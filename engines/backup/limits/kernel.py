"""A throttle that the kernel enforces, checked while it works, with waiting in reserve where the kernel does not."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from typing_extensions import override

from engines.backup.limits.groups import Group
from engines.backup.limits.throttle import Throttle, TokenBucket
from engines.job.contract import Cancel

LOOKS = 1.0  # s between looks
SLACK = 1.25  # a limit that is exceeded by more than this is none
START = 32 * 1024 * 1024  # bytes that may be ahead of the limit at the start: readahead, the slice of blk-throttle


def fetched(reader: int = 0) -> int | None:
    """Bytes that a process has had the disks read, page cache left out; None where the kernel does not count.

    reader: its id, 0 for our own.
    """
    try:
        lines = Path(f"/proc/{reader or 'self'}/io").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes:")), None)


class KernelThrottle(Throttle):
    """See Throttle."""

    def __init__(self, group: Group, rate: int, origin: str, cancel: Cancel, reader: int = 0) -> None:
        self.rate = rate
        self.by = f"{group.by} around qemu-nbd" if reader else group.by
        self.words = f"{rate / 1e6:.0f} MB/s by {self.by} ({origin})"
        self._reader = reader
        self.failed = False
        self._group = group
        self._reserve = TokenBucket(rate, origin, cancel)
        self._lock = threading.Lock()
        self._began: float | None = None
        self._looked = 0.0
        self._since = 0
        self._before = self._fetched()
        self._cancel = cancel

    @override
    def enter(self) -> None:
        try:
            self._group.enter()
        except OSError:
            self.failed = True

    @override
    def take(self, count: int) -> None:
        self._cancel.check()
        self._look(count)
        if self.failed:
            self._reserve.take(count)

    def _look(self, count: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._since += count
            if self._began is None:
                self._began = self._looked = now
                self._before = self._fetched()
            if self.failed or (now - self._looked < LOOKS and self._since < START):
                return
            self._looked, self._since = now, 0
            read = self._fetched() - self._before
            self.failed = read > self.rate * (now - self._began) * SLACK + START

    def _fetched(self) -> int:
        return fetched(self._reader) or 0

    @override
    def report(self, count: int, seconds: float) -> str:
        read = self._fetched() - self._before
        reached = read / max(seconds, 1e-9)
        allowed = f"{self.rate / 1e6:.0f} MB/s allowed"
        cached = f", {(count - read) / 1e6:.0f} MB more came from memory" if count > read * 1.05 else ""
        if self.failed:
            return (
                f"the kernel did not hold {self.by} to {allowed}, so it was held by waiting:"
                f" {reached / 1e6:.1f} MB/s from the disk in the end{cached}"
            )
        verdict = "kept" if self.kept(count, seconds) else "NOT kept"
        return f"read {reached / 1e6:.1f} MB/s from the disk, {allowed}, {verdict} by {self.by}{cached}"

    @override
    def kept(self, count: int, seconds: float) -> bool:
        read = self._fetched() - self._before
        return not self.failed and read <= self.rate * seconds * 1.1 + START

    def close(self) -> None:
        """Remove the group."""
        self._group.close()
