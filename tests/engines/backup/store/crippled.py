"""A file system as exFAT, CIFS and many FUSE ones are: no hard links, no fsync of folders, no modes, no shared mapping.

A and a are one name there.

Served from a folder: python -m tests.engines.backup.store.crippled BEHIND MOUNT
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engines.host.child import bind_to_parent

STARTS_WITHIN = 60.0  # s


class Crippled:
    """What libfuse calls; everything goes to the folder behind."""

    use_ns = True

    def __init__(self, root: str) -> None:
        self._root = root

    def _at(self, path: str) -> Path:
        found = Path(self._root)
        for part in Path(path).parts[1:]:
            found /= self._spelled(found, part)
        return found

    def _spelled(self, folder: Path, name: str) -> str:
        """As the one that is there is spelled: A and a are one name."""
        with suppress(OSError):
            return next((one.name for one in folder.iterdir() if one.name.lower() == name.lower()), name)
        return name

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._at(path))
        names = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")
        times = {"st_mtime": found.st_mtime_ns, "st_atime": found.st_atime_ns, "st_ctime": found.st_ctime_ns}
        return {name: getattr(found, name) for name in names} | times

    def readdir(self, path: str, _handle: int) -> list[str]:
        return [".", "..", *(entry.name for entry in self._at(path).iterdir())]

    def mkdir(self, path: str, mode: int) -> None:
        self._at(path).mkdir(mode)

    def rmdir(self, path: str) -> None:
        self._at(path).rmdir()

    def unlink(self, path: str) -> None:
        self._at(path).unlink()

    def rename(self, old: str, new: str) -> None:
        self._at(old).rename(self._at(new))

    def link(self, target: str, source: str) -> None:
        raise OSError(errno.EPERM, "no links")

    def chmod(self, path: str, mode: int) -> None:
        raise OSError(errno.EPERM, "no modes")

    def chown(self, path: str, uid: int, gid: int) -> None:
        raise OSError(errno.EPERM, "no owners")

    def fsyncdir(self, path: str, _data: int, _handle: int) -> None:
        raise OSError(errno.EINVAL, "no fsync of folders")

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags & ~(os.O_DIRECT | os.O_EXCL | os.O_CREAT))

    def create(self, path: str, mode: int, _info: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, _path: str, size: int, offset: int, handle: int) -> bytes:
        return os.pread(handle, size, offset)

    def write(self, _path: str, data: bytes, offset: int, handle: int) -> int:
        return os.pwrite(handle, data, offset)

    def truncate(self, path: str, length: int, handle: int | None = None) -> None:
        os.truncate(self._at(path), length)

    def utimens(self, path: str, times: Any = None) -> None:
        os.utime(self._at(path), ns=times)

    def fsync(self, _path: str, _data: int, handle: int) -> None:
        os.fsync(handle)

    def flush(self, _path: str, _handle: int) -> None:
        return None

    def release(self, _path: str, handle: int) -> None:
        os.close(handle)


@contextmanager
def mounted(behind: Path, at: Path) -> Iterator[Path]:
    """`behind` seen through it at `at`, within the `with`."""
    argv = [sys.executable, "-m", __name__, str(behind), str(at)]
    with subprocess.Popen(argv, preexec_fn=bind_to_parent()) as server:
        try:
            end = time.monotonic() + STARTS_WITHIN
            while not os.path.ismount(at):
                assert server.poll() is None and time.monotonic() < end
                time.sleep(0.02)
            yield at
        finally:
            subprocess.run(["umount", "--lazy", str(at)], check=False)
            server.terminate()


if __name__ == "__main__":
    os.environ.setdefault("FUSE_LIBRARY_PATH", "libfuse3.so.3")
    import mfusepy

    mfusepy.FUSE(Crippled(sys.argv[1]), sys.argv[2], foreground=True, direct_io=True, allow_other=True)
