"""A repository in a folder of a far machine; what is mapped is kept in a cache here."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from engines.backup.store.cache import FarCache
from engines.backup.store.sftp import extensions, shared
from engines.backup.store.sftp.access import SftpAccess, SftpAddress
from engines.backup.store.sftp.appender import SftpAppender
from engines.backup.store.sftp.files import BLOCK, MOST_NAMES, FarFiles
from engines.backup.store.sftp.reading import FarReading
from engines.backup.store.store import DEEPEST, TEMPORARY, Bytes, Store

TEMPORARY_KEPT = 86400.0  # s


class SftpStore(Store):
    """Files below a far folder; see Store. Raises Refused where the line cannot be made."""

    at_once: ClassVar[int] = 32
    unindexed: ClassVar[int] = 4

    def __init__(self, address: SftpAddress, access: SftpAccess) -> None:
        self.where = str(address)
        self._line = shared.take(address, access)
        self._files = FarFiles(self._line, address.path)
        self._reading = FarReading(self._files)
        self._cache = FarCache(self.where)
        self._behind: float | None = None  # s that our clock is ahead of the far one

    @override
    def close(self) -> None:
        """Have no file open there any more; the line waits a while for the next store."""
        with contextlib.suppress(OSError):  # the line broke, and the handles with it
            self._reading.release()
        shared.give_back(self._line)

    @override
    def begin(self, folders: Sequence[str]) -> None:
        for folder in folders:
            self._files.make_folder(f"{folder}/x")

    @override
    def lacks(self) -> list[str]:
        return extensions.lacks(self._files)

    @override
    def end(self, folders: Sequence[str]) -> None:
        for folder in (*folders, ""):
            with contextlib.suppress(OSError):  # not empty, or not there
                self._files.remove_folder(folder)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────

    @override
    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        return self._reading.read(name, offset, length)

    @override
    def read_all(self, names: Iterable[str], most: int) -> Iterator[tuple[str, bytes | OSError]]:
        return self._reading.read_all(names, most)

    @override
    def read_once(self, name: str, offset: int, length: int) -> bytes:
        return self.read(name, offset, length)

    @override
    def read_parts(self, name: str, offset: int, parts: Sequence[memoryview]) -> bool:
        return False

    @override
    def release(self) -> None:
        self._reading.release()

    @override
    def size(self, name: str) -> int:
        return int(self._files.stat(name).size or 0)

    @override
    def names(self, folder: str) -> Iterator[str]:
        return (name for name, _ in self.sizes(folder))

    @override
    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        level = ["" if folder in ("", ".") else folder]
        for _ in range(DEEPEST + 1):
            below: list[str] = []  # level by level, each side by side: a far side costs its distance once a level
            for above, found in zip(level, self._files.listed_all(level), strict=True):
                for name, known in self._entries(above, found):
                    full, mode = f"{above}/{name}" if above else name, int(known.permissions or 0)
                    if stat.S_ISDIR(mode):
                        below.append(full)
                    elif stat.S_ISREG(mode) and not name.startswith(TEMPORARY):
                        self._reading.listed(full, size := int(known.size or 0))
                        yield full, size
                if len(below) > MOST_NAMES:
                    raise OSError(errno.EPROTO, f"more than {MOST_NAMES} folders, as of a server that gives no end")
            level = below

    def _entries(self, folder: str, found: list[tuple[str, Any]] | OSError) -> list[tuple[str, Any]]:
        """What lies in a folder; nothing where it is none."""
        if not isinstance(found, OSError):
            return found
        if isinstance(found, FileNotFoundError | NotADirectoryError):
            return []
        if found.errno == errno.EIO and not self._files.is_folder(folder):
            return []
        raise found

    # ── the far clock ───────────────────────────────────────────────────────────────────────────────

    @override
    def age(self, name: str) -> float:
        """The clock is the far one, to a second or two."""
        return max(self._now() - float(self._files.stat(name).mtime or 0), 0.0)

    @override
    def touch(self, name: str) -> None:
        path, now = self._files.path(name), int(self._now())
        self._line.call(lambda client: client.utime(path, (now, now)))

    def _now(self) -> float:
        """The far side's time: what it stamps on a new file, learned once."""
        if self._behind is None:
            name = self._temporary("clock")
            try:
                self._files.write(name, b"")
                self._behind = time.time() - float(self._files.stat(name).mtime or 0)
            except OSError:
                self._behind = 0.0  # a folder that cannot be written: ages are by our clock then
            else:
                self._files.remove(name)
        return time.time() - self._behind

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────

    @override
    def put(self, name: str, content: Bytes, *, new: bool = False, durable: bool = True) -> None:
        partial = self._temporary(name)
        try:
            self._placed(partial, bytes(content), durable=durable)
            if new:
                self._files.link(partial, name, bytes(content))
            else:
                self._files.move(partial, name)
        finally:
            with contextlib.suppress(OSError):  # gone by the rename, or swept by a later run
                self._files.remove(partial)
        if durable:
            self._files.sync_folder(name)

    def _placed(self, partial: str, content: bytes, *, durable: bool) -> None:
        """Write it, though its folder may go with another's last file at the same time."""
        for _ in range(8):
            self._files.make_folder(partial)
            try:
                self._files.write(partial, content, durable=durable)
                return
            except FileNotFoundError:
                continue
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), partial)

    def _temporary(self, name: str) -> str:
        folder, _, _ = name.rpartition("/")
        return f"{folder}/{TEMPORARY}{os.urandom(8).hex()}" if folder else f"{TEMPORARY}{os.urandom(8).hex()}"

    @override
    def append(self, name: str, keep: int = 0) -> SftpAppender:
        self._files.make_folder(name)
        return SftpAppender(self._files, self.rename, name, keep)

    @override
    def rename(self, name: str, to: str) -> None:
        self._reading.forget(name)
        self._reading.forget(to)
        self._files.make_folder(to)
        self._files.move(name, to)
        self._files.sync_folder(to)
        self._files.drop_empty(name)

    @override
    def rename_all(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        for folder in {to.rpartition("/")[0] for _, to in pairs}:
            self._files.make_folder(f"{folder}/x")
        done = self._files.move_all(pairs)
        one_of_each = {name.rpartition("/")[0]: name for pair in pairs for name in pair}
        for name in one_of_each.values():
            self._files.sync_folder(name)
            self._files.drop_empty(name)
        return done

    @override
    def delete(self, name: str) -> None:
        self._reading.forget(name)
        self._files.remove(name)
        self._cache.forget(name)
        self._files.drop_empty(name)

    @override
    def sweep(self, older: float = TEMPORARY_KEPT) -> None:
        """`older`: seconds."""
        self._sweep("", older)

    def _sweep(self, folder: str, older: float) -> None:
        for name, known in self._files.listed(folder):
            full = f"{folder}/{name}" if folder else name
            if stat.S_ISDIR(int(known.permissions or 0)):
                self._sweep(full, older)
            elif name.startswith(TEMPORARY) and self._now() - float(known.mtime or 0) > older:
                with contextlib.suppress(OSError):  # somebody else was first
                    self._files.remove(full)

    # ── what is mapped ──────────────────────────────────────────────────────────────────────────────

    @override
    def local(self, name: str) -> Path:
        return self._cache.filled(name, self.size(name), 4 * BLOCK, self.read)

    @override
    def scratch(self, name: str) -> Path:
        return self._cache.scratch(name)

    @override
    def adopt(self, path: Path, name: str) -> None:
        partial = self._temporary(name)
        self._files.make_folder(name)
        appender = self.append(partial)
        with path.open("rb") as stream:
            while part := stream.read(BLOCK):
                appender.write([part])
        appender.seal(name)
        self._cache.take(path, name)


def open_sftp(where: str) -> SftpStore:
    """The store at sftp://USER@HOST:PORT/FOLDER. Raises Refused."""
    from engines.backup.store.sftp import access

    try:
        import asyncssh  # noqa: F401  a missing one is said before anything is tried
    except ImportError:
        from engines.job.errors import Refused

        raise Refused("asyncssh is not installed", "pip install asyncssh") from None
    address = access.parse(where)
    return SftpStore(address, access.load(address))
