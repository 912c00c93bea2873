"""Lends what the page cache holds of a file at rest, so that it can be hashed where it lies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading

from engines.backup.pages.page_cache import resident
from engines.backup.sources.mapping import Mapping
from engines.host.device import kind_of

FIRST = 16  # pieces that are unmapped at once, so that who times them sees all that they cost
UNMAPPED = 64 * 1024 * 1024  # bytes between two times that pages are let go of, which interrupts every processor
KINDS = {"ext2", "ext3", "ext4", "xfs", "tmpfs"}  # file systems that nobody changes but by this kernel


class Lending:
    """The mapped content of one open file, for several threads.

    A mapped file that is cut short, or cannot be read, ends the process that looks at it. So a piece is lent only while
    a lease holds off whoever would write the file or cut it (fcntl(2), F_SETLEASE; they wait for the few milliseconds
    that it takes to hash a piece), and if it is in memory then. Where there can be no such lease, or others than this
    kernel may cut the file, nothing is lent.

    What remains ends the process as a kill does, with nothing half done: that it is itself stopped for longer than the
    kernel waits for a lease (lease-break-time), or that within those milliseconds the pages and the disk go away.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._fd = descriptor
        self._own = threading.local()
        self._leases: list[int] = []
        self._forgotten = 0
        self._lent = 0
        self._map: Mapping | None = None
        if size and kind_of(descriptor) in KINDS:
            with contextlib.suppress(OSError):  # what cannot be mapped is read
                self._map = Mapping(descriptor, size)
        self._off = False

    def lend(self, offset: int, length: int) -> memoryview | None:
        """What lies there and is in memory, until this thread calls `take_back`, soon; None where it must be read."""
        if self._off or self._map is None:
            return None
        try:
            lease = self._lease()
            fcntl.fcntl(lease, fcntl.F_SETSIG, signal.SIGURG)  # who waits is announced by it, not by SIGIO, which kills
            fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError:  # somebody writes it, it is another's, or its file system has no leases
            self._off = True
            return None
        # Before there was a lease, it could be cut after such a look. What is resident may still be a page that failed.
        if resident(self._fd, offset, length) < length or not self._map.populate(offset, length):
            self._give_back()
            return None
        return self._map.view(offset, length)

    def take_back(self, offset: int, length: int) -> bool:
        """The piece that this thread had is not looked at any more; False where it was not safe all the time."""
        held = self._give_back()
        self._lent += 1
        if self._lent <= FIRST and self._map is not None:
            self._map.forget(offset, length)
        return held

    def _give_back(self) -> bool:
        """End the lease, with which the kernel forgets the signal; False where it was broken by force."""
        try:
            fcntl.fcntl(self._lease(), fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            self._off = True
            return False
        return True

    def _lease(self) -> int:
        """This thread's own open file: a lease belongs to one."""
        if not hasattr(self._own, "lease"):
            descriptor = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)
            self._leases.append(descriptor)
            self._own.lease = descriptor
        found: int = self._own.lease
        return found

    def forget(self, offset: int) -> None:
        """Nothing below `offset` is lent any more: keep the process small."""
        self._forgotten = min(self._forgotten, offset)  # a second pass begins anew
        if self._lent > FIRST and offset - self._forgotten >= UNMAPPED and self._map is not None:
            self._map.forget(self._forgotten, offset - self._forgotten)
            self._forgotten = offset

    def close(self) -> None:
        """Let go of all."""
        self._off = True
        for descriptor in self._leases:
            os.close(descriptor)
        self._leases.clear()
        if self._map is not None:
            self._map.close()
            self._map = None
