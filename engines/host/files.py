"""Files are written whole or not at all, and what was renamed stays renamed; what is read is a file and no trap."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

FULL = (errno.ENOSPC, errno.EDQUOT)
NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # what file systems answer that sync no folders, as CIFS


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable, where its file system has a way to."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_opened(descriptor)
    finally:
        os.close(descriptor)


def sync_opened(folder: int) -> None:
    """The same of a folder that is open."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write by a temporary file that nobody else made, fsync and rename; by default readable by the owner only.

    Never in the place of a device, pipe or socket, which would be gone for everybody: raises OSError.
    """
    for look in (path.lstat, path.stat):
        with suppress(FileNotFoundError):
            if not any(kind(look().st_mode) for kind in (stat.S_ISREG, stat.S_ISLNK, stat.S_ISDIR)):
                raise OSError(errno.EINVAL, "it is a device, pipe or socket, and no file", str(path))
    partial = path.with_name(f".{path.name[:200]}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def partials(path: Path) -> list[Path]:
    """What killed processes that wrote `path` whole left beside it. Raises OSError."""
    own = re.compile(rf"\.{re.escape(path.name[:200])}\.[0-9]+\.[0-9a-f]{{8}}")
    return [one for one in path.parent.iterdir() if own.fullmatch(one.name)]


def open_file(path: Path, *, follow: bool = True, devices: bool = False, write: bool = False) -> int:
    """A descriptor of a regular file, or of a block device; never waits as for a FIFO's other end. Raises OSError."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or (devices and stat.S_ISBLK(mode)):
        os.set_blocking(descriptor, True)
        return descriptor
    os.close(descriptor)
    kinds = "a file or block device" if devices else "a file"
    raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, f"it is not {kinds}", str(path))


def open_named(path: Path) -> BinaryIO:
    """A file that somebody named, to read from its beginning; a pipe that a shell hands over, too.

    A FIFO that nobody writes to is empty instead of waited for. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:  # a folder
        os.close(descriptor)
        raise


def file_identity(found: os.stat_result) -> str:
    """rdev of a device, dev:inode of anything else: the same for what is the same, whatever it is called."""
    if stat.S_ISBLK(found.st_mode):
        return f"rdev {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return f"inode {found.st_dev}:{found.st_ino}"


def content_stamp(found: os.stat_result) -> str:
    """The file and when its bytes were last written: an inode's number goes to the next file as soon as it is free."""
    return f"{file_identity(found)}, {found.st_size} bytes of {found.st_mtime_ns} ns"


def change_stamp(found: os.stat_result) -> str:
    """The file and when anything of it last changed, which no user can set as the time of its bytes; a device."""
    if stat.S_ISBLK(found.st_mode):
        return file_identity(found)
    return f"{file_identity(found)}, {found.st_size} bytes, changed at {found.st_ctime_ns} ns"


def read_own(path: Path, most: int = 1 << 20) -> bytes:
    """A small file that this user or root wrote, and no link to another. Raises OSError."""
    descriptor = open_file(path, follow=False)
    with os.fdopen(descriptor, "rb") as stream:
        if os.fstat(descriptor).st_uid not in (os.geteuid(), 0):
            raise OSError(errno.EPERM, "another user's", str(path))
        return stream.read(most)
