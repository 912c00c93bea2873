"""Lends what the page cache holds of a file at rest, so that it can be hashed where it lies."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import threading

from engines.backup.device import kind_of
from engines.backup.page_cache import resident

FIRST = 16  # pieces that are unmapped at once, so that who times them sees all that they cost
MADV_POPULATE_READ = 22  # asm-generic/mman-common.h; Python 3.11 does not name it
UNMAPPED = 64 * 1024 * 1024  # bytes between two times that pages are let go of, which interrupts every processor
KINDS = {"ext2", "ext3", "ext4", "xfs", "tmpfs"}  # file systems that nobody changes but by this kernel


class Lending:
    """The mapped content of one open file, for several threads.

    A mapped file that is cut short, or cannot be read, ends the process that looks at it. So a piece is lent only while
    a lease holds off whoever would write the file or cut it (fcntl(2), F_SETLEASE; they wait for the few milliseconds
    that it takes to hash a piece), and if it is in memory then. Where there can be no such lease, or others than this
    kernel may cut the file, nothing is lent.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._fd = descriptor
        self._own = threading.local()
        self._leases: list[int] = []
        self._forgotten = 0
        self._lent = 0
        self._map: mmap.mmap | None = None
        if size and kind_of(descriptor) in KINDS:
            with contextlib.suppress(OSError, OverflowError, ValueError):  # no room for so many addresses, or cut since
                self._map = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        self._view = memoryview(self._map or b"")
        self._off = self._map is None

    def lend(self, offset: int, length: int) -> memoryview | None:
        """What lies there and is in memory, until this thread calls `take_back`, soon; None where it must be read."""
        if self._off:
            return None
        try:
            lease = self._lease()
            fcntl.fcntl(lease, fcntl.F_SETSIG, signal.SIGURG)  # who waits is announced by it, not by SIGIO, which kills
            fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError:  # somebody writes it, it is another's, or its file system has no leases
            self._off = True
            return None
        if not self._there(offset, length):  # before there was a lease, it could be cut after such a look
            self._give_back()
            return None
        return self._view[offset : offset + length]

    def _there(self, offset: int, length: int) -> bool:
        """Whether all of it is in memory and can be looked at; it is in the address space then."""
        if resident(self._fd, offset, length) < length:
            return False
        try:
            self._advise(MADV_POPULATE_READ, offset, offset + length)
        except OSError:  # a page that cannot be read or is behind the end, or a kernel before 5.14
            return False
        return True

    def take_back(self, offset: int, length: int) -> bool:
        """The piece that this thread had is not looked at any more; False where it was not safe all the time."""
        held = self._give_back()
        self._lent += 1
        if self._lent <= FIRST:
            self._advise(mmap.MADV_DONTNEED, offset, offset + length)
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
        if self._lent > FIRST and offset - self._forgotten >= UNMAPPED:
            self._advise(mmap.MADV_DONTNEED, self._forgotten, offset)
            self._forgotten = offset

    def _advise(self, how: int, start: int, end: int) -> None:
        low = start // mmap.PAGESIZE * mmap.PAGESIZE
        if self._map is not None:
            self._map.madvise(how, low, end - low)

    def close(self) -> None:
        """Let go of all."""
        self._off = True
        for descriptor in self._leases:
            os.close(descriptor)
        self._leases.clear()
        with contextlib.suppress(BufferError):  # a thread that failed may have a piece in its hands still
            self._view.release()
            if self._map is not None:
                self._map.close()
