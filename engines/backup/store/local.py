"""A repository in a local folder: plain files, fsync and rename."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from typing_extensions import override

from engines.backup.pages import direct
from engines.backup.pages.page_cache import resident
from engines.backup.pages.write_behind import WriteBehind
from engines.backup.store.naming import name_new
from engines.backup.store.ownership import Ownership
from engines.backup.store.store import TEMPORARY, Appender, Bytes, Store
from engines.host.files import sync_folder

SMALL = 32768  # bytes read at a time of a small file
OPEN = 16  # packs kept open


class _Open:
    """A file open for reading, closed when the last thread has let go of it. `direct` reads past the page cache."""

    def __init__(self, path: Path) -> None:
        self.descriptor = self.direct = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def open_direct(self) -> None:
        """Set `direct`; calls come from one thread at a time."""
        if self.direct < 0:
            self.direct = direct.reopened(self.descriptor, os.O_RDONLY)

    def __del__(self) -> None:
        for descriptor in {self.descriptor, self.direct} - {-1}:
            os.close(descriptor)


class LocalStore(Store):
    """Files below `root`; see Store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)
        self.owner = Ownership(root)
        self._ahead: float | None = None  # s that our clock is ahead of the file system's
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def _path(self, name: str) -> Path:
        return self.root / name

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
            self._folder(self.root / folder / "x")

    @override
    def end(self, folders: Sequence[str]) -> None:
        for path in (*(self.root / folder for folder in folders), self.root):
            with contextlib.suppress(OSError):  # not empty, or not there
                path.rmdir()

    @override
    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        opened = self._opened(name) if name.endswith(".pack") else _Open(self._path(name))
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
                descriptor = os.open(root + name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
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
        opened = self._opened(name)
        if resident(opened.descriptor, offset, length) >= length:
            return self.read(name, offset, length)
        with self._lock:
            opened.open_direct()
        found = direct.read(opened.direct, offset, length)
        return self.read(name, offset, length) if found is None else found

    @override
    def read_parts(self, name: str, offset: int, parts: Sequence[memoryview]) -> bool:
        """Only what is wholly in the page cache comes so."""
        opened = self._opened(name)
        total = sum(map(len, parts))
        if resident(opened.descriptor, offset, total) < total:
            return False
        return os.preadv(opened.descriptor, parts, offset) == total

    def _opened(self, name: str) -> _Open:
        """A pack, kept open: the kernel reads ahead per open file, and packs never change."""
        with self._lock:
            opened = self._open.get(name) or _Open(self._path(name))
            self._open[name] = opened
            self._open.move_to_end(name)
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
        return opened

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
        try:
            entries = list(os.scandir(self._path(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self.names(f"{folder}/{entry.name}")
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
        self._folder(self._path(name))
        return LocalAppender(self, name, keep)

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
        with self._lock:
            self._open.pop(name, None)
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
        with self._lock:
            self._open.clear()

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
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
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


class LocalAppender(Appender):
    """A growing file whose pages go to the disk as it grows, by whoever calls `push`; see Appender."""

    def __init__(self, store: LocalStore, name: str, keep: int) -> None:
        self._store = store
        self._name = name
        self.offset = keep
        self._flush = WriteBehind()
        self._closing = threading.Lock()
        path = store.root / name
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        store.owner.take(self._fd)
        os.ftruncate(self._fd, keep)

    @override
    def write(self, parts: Sequence[Bytes]) -> None:
        total = sum(len(part) for part in parts)
        try:
            written = os.pwritev(self._fd, parts, self.offset)
            if written < total:
                rest = b"".join(parts)
                while written < total:
                    written += os.pwrite(self._fd, rest[written:], self.offset + written)
        except OSError:
            os.ftruncate(self._fd, self.offset)  # what fitted of it would stand behind the footer
            raise
        self.offset += total

    @override
    def push(self) -> None:
        with self._closing:
            if self._fd < 0:
                return
            self._flush.push(self._fd, self.offset)

    @override
    def seal(self, name: str) -> None:
        os.fsync(self._fd)
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self.abandon()
        self._store.rename(self._name, name)

    @override
    def abandon(self) -> None:
        with self._closing:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
