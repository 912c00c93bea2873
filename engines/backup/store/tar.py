"""A repository in one tar file, as `backup export` writes it: read where it lies, never written."""

from __future__ import annotations

import errno
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from typing_extensions import override

from engines.backup.errors import FarFailed
from engines.backup.store.cache import FarCache
from engines.backup.store.store import TEMPORARY, Bytes, Store
from engines.host.files import open_file, sync_folder
from engines.host.naming import name_new
from engines.job.errors import Refused

MOST = 1 << 20  # files in it; an export has a handful


class TarStore(Store):
    """Files in an uncompressed tar; see Store. All that writes raises OSError with EROFS."""

    def __init__(self, path: Path) -> None:
        """Raises Refused where it is no such file."""
        self.where = str(path)
        self._lock = threading.Lock()
        try:
            self._descriptor = open_file(path)
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}", "name a file that backup export made") from None
        try:
            self._files = self._found(path)
        except Refused:
            os.close(self._descriptor)
            raise
        known = os.fstat(self._descriptor)
        self._written = known.st_mtime
        self._cache = FarCache(f"{path} {known.st_dev} {known.st_ino} {known.st_mtime_ns}")

    def _found(self, path: Path) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if member.isreg() and not member.issparse() and len(found) < MOST:
                        found[member.name] = (member.offset_data, member.size)
        except (tarfile.TarError, OSError, ValueError) as error:
            raise Refused(f"{path} is no export of a point: {error}", "name a file that backup export made") from None
        return found

    def _file(self, name: str) -> tuple[int, int]:
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return self._files[name]

    @override
    def close(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    @override
    def release(self) -> None:
        """The one file stays open."""

    @override
    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        start, size = self._file(name)
        left = max(size - offset, 0)
        return os.pread(self._descriptor, left if length < 0 else min(length, left), start + offset)

    @override
    def read_once(self, name: str, offset: int, length: int) -> Bytes:
        return self.read(name, offset, length)

    @override
    def read_parts(self, name: str, offset: int, parts: Sequence[memoryview]) -> bool:
        return False

    @override
    def size(self, name: str) -> int:
        return self._file(name)[1]

    @override
    def age(self, name: str) -> float:
        self._file(name)
        return max(time.time() - self._written, 0.0)

    @override
    def names(self, folder: str) -> Iterator[str]:
        return (name for name in self._files if folder in ("", ".") or name.startswith(f"{folder}/"))

    @override
    def local(self, name: str) -> Path:
        path, size = self._cache.path(name), self.size(name)
        if not (path.is_file() and path.stat().st_size == size):
            partial = self._cache.scratch(name)
            partial.write_bytes(self.read(name))
            partial.replace(path)
        return path

    # ── what it does not do ─────────────────────────────────────────────────────────────────────────

    def _no(self) -> OSError:
        return FarFailed(
            errno.EROFS,
            f"{self.where} is an export: it is only read",
            "name a repository; what is in the export comes into one by crashcart backup import",
        )

    @override
    def begin(self, folders: Sequence[str]) -> None:
        raise self._no()

    @override
    def end(self, folders: Sequence[str]) -> None:
        raise self._no()

    @override
    def touch(self, name: str) -> None:
        """Nobody else works in it."""

    @override
    def put(self, name: str, content: Bytes, *, new: bool = False, durable: bool = True) -> None:
        raise self._no()

    @override
    def append(self, name: str, keep: int = 0) -> None:  # type: ignore[override]  # it never gives one
        raise self._no()

    @override
    def rename(self, name: str, to: str) -> None:
        raise self._no()

    @override
    def delete(self, name: str) -> None:
        self._file(name)
        raise self._no()

    @override
    def sweep(self) -> None:
        """Nothing is ever left in it."""

    @override
    def scratch(self, name: str) -> Path:
        raise self._no()

    @override
    def adopt(self, path: Path, name: str) -> None:
        raise self._no()


def partial_of(path: Path) -> Path:
    """What the file is called while it is written."""
    return path.with_name(f"{TEMPORARY}{path.name[:200]}")


def packed(folder: Path, path: Path, made: Callable[[Path], None] = lambda _: None) -> None:
    """Move what is in a repository's folder into a new tar file, which is there whole and durable, or not at all.

    made: told of the whole file before it gets its name. Raises FileExistsError, OSError.
    """
    partial = partial_of(path)
    partial.unlink(missing_ok=True)  # of a killed run
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for file in _in_order(folder):
                    tar.add(file, str(file.relative_to(folder)), filter=_nobody)
                    file.unlink()
            stream.flush()
            os.fsync(stream.fileno())
        made(partial)
        name_new(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _in_order(folder: Path) -> list[Path]:
    """config.json and the point first: who looks at the file's beginning sees what it is."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.parent.name != "sessions"]
    return sorted(files, key=lambda file: (file.suffix == ".pack", len(file.parts), str(file)))


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member
