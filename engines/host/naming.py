"""A finished file gets a name that must be new, on any file system: at once where it can, else under a claim."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time
from pathlib import Path

from engines.host.files import sync_folder, write_whole

AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2  # linux/fcntl.h, linux/fs.h
CANNOT = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES)
CLAIM = ".tmp-claim-"  # begins the name of a claim; what lists a repository leaves out .tmp-
SHORT = 200  # bytes of a name that another goes around
STALE = 60.0  # s after which a claim is that of a killed process: it is held for a moment
_libc = ctypes.CDLL(None, use_errno=True)


def name_new(partial: Path, path: Path) -> None:
    """Give `partial` the name `path`. Raises FileExistsError where that is taken, whoever is quicker."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        if not _renamed(partial, path):
            _claimed(partial, path)


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file whole under a name that nobody has. Raises FileExistsError where that is taken, OSError."""
    partial = path.with_name(f".{_short(path)}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        write_whole(partial, content, mode)
        name_new(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def exchange(one: Path, other: Path) -> None:
    """Have each go by the other's name, at once. By two renames, not at once, where the file system has no such thing.

    Raises OSError.
    """
    done = _libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), EXCHANGE)
    if done == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        raise OSError(number, os.strerror(number), str(other))
    aside = other.with_name(f"{other.name}.old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _short(path: Path) -> str:
    """The name's first bytes: a file system counts those, not characters."""
    return os.fsdecode(os.fsencode(path.name)[:SHORT])


def _renamed(partial: Path, path: Path) -> bool:
    """By a rename that replaces nothing; False where the file system has none."""
    done = _libc.renameat2(AT_FDCWD, os.fsencode(partial), AT_FDCWD, os.fsencode(path), NOREPLACE)
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(path))


def _claimed(partial: Path, path: Path) -> None:
    """By a second file that only one can make: while it is there, nobody else gives that name."""
    claim = path.with_name(f"{CLAIM}{_short(path)}")
    for attempt in range(2):
        try:
            os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if attempt or time.time() - claim.stat().st_mtime < STALE:
                    raise
                claim.unlink()
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    try:
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        partial.replace(path)
    finally:
        claim.unlink(missing_ok=True)
