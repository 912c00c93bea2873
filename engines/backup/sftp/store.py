"""A repository in a folder of a far machine; what is mapped is kept in a cache here."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.backup.local import TEMPORARY
from engines.backup.sftp.access import Access, Address
from engines.backup.sftp.appender import SFTP_CREATE, SFTP_READ, SFTP_WRITE, SftpAppender
from engines.backup.sftp.line import Broken, Line
from engines.backup.store import Bytes

if TYPE_CHECKING:
    import asyncssh

PLAIN = re.compile(r"^[A-Za-z0-9._-]+$")  # what a far side may call a file; anything else is not ours
SFTP_EXCLUSIVE = 0x20
OPEN = 16  # packs kept open for reading: a record is then one question, not three
FOREVER = ".pack"  # the ending of files that never change under their name
TEMPORARY_KEPT = 86400.0  # s
BLOCK = 1 << 20


class SftpStore:
    """Files below a far folder; see Store. Raises Refused where the line cannot be made."""

    def __init__(self, address: Address, access: Access) -> None:
        self.where = str(address)
        self._root = address.path
        self._line = Line(address, access)
        self._line.open()
        self._open: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._cache = _cache(self.where)
        self._behind: float | None = None  # s that our clock is ahead of the far one

    def path(self, name: str) -> bytes:
        """A name as the far side knows it."""
        return f"{self._root}/{name}".encode()

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """See Store."""
        while True:
            age = self._line.age
            try:
                return self._read(name, offset, length)
            except Broken:
                self._line.again(age)

    def _read(self, name: str, offset: int, length: int) -> bytes:
        file, kept = self._handle(name)
        size = length

        async def work(_: asyncssh.SFTPClient) -> bytes:
            wanted = size
            if wanted < 0:
                wanted = max(int((await file.stat()).size or 0) - offset, 0)
            found = bytearray()
            while len(found) < wanted:
                part = await file.read(wanted - len(found), offset + len(found))
                if not part:
                    break
                found += part
            return bytes(found)

        try:
            return self._line.once(work)
        finally:
            if not kept:
                with contextlib.suppress(OSError):  # the line broke, and the handle with it
                    self._line.once(lambda _: file.close())

    def _handle(self, name: str) -> tuple[Any, bool]:
        """An open file, and whether it stays open."""
        kept = name.endswith(FOREVER)
        age, file = self._open.pop(name, (-1, None))
        if file is None or age != self._line.age:
            path = self.path(name)
            age = self._line.age
            file = self._line.once(lambda client: client.open(path, SFTP_READ, encoding=None))
        if kept:
            self._open[name] = (age, file)
            while len(self._open) > OPEN:
                self._shut(self._open.popitem(last=False)[1])
        return file, kept

    def _shut(self, one: tuple[int, Any]) -> None:
        age, file = one
        if age == self._line.age:
            with contextlib.suppress(OSError):  # a handle that is lost is closed
                self._line.once(lambda _: file.close())

    def _forget(self, name: str) -> None:
        if one := self._open.pop(name, None):
            self._shut(one)

    def size(self, name: str) -> int:
        """See Store."""
        return int(self._stat(name).size or 0)

    def _stat(self, name: str) -> Any:
        path = self.path(name)
        return self._line.call(lambda client: client.stat(path))

    def names(self, folder: str) -> Iterator[str]:
        """See Store."""
        base = "" if folder in ("", ".") else folder
        try:
            entries = self._listed(base)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno == errno.EIO and not self._is_folder(base):
                return
            raise
        for name, permissions in entries:
            full = f"{base}/{name}" if base else name
            if stat.S_ISDIR(permissions):
                yield from self.names(full)
            elif stat.S_ISREG(permissions):
                yield full

    def _is_folder(self, name: str) -> bool:
        return stat.S_ISDIR(int(self._stat(name).permissions or 0))

    def _listed(self, folder: str) -> list[tuple[str, int]]:
        path = self.path(folder) if folder else self._root.encode()
        found = self._line.call(lambda client: client.readdir(path))
        named = [(_name(one), int(one.attrs.permissions or 0)) for one in found]
        return [
            (name, permissions)
            for name, permissions in sorted(named)
            if PLAIN.match(name) and name not in (".", "..") and not name.startswith(TEMPORARY)
        ]

    # ── the far clock ───────────────────────────────────────────────────────────────────────────────

    def age(self, name: str) -> float:
        """See Store. The clock is the far one, to a second or two."""
        return max(self._now() - float(self._stat(name).mtime or 0), 0.0)

    def touch(self, name: str) -> None:
        """See Store."""
        path, now = self.path(name), int(self._now())
        self._line.call(lambda client: client.utime(path, (now, now)))

    def _now(self) -> float:
        """The far side's time: what it stamps on a new file, learned once."""
        if self._behind is None:
            name = self._temporary("clock")
            try:
                self._written(name, b"")
                self._behind = time.time() - float(self._stat(name).mtime or 0)
            except OSError:
                self._behind = 0.0  # a folder that cannot be written: ages are by our clock then
            else:
                self._removed(name)
        return time.time() - self._behind

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────

    def put(self, name: str, content: Bytes, *, new: bool = False, durable: bool = True) -> None:
        """See Store."""
        partial = self._temporary(name)
        self._folder(name)
        try:
            self._written(partial, bytes(content), durable=durable)
            if new:
                self._linked(partial, name, bytes(content))
            else:
                self._moved(partial, name)
        finally:
            with contextlib.suppress(OSError):  # gone by the rename, or swept by a later run
                self._removed(partial)
        if durable:
            self._sync_folder(name)

    def _temporary(self, name: str) -> str:
        folder, _, _ = name.rpartition("/")
        return f"{folder}/{TEMPORARY}{os.urandom(8).hex()}" if folder else f"{TEMPORARY}{os.urandom(8).hex()}"

    def _written(self, name: str, content: bytes, *, durable: bool = True) -> None:
        path = self.path(name)

        async def work(client: asyncssh.SFTPClient) -> None:
            import asyncssh

            flags = SFTP_WRITE | SFTP_CREATE
            file = await client.open(path, flags, asyncssh.SFTPAttrs(permissions=0o600), encoding=None)
            try:
                await file.truncate(0)
                for at in range(0, len(content), BLOCK):
                    await file.write(content[at : at + BLOCK], at)
                if durable:
                    with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                        await file.fsync()
            finally:
                await file.close()

        try:
            self._line.call(work)
        except OSError as error:
            raise self.explained(error) from None

    def _linked(self, partial: str, name: str, content: bytes) -> None:
        """Give it its name unless that is taken; a link is the one call of sftp that checks and acts at once."""
        one, other = self.path(partial), self.path(name)
        lost = False
        while True:
            age = self._line.age
            try:
                self._line.once(lambda client: client.link(one, other))
                return
            except Broken:
                lost = True
                self._line.again(age)
            except OSError:
                if not self._exists(name):
                    raise
                if lost and self.read(name) == content:
                    return  # made by the try whose answer was lost
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None

    def _exists(self, name: str) -> bool:
        try:
            self._stat(name)
        except FileNotFoundError:
            return False
        return True

    def _moved(self, name: str, to: str) -> None:
        one, other = self.path(name), self.path(to)
        lost = False
        while True:
            age = self._line.age
            try:
                self._line.once(lambda client: client.posix_rename(one, other))
                return
            except Broken:
                lost = True
                self._line.again(age)
            except FileNotFoundError:
                if lost and self._exists(to):
                    return  # done by the try whose answer was lost
                raise

    def append(self, name: str, keep: int = 0) -> SftpAppender:
        """See Store."""
        self._folder(name)
        return SftpAppender(self, self._line, name, keep)

    def rename(self, name: str, to: str) -> None:
        """See Store."""
        self._forget(name)
        self._forget(to)
        self._folder(to)
        self._moved(name, to)
        self._sync_folder(to)
        self._drop_empty(name)

    def delete(self, name: str) -> None:
        """See Store."""
        self._forget(name)
        self._removed(name)
        self._cached(name).unlink(missing_ok=True)
        self._drop_empty(name)

    def _removed(self, name: str) -> None:
        path = self.path(name)
        age = self._line.age
        try:
            self._line.call(lambda client: client.remove(path))
        except FileNotFoundError:
            if age == self._line.age:
                raise  # on the same line all along, it was not us

    def _drop_empty(self, name: str) -> None:
        folder = name.rpartition("/")[0]
        with contextlib.suppress(OSError):  # not empty, or somebody else was first
            while folder:
                path = self.path(folder)
                self._line.once(lambda client, path=path: client.rmdir(path))  # type: ignore[misc]  # mypy infers no type for the default
                folder = folder.rpartition("/")[0]

    def _folder(self, name: str) -> None:
        """Make the folders above `name`, the root too."""
        folder = name.rpartition("/")[0]
        path = self.path(folder) if folder else self._root.encode()

        async def work(client: asyncssh.SFTPClient) -> None:
            await client.makedirs(path, exist_ok=True)

        if not self._is_there(path):
            self._line.call(work)

    def _is_there(self, path: bytes) -> bool:
        try:
            self._line.call(lambda client: client.stat(path))
        except FileNotFoundError:
            return False
        return True

    def _sync_folder(self, name: str) -> None:
        """Have the far disk know the new name: OpenSSH opens a folder like a file, and syncs it so."""
        path = self.path(name).rpartition(b"/")[0]

        async def work(client: asyncssh.SFTPClient) -> None:
            file = await client.open(path, SFTP_READ, encoding=None)
            try:
                await file.fsync()
            finally:
                await file.close()

        with contextlib.suppress(OSError):  # another server does not: its rename must do
            self._line.call(work)

    def explained(self, error: OSError) -> OSError:
        """A bare "Failure" on a full disk says so: version 3 of the protocol has no word for it."""
        if error.errno != errno.EIO:
            return error
        root = self._root.encode()
        try:
            room = self._line.call(lambda client: client.statvfs(root))
        except OSError:
            return error
        full = not room.bavail
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if full else error

    def sweep(self, older: float = TEMPORARY_KEPT) -> None:
        """Remove temporary files of killed processes, by default those over a day old."""
        self._sweep("", older)

    def _sweep(self, folder: str, older: float) -> None:
        path = self.path(folder) if folder else self._root.encode()
        for one in self._line.call(lambda client: client.readdir(path)):
            name = _name(one)
            full = f"{folder}/{name}" if folder else name
            if name.startswith(TEMPORARY) and self._now() - float(one.attrs.mtime or 0) > older:
                with contextlib.suppress(OSError):
                    self._removed(full)
            elif PLAIN.match(name) and name not in (".", "..") and stat.S_ISDIR(int(one.attrs.permissions or 0)):
                self._sweep(full, older)

    # ── what is mapped ──────────────────────────────────────────────────────────────────────────────

    def _cached(self, name: str) -> Path:
        return self._cache / name

    def local(self, name: str) -> Path:
        """See Store."""
        path, size = self._cached(name), self.size(name)
        if path.is_file() and path.stat().st_size == size:
            return path
        partial = self.scratch(name)
        try:
            with partial.open("xb") as stream:
                for at in range(0, size, 4 * BLOCK):
                    stream.write(self.read(name, at, min(4 * BLOCK, size - at)))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def scratch(self, name: str) -> Path:
        """See Store."""
        path = self._cached(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")

    def adopt(self, path: Path, name: str) -> None:
        """See Store."""
        partial = self._temporary(name)
        self._folder(name)
        appender = self.append(partial)
        with path.open("rb") as stream:
            while part := stream.read(BLOCK):
                appender.write([part])
        appender.seal(name)
        path.replace(self._cached(name))


def _name(one: asyncssh.SFTPName) -> str:
    return one.filename.decode("ascii", "replace") if isinstance(one.filename, bytes) else one.filename


def _cache(where: str) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = root if root.is_absolute() else Path.home() / ".cache"
    return home / "crashcart" / "far" / hashlib.sha256(where.encode()).hexdigest()[:16]


def open_sftp(where: str) -> SftpStore:
    """The store at sftp://USER@HOST:PORT/FOLDER. Raises Refused."""
    from engines.backup.sftp import access

    try:
        import asyncssh  # noqa: F401  a missing one is said before anything is tried
    except ImportError:
        from engines.job.errors import Refused

        raise Refused("asyncssh is not installed", "pip install asyncssh") from None
    address = access.parse(where)
    return SftpStore(address, access.load(address))
