"""The calls that a far file system answers, each done once though the line may break on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from engines.backup.store.sftp.line import Broken, Line, Trying
from engines.backup.store.store import TEMPORARY

if TYPE_CHECKING:
    import asyncssh

PLAIN = re.compile(r"^[A-Za-z0-9._-]+$")  # what a far side may call a file; anything else is not ours
CANNOT = (errno.EOPNOTSUPP, errno.EIO, errno.EACCES)  # what servers answer that have no links
SFTP_READ, SFTP_WRITE, SFTP_CREATE, SFTP_EXCLUSIVE = 0x1, 0x2, 0x8, 0x20  # draft-ietf-secsh-filexfer-02, 6.3
BLOCK = 1 << 20
MOST_NAMES = 1_000_000  # in one folder; packs of 64 TiB
SIDE_BY_SIDE = 64  # questions under way at a time


class FarFiles:
    """Files below `root` on the far side of `line`. Raises FileNotFoundError, else OSError."""

    def __init__(self, line: Line, root: str) -> None:
        self.line = line
        self.root = root

    def path(self, name: str) -> bytes:
        """A name as the far side knows it."""
        return f"{self.root}/{name}".encode()

    def stat(self, name: str) -> Any:
        """What is known of a file."""
        path = self.path(name)
        return self.line.call(lambda client: client.stat(path))

    def is_folder(self, name: str) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(int(self.stat(name).permissions or 0))

    def listed(self, folder: str) -> list[tuple[str, Any]]:
        """What lies in a folder under names of our kind, temporary files too: name and attributes."""
        return self.line.call(self.listing(folder))

    def listed_all(self, folders: Sequence[str]) -> Iterator[list[tuple[str, Any]] | OSError]:
        """The same of each, in their order, `SIDE_BY_SIDE` at a time; or why it cannot be listed."""
        for at in range(0, len(folders), SIDE_BY_SIDE):
            asked = [(folder, self.line.begin(self.listing(folder))) for folder in folders[at : at + SIDE_BY_SIDE]]
            for folder, future in asked:
                try:
                    try:
                        yield self.line.result(future)
                    except Broken:
                        yield self.listed(folder)
                except OSError as error:
                    if error.errno == errno.ETIMEDOUT:
                        raise  # it is not the folder: each of the others would be waited for as long
                    yield error

    def listing(self, folder: str) -> Callable[[asyncssh.SFTPClient], Awaitable[list[tuple[str, Any]]]]:
        """`listed` as the line does it."""
        path = self.path(folder) if folder else self.root.encode()

        async def work(client: asyncssh.SFTPClient) -> list[tuple[str, Any]]:
            kept, seen = [], 0
            async for one in client.scandir(path):
                seen += 1
                if seen > MOST_NAMES:
                    raise OSError(
                        errno.EPROTO, f"more than {MOST_NAMES} names, as of a server that gives no end", folder
                    )
                if PLAIN.match(name := _name(one)) and name not in (".", ".."):
                    kept.append((name, one.attrs))
            return sorted(kept, key=lambda one: one[0])

        return work

    def write(self, name: str, content: bytes, *, durable: bool = True) -> None:
        """Write a file from its beginning."""
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
            self.line.call(work)
        except OSError as error:
            raise self.explained(error) from None

    def explained(self, error: OSError) -> OSError:
        """A bare "Failure" on a full disk says so: version 3 of the protocol has no word for it."""
        if error.errno != errno.EIO:
            return error
        root = self.root.encode()
        try:
            room = self.line.call(lambda client: client.statvfs(root))
        except OSError:
            return error
        full = not room.bavail
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if full else error

    def link(self, partial: str, name: str, content: bytes) -> None:
        """Give it its name unless that is taken; a link is the one call of sftp that checks and acts at once."""
        one, other = self.path(partial), self.path(name)
        lost, trying = False, Trying(self.line)
        while True:
            age = self.line.age
            try:
                self.line.once(lambda client: client.link(one, other))
                return
            except Broken as broken:
                lost = True
                trying.again(age, broken)
            except OSError as error:
                if not self.exists(name):
                    if error.errno not in CANNOT:
                        raise
                    self._claimed(partial, name)
                    return
                if lost and self._reads(name, len(content)) == content:
                    return  # made by the try whose answer was lost
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None

    def _claimed(self, partial: str, name: str) -> None:
        """The same on a server without links: while a second file is there that only one can make, nobody else acts."""
        folder, _, last = name.rpartition("/")
        claim = f"{folder}/{TEMPORARY}claim-{last}" if folder else f"{TEMPORARY}claim-{last}"
        path = self.path(claim)

        async def work(client: asyncssh.SFTPClient) -> None:
            file = await client.open(path, SFTP_WRITE | SFTP_CREATE | SFTP_EXCLUSIVE, encoding=None)
            await file.close()

        try:
            self.line.call(work)
        except OSError as error:
            if self.exists(claim):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
            raise error from None
        try:
            if self.exists(name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            self.move(partial, name)
        finally:
            with contextlib.suppress(OSError):  # swept a day later
                self.remove(claim)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def move(self, name: str, to: str) -> None:
        """Rename; replaces `to`."""
        one, other = self.path(name), self.path(to)
        lost, trying = False, Trying(self.line)
        while True:
            age = self.line.age
            try:
                self.line.once(lambda client: _renamed(client, one, other))
                return
            except Broken as broken:
                lost = True
                trying.again(age, broken)
            except FileNotFoundError:
                if lost and self.exists(to):
                    return  # done by the try whose answer was lost
                raise

    def move_all(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Rename many, `SIDE_BY_SIDE` at a time; those that were there."""
        done = []
        for at in range(0, len(pairs), SIDE_BY_SIDE):
            age = self.line.age
            asked = [(name, to, self.line.begin(self._moving(name, to))) for name, to in pairs[at : at + SIDE_BY_SIDE]]
            for name, to, future in asked:
                try:
                    self.line.result(future)
                except FileNotFoundError:
                    continue
                except Broken:
                    self.line.again(age)
                    if not self._moved(name, to):
                        continue
                done.append(name)
        return done

    def _moving(self, name: str, to: str) -> Callable[[asyncssh.SFTPClient], Awaitable[None]]:
        one, other = self.path(name), self.path(to)
        return lambda client: _renamed(client, one, other)

    def _moved(self, name: str, to: str) -> bool:
        """Rename where the answer of a first try was lost."""
        try:
            self.move(name, to)
        except FileNotFoundError:
            return self.exists(to)
        return True

    def remove(self, name: str) -> None:
        """Delete a file."""
        path = self.path(name)
        age = self.line.age
        try:
            self.line.call(lambda client: client.remove(path))
        except FileNotFoundError:
            if age == self.line.age:
                raise  # on the same line all along, it was not us

    def drop_empty(self, name: str) -> None:
        """Remove the folders above `name` as far as they are empty."""
        folder = name.rpartition("/")[0]
        with contextlib.suppress(OSError):  # not empty, or somebody else was first
            while folder:
                path = self.path(folder)
                self.line.once(lambda client, path=path: client.rmdir(path))  # type: ignore[misc]  # no type inferred
                folder = folder.rpartition("/")[0]

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder; the root where `name` is empty."""
        path = self.path(name) if name else self.root.encode()
        self.line.call(lambda client: client.rmdir(path))

    def make_folder(self, name: str) -> None:
        """Make the folders above `name`, the root too."""
        folder = name.rpartition("/")[0]
        path = self.path(folder) if folder else self.root.encode()

        async def work(client: asyncssh.SFTPClient) -> None:
            await client.makedirs(path, exist_ok=True)

        if not self._is_there(path):
            self.line.call(work)

    def _is_there(self, path: bytes) -> bool:
        try:
            self.line.call(lambda client: client.stat(path))
        except FileNotFoundError:
            return False
        return True

    def sync_folder(self, name: str) -> None:
        """Have the far disk know the new name: OpenSSH opens a folder like a file, and syncs it so."""
        path = self.path(name).rpartition(b"/")[0]

        async def work(client: asyncssh.SFTPClient) -> None:
            file = await client.open(path, SFTP_READ, encoding=None)
            try:
                await file.fsync()
            finally:
                await file.close()

        with contextlib.suppress(OSError):  # another server does not: its rename must do
            self.line.call(work)

    def _reads(self, name: str, length: int) -> bytes:
        path = self.path(name)

        async def work(client: asyncssh.SFTPClient) -> bytes:
            file = await client.open(path, SFTP_READ, encoding=None)
            try:
                return bytes(await file.read(length + 1, 0))  # type: ignore[arg-type]  # bytes, without an encoding
            finally:
                await file.close()

        return self.line.call(work)


async def _renamed(client: asyncssh.SFTPClient, one: bytes, other: bytes) -> None:
    """Rename, and replace; a server without OpenSSH's extension renames to what is not there only."""
    import asyncssh

    try:
        await client.posix_rename(one, other)
    except asyncssh.SFTPOpUnsupported:
        try:
            await client.rename(one, other)
        except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
            await client.remove(other)
            await client.rename(one, other)


def _name(one: asyncssh.SFTPName) -> str:
    return one.filename.decode("ascii", "replace") if isinstance(one.filename, bytes) else one.filename
