"""A repository in a local folder: plain files, fsync and rename."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from typing_extensions import override

from engines.backup.pages import direct
from engines.backup.pages.page_cache import resident
from engines.backup.store.lacks import lacks
from engines.backup.store.local_appender import LocalAppender
from engines.backup.store.open_packs import OpenFile, OpenPacks
from engines.backup.store.ownership import Ownership
from engines.backup.store.store import DEEPEST, TEMPORARY, Bytes, Store
from engines.host.files import sync_folder
from engines.host.naming import name_new
from engines.job.errors import Refused

SMALL = 32768  # bytes read at a time of a small file
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO in a pack's place is not waited for


class LocalStore(Store):
    """Files below `root`; see Store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)
        self.owner = Ownership(root)
        self._ahead: float | None = None  # s that our clock is ahead of the file system's
        self._packs = OpenPacks(root)

    def _path(self, name: str) -> Path:
        """Raises Refused where root would follow another user's link: he would choose what is written and deleted."""
        path = self.root / name
        if os.geteuid() == 0:
            for folder in path.parents:
                if folder == self.root:
                    break
                with contextlib.suppress(OSError):  # not there yet
                    found = folder.lstat()
                    if stat.S_ISLNK(found.st_mode) and found.st_uid:
                        why = f"{folder} is a link that user {found.st_uid} made, which root does not follow"
                        raise Refused(why, f"see where it leads, then make it root's: chown -h root: {folder}")
        return path

    def _folder(self, path: Path) -> None:
        """Make the folders above `path`, each known to the disk before something is put in it."""
        if path.parent.is_dir():
            return
        self._folder(path.parent)
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(mode=0o700)
            if path.parent != self.root:
                self.owner.take_folder(path.parent)
        sync_folder(path.parent.parent)

    @override
    def begin(self, folders: Sequence[str]) -> None:
        for folder in folders:
            self._folder(self._path(f"{folder}/x"))

    @override
    def lacks(self) -> list[str]:
        return list(lacks(self.root))

    @override
    def end(self, folders: Sequence[str]) -> None:
        for path in (*(self.root / folder for folder in folders), self.root):
            with contextlib.suppress(OSError):  # not empty, or not there
                path.rmdir()

    @override
    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        opened = self._packs.opened(name) if name.endswith(".pack") else OpenFile(self._path(name))
        if length < 0:
            length = max(os.fstat(opened.descriptor).st_size - offset, 0)
        found = os.pread(opened.descriptor, length, offset)
        while len(found) < length and (more := os.pread(opened.descriptor, length - len(found), offset + len(found))):
            found += more
        return found

    @override
    def read_all(self, names: Iterable[str], most: int) -> Iterator[tuple[str, bytes | OSError]]:
        """Two calls of the kernel a file, since lists read thousands."""
        root = f"{self.root}/"
        for name in names:
            try:
                descriptor = os.open(root + name, READ)
                try:
                    found = os.read(descriptor, min(SMALL, most))
                    while len(found) % SMALL == 0 and found and len(found) < most:
                        part = os.read(descriptor, min(SMALL, most - len(found)))
                        if not part:
                            break
                        found += part
                finally:
                    os.close(descriptor)
            except OSError as error:
                yield name, error
                continue
            yield name, found

    @override
    def read_once(self, name: str, offset: int, length: int) -> Bytes:
        """What is wholly in the page cache comes from there, all else past it."""
        opened = self._packs.opened(name)
        if resident(opened.descriptor, offset, length) >= length:
            return self.read(name, offset, length)
        self._packs.open_direct(opened)
        found = direct.read(opened.direct, offset, length)
        return self.read(name, offset, length) if found is None else found

    @override
    def read_parts(self, name: str, offset: int, parts: Sequence[memoryview]) -> bool:
        """Only what is wholly in the page cache comes so."""
        opened = self._packs.opened(name)
        total = sum(map(len, parts))
        if resident(opened.descriptor, offset, total) < total:
            return False
        return os.preadv(opened.descriptor, parts, offset) == total

    @override
    def size(self, name: str) -> int:
        return self._path(name).stat().st_size

    @override
    def age(self, name: str) -> float:
        return max(self._now() - self._path(name).stat().st_mtime, 0.0)

    def _now(self) -> float:
        """The time that the file system stamps on a new file, a far server's where it is a network one; asked once."""
        if self._ahead is None:
            try:
                partial, descriptor = self._open_partial("sessions/x")
                stamped = os.fstat(descriptor).st_mtime
                os.close(descriptor)
                partial.unlink()
                self._ahead = time.time() - stamped
            except OSError:
                self._ahead = 0.0  # a folder that cannot be written: ages are by our clock then
        return time.time() - self._ahead

    @override
    def touch(self, name: str) -> None:
        os.utime(self._path(name))

    @override
    def names(self, folder: str) -> Iterator[str]:
        return self._names(folder, DEEPEST)

    def _names(self, folder: str, deep: int) -> Iterator[str]:
        try:
            entries = list(os.scandir(self.root / folder))  # a look, which changes nothing
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._names(f"{folder}/{entry.name}", deep - 1) if deep else ()
            elif entry.is_file(follow_symlinks=False) and not entry.name.startswith(TEMPORARY):
                yield f"{folder}/{entry.name}"

    @override
    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        root = f"{self.root}/"
        for name in self.names(folder):
            with contextlib.suppress(FileNotFoundError):
                yield name, os.stat(root + name).st_size  # noqa: PTH116  a Path costs more than the call

    @override
    def put(self, name: str, content: Bytes, *, new: bool = False, durable: bool = True) -> None:
        path = self._path(name)
        partial, descriptor = self._open_partial(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                self.owner.take(descriptor)
                stream.write(content)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            if new:
                name_new(partial, path)
            else:
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        if durable:
            sync_folder(path.parent)

    def _open_partial(self, name: str) -> tuple[Path, int]:
        """A new temporary file beside `name`; the folder may be swept away as empty the moment before."""
        for attempt in range(16):
            partial = self.scratch(name)
            try:
                return partial, os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                if attempt == 15:
                    raise
        raise AssertionError("the last attempt returns or raises")

    @override
    def append(self, name: str, keep: int = 0) -> LocalAppender:
        path = self._path(name)
        self._folder(path)
        return LocalAppender(path, self.owner, keep, lambda to: self.rename(name, to))

    @override
    def rename(self, name: str, to: str) -> None:
        path, target = self._path(name), self._path(to)
        self._folder(target)
        path.rename(target)
        sync_folder(target.parent)
        if path.parent != target.parent:
            sync_folder(path.parent)
            self._drop_empty(path.parent)

    @override
    def rename_all(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Each folder is made durable once."""
        done, folders = [], dict[Path, None]()
        for name, to in pairs:
            path, target = self._path(name), self._path(to)
            self._folder(target)
            with contextlib.suppress(FileNotFoundError):
                path.rename(target)
                done.append(name)
                folders |= {target.parent: None, path.parent: None}
        for folder in folders:
            sync_folder(folder)
            self._drop_empty(folder)
        return done

    @override
    def delete(self, name: str) -> None:
        path = self._path(name)
        self._packs.forget(name)
        path.unlink()
        self._drop_empty(path.parent)

    def _drop_empty(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # not empty, or somebody else was first
            while folder.parent != self.root:
                folder.rmdir()
                folder = folder.parent

    @override
    def close(self) -> None:
        self.release()

    @override
    def release(self) -> None:
        self._packs.clear()

    @override
    def local(self, name: str) -> Path:
        return self._path(name)

    @override
    def scratch(self, name: str) -> Path:
        path = self._path(name)
        self._folder(path)
        return path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")

    @override
    def adopt(self, path: Path, name: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            self.owner.take(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        target = self._path(name)
        self._folder(target)
        path.replace(target)
        sync_folder(target.parent)

    @override
    def sweep(self) -> None:
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder) / name
                with contextlib.suppress(FileNotFoundError):
                    if name.startswith(TEMPORARY) and time.time() - path.stat().st_mtime > 86400.0:
                        path.unlink()
