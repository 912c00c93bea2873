"""A file that grows on the far side: written ahead of the answers, and taken up where a broken line left it."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from engines.backup.store.sftp.files import SFTP_CREATE, SFTP_READ, SFTP_WRITE, FarFiles
from engines.backup.store.sftp.line import Broken, Trying
from engines.backup.store.store import Appender, Bytes

if TYPE_CHECKING:
    import asyncssh


WINDOW = 8 * 1024 * 1024  # bytes under way; 80 ms at 100 MB/s
SYNC = 64 * 1024 * 1024  # bytes after which the far disk is asked to have them
CHECK = 4 * 1024 * 1024  # bytes read back at a time


@dataclass
class Part:
    """A write that is under way."""

    offset: int
    content: bytes
    done: Future[int]


class SftpAppender(Appender):
    """See Appender. After a broken line, what was not yet on the far disk for certain is read back and compared."""

    def __init__(self, files: FarFiles, rename: Callable[[str, str], None], name: str, keep: int) -> None:
        import xxhash

        self._files = files
        self._line = line = files.line
        self._rename = rename
        self._name = name
        self._under_way: deque[Part] = deque()
        self._hash = xxhash.xxh3_64()  # of [synced, answered)
        self.offset = self._answered = self._synced = keep
        self._file: asyncssh.SFTPClientFile = self._opened()
        self._age = line.age
        self._trying = Trying(line)

    @override
    def write(self, parts: Sequence[Bytes]) -> None:
        content = b"".join(parts)
        waiting = self.offset - self._answered
        while self._under_way and waiting + len(content) > WINDOW:
            self._settle_one()
            waiting = self.offset - self._answered
        self._under_way.append(Part(self.offset, content, self._begun(self.offset, content)))
        self.offset += len(content)
        if self._answered - self._synced >= SYNC:
            self._sync()

    @override
    def push(self) -> None:
        """What is written is under way at once, and every 64 MiB are asked for."""

    @override
    def seal(self, name: str) -> None:
        self._sync()
        self.abandon()
        self._rename(self._name, name)

    @override
    def abandon(self) -> None:
        file = self._file
        try:
            while self._under_way:  # a close would overtake them
                self._line.result(self._under_way.popleft().done)
            self._line.once(lambda _: file.close())
        except OSError:
            return  # the line is down, and the handle with it

    def _settle_one(self) -> None:
        part = self._under_way[0]
        try:
            self._line.result(part.done)
        except Broken as broken:
            self._take_up(broken)
            return
        except OSError as error:
            raise self._files.explained(error) from None
        self._trying.answered()
        self._under_way.popleft()
        self._hash.update(part.content)
        self._answered += len(part.content)

    def _sync(self) -> None:
        import xxhash

        while True:
            while self._under_way:
                self._settle_one()
            file = self._file
            try:
                self._line.once(lambda _, file=file: file.fsync())  # type: ignore[misc]  # no type inferred
                break
            except Broken as broken:
                self._take_up(broken)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise self._files.explained(error) from None
                break  # a server without fsync@openssh.com: its own write-back must do
        self._trying.answered()
        self._synced = self._answered
        self._hash = xxhash.xxh3_64()

    def _take_up(self, broken: Broken) -> None:
        """On a new line: see that the far side has what it said it had, and send again what it did not answer."""
        while True:
            self._trying.again(self._age, broken)
            self._age = self._line.age
            try:
                self._file = self._opened_again()
                break
            except Broken as another:
                broken = another
        for part in self._under_way:
            part.done = self._begun(part.offset, part.content)

    def _opened(self) -> asyncssh.SFTPClientFile:
        path, keep = self._files.path(self._name), self.offset

        async def work(client: asyncssh.SFTPClient) -> Any:
            import asyncssh

            flags = SFTP_READ | SFTP_WRITE | SFTP_CREATE
            file = await client.open(path, flags, asyncssh.SFTPAttrs(permissions=0o600), encoding=None)
            await file.truncate(keep)
            return file

        found: asyncssh.SFTPClientFile = self._line.call(work)
        return found

    def _opened_again(self) -> asyncssh.SFTPClientFile:
        import xxhash

        path, start, end = self._files.path(self._name), self._synced, self._answered

        async def work(client: asyncssh.SFTPClient) -> Any:
            file = await client.open(path, SFTP_READ | SFTP_WRITE, encoding=None)
            found = xxhash.xxh3_64()
            for at in range(start, end, CHECK):
                found.update(await _bytes(file, min(CHECK, end - at), at))
            return file, found.intdigest()

        file, digest = self._line.once(work)
        if digest != self._hash.intdigest():
            raise OSError(errno.EIO, f"{self._name} lost on the far side what was written before the line broke")
        reopened: asyncssh.SFTPClientFile = file
        return reopened

    def _begun(self, offset: int, content: bytes) -> Future[int]:
        file = self._file
        return self._line.begin(lambda _: file.write(content, offset))


async def _bytes(file: asyncssh.SFTPClientFile, length: int, offset: int) -> bytes:
    found = await file.read(length, offset)
    assert isinstance(found, bytes)  # opened without an encoding
    return found
