"""A destination folder written through descriptors only, so that no link, `..` or racing rename leads out of it."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

OPENED = 48  # folders kept open; deep trees must not use up descriptors
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NOREPLACE = 1  # RENAME_NOREPLACE, linux/fs.h
UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
ACLS = ("system.posix_acl_access", "system.posix_acl_default")

_libc = ctypes.CDLL(None, use_errno=True)


class Destination:
    """An existing folder. Paths are bytes below it, relative, components joined by `/`; b"" is the folder itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._opened: OrderedDict[bytes, int] = OrderedDict()

    def close(self) -> None:
        """Let go of it."""
        while self._opened:
            os.close(self._opened.popitem()[1])
        os.close(self._root)

    def folder(self, path: bytes) -> int:
        """A descriptor of the folder, good until the next call. Raises OSError: ELOOP or ENOTDIR where it is a link."""
        if not path:
            return self._root
        if path in self._opened:
            self._opened.move_to_end(path)
            return self._opened[path]
        found = self._walked(path)
        self._opened[path] = found
        if len(self._opened) > OPENED:
            os.close(self._opened.popitem(last=False)[1])
        return found

    def _walked(self, path: bytes) -> int:
        above, _, name = path.rpartition(b"/")
        if above in self._opened or not above:
            return os.open(name, FOLDER, dir_fd=self.folder(above))
        at = os.dup(self._root)
        for part in path.split(b"/"):
            try:
                below = os.open(part, FOLDER, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at

    def forget(self, path: bytes) -> None:
        """Close a folder that is done with."""
        if path in self._opened:
            os.close(self._opened.pop(path))

    def seen(self, path: bytes) -> os.stat_result | None:
        """What is at `path`, a link as itself; None for nothing. Raises OSError for a name that cannot be there."""
        above, name = split(path)
        try:
            return os.stat(name or b".", dir_fd=self.folder(above), follow_symlinks=False)
        except FileNotFoundError:
            return None

    def make(self, path: bytes) -> os.stat_result:
        """A new folder that only its owner enters, without what it would inherit. Raises FileExistsError, OSError."""
        above, name = split(path)
        os.mkdir(name, 0o700, dir_fd=self.folder(above))
        made = self.folder(path)
        for each in ACLS:
            with suppress(OSError):  # none, or a file system without
                os.removexattr(made, each)
        return os.fstat(made)

    def remove(self, path: bytes) -> None:
        """Remove a file or an empty folder. Raises OSError."""
        found = self.seen(path)
        if found is None:
            return
        above, name = split(path)
        self.forget(path)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=self.folder(above))
        else:
            os.unlink(name, dir_fd=self.folder(above))

    def place(self, staged: bytes, path: bytes, *, replace: bool) -> None:
        """Rename `staged` to `path`; what is there stays unless `replace`. Raises FileExistsError, OSError."""
        source, above = split(staged), split(path)
        origin = os.dup(self.folder(source[0]))
        try:
            target = self.folder(above[0])
            if replace:
                os.rename(source[1], above[1], src_dir_fd=origin, dst_dir_fd=target)
            else:
                _renamed(origin, source[1], target, above[1])
        finally:
            os.close(origin)

    def flush(self) -> None:
        """Have all of it on the disk. Raises OSError."""
        if _libc.syncfs(self._root):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def room(self) -> int:
        """Bytes that are free for this user."""
        found = os.fstatvfs(self._root)
        return found.f_bavail * found.f_frsize


def split(path: bytes) -> tuple[bytes, bytes]:
    """Folder and name."""
    above, _, name = path.rpartition(b"/")
    return above, name


def _renamed(origin: int, source: bytes, target: int, name: bytes) -> None:
    """Rename where there is nothing of that name."""
    if not _libc.renameat2(origin, source, target, name, NOREPLACE):
        return
    number = ctypes.get_errno()
    if number not in UNKNOWN:
        raise OSError(number, os.strerror(number), os.fsdecode(name))
    # NFS and some FUSE file systems: an own empty file keeps the name free until it is replaced.
    os.close(os.open(name, NEW, 0o600, dir_fd=target))
    os.rename(source, name, src_dir_fd=origin, dst_dir_fd=target)
