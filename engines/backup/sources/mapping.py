"""A file's content in this process's addresses, read-only; other threads go on while pages are brought in."""

from __future__ import annotations

import ctypes
import mmap

MADV_POPULATE_READ = 22  # asm-generic/mman-common.h, since Linux 5.14

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Mapping:
    """The first `size` bytes of an open file; see mmap(2). Python's own mmap has all threads wait during madvise.

    Raises OSError where there is no room for so many addresses.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        at = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if at is None or at == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        self._at: int = at
        self._size = size

    def view(self, offset: int, length: int) -> memoryview:
        """What lies there: to be let go of before `close`, and not looked at where the file may be cut meanwhile."""
        return memoryview((ctypes.c_char * length).from_address(self._at + offset)).cast("B").toreadonly()

    def populate(self, offset: int, length: int) -> bool:
        """Bring that range in; False where some of it cannot be read or is behind the end, or on an older kernel."""
        return self._advise(MADV_POPULATE_READ, offset, length)

    def forget(self, offset: int, length: int) -> None:
        """Let go of the pages that begin in that range; they stay in the page cache."""
        self._advise(mmap.MADV_DONTNEED, offset, length)

    def _advise(self, how: int, offset: int, length: int) -> bool:
        low = offset // mmap.PAGESIZE * mmap.PAGESIZE
        return bool(_libc.madvise(self._at + low, offset + length - low, how) == 0)

    def close(self) -> None:
        """Give the addresses back."""
        _libc.munmap(self._at, self._size)
