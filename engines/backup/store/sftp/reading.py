"""Reading far files, with the packs in use kept open: a record is then one question, not three."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import TYPE_CHECKING, Any

from engines.backup.store.sftp.files import SFTP_READ, FarFiles
from engines.backup.store.sftp.line import Broken, Trying

if TYPE_CHECKING:
    import asyncssh

OPEN = 64  # packs kept open; far more than threads, so that none is closed while it is read
SIDE_BY_SIDE = 128  # small files read at a time; servers let a user have some hundreds open
FIRST = 32768  # bytes asked for at a time of a small file; the most that every server gives at once
SMALL = 1 << 18  # bytes of a file whose pieces are all asked for at once, as its listing counts them
LONGEST = 256 * 1024 * 1024  # bytes of what is read as a whole, as of a bucket
FOREVER = ".pack"  # the ending of files that never change under their name


class FarReading:
    """Reads parts of files; safe from several threads."""

    def __init__(self, files: FarFiles) -> None:
        self._files = files
        self._line = files.line
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._listed: dict[str, int] = {}  # bytes of small files, as a listing said
        self._closing: set[asyncio.Future[None]] = set()

    def listed(self, name: str, size: int) -> None:
        """What a listing says of a file: where its bytes are as many, none needs to be asked how many they are."""
        if size <= SMALL:
            self._listed[name] = size

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """As in Store."""
        trying = Trying(self._line)
        while True:
            age = self._line.age
            try:
                return self._read(name, offset, length)
            except Broken as broken:
                trying.again(age, broken)

    def _read(self, name: str, offset: int, length: int) -> bytes:
        file, kept = self._handle(name)
        size = length

        async def work(_: asyncssh.SFTPClient) -> bytes:
            wanted = size
            if wanted < 0:
                wanted = max(int((await file.stat()).size or 0) - offset, 0)
                if wanted > LONGEST:
                    raise OSError(
                        errno.EPROTO, f"more than {LONGEST >> 20} MiB, as of a server that gives no end", name
                    )
            found = bytearray()
            while len(found) < wanted:
                part = await file.read(wanted - len(found), offset + len(found))
                if not part:
                    break
                found += part
            if len(found) > wanted:
                said = f"more than the {wanted} bytes that were asked for, as of a broken server"
                raise OSError(errno.EPROTO, said, name)
            return bytes(found)

        broke = False
        try:
            return self._line.once(work)
        except Broken:
            broke = True  # and the handle with it
            raise
        finally:
            if not kept and not broke:
                with contextlib.suppress(OSError):
                    self._line.once(lambda _: file.close())

    def read_all(self, names: Iterable[str], most: int) -> Iterator[tuple[str, bytes | OSError]]:
        """As in Store; `SIDE_BY_SIDE` at a time, so that a far side costs its distance once for all of them."""
        wanted = iter(names)
        under_way: deque[tuple[str, Future[bytes]]] = deque()
        while True:
            for name in islice(wanted, SIDE_BY_SIDE - len(under_way)):
                under_way.append((name, self._line.begin(self._whole(name, most))))
            if not under_way:
                return
            name, future = under_way.popleft()
            try:
                found: bytes | OSError = self._line.result(future)
            except Broken:
                found = self._again(name, most)
            except OSError as error:
                found = error
            yield name, found

    def _again(self, name: str, most: int) -> bytes | OSError:
        try:
            return self.read(name, 0, most)
        except OSError as error:
            if error.errno == errno.ETIMEDOUT:
                raise  # it is not the file: each of the others would be waited for as long
            return error

    def _whole(self, name: str, most: int) -> Callable[[asyncssh.SFTPClient], Awaitable[bytes]]:
        path, listed = self._files.path(name), self._listed.get(name, -1)

        async def work(client: asyncssh.SFTPClient) -> bytes:
            file = await client.open(path, SFTP_READ, encoding=None, block_size=0)  # a read is one question
            try:
                pieces = [file.read(FIRST, at) for at in range(0, max(listed, 0) + 1, FIRST)]  # and whether it grew
                begun: Any = asyncio.gather(*pieces)  # all on their way at once
                if listed >= 0:
                    *full, last = await begun
                    if {len(piece) for piece in full} <= {FIRST} and len(full) * FIRST + len(last) == listed:
                        return b"".join((*full, last))[:most]
                (first, *_), known = await asyncio.gather(begun, file.stat())
                found = bytearray(first)
                end = most if known.size is None else min(most, known.size)
                while len(found) < end:  # a server may answer with less than was asked for, of any file
                    part = await file.read(FIRST, len(found))
                    if not part:
                        break
                    found += part  # type: ignore[arg-type]  # bytes, without an encoding
                return bytes(found[:most])
            finally:
                self._closed(file)

        return work

    def _closed(self, file: asyncssh.SFTPClientFile) -> None:
        """Close it and wait for no answer; within the line's own thread, where the next question comes behind it."""
        closing = asyncio.ensure_future(file.close())
        self._closing.add(closing)
        closing.add_done_callback(self._let_go)

    def _let_go(self, closing: asyncio.Future[None]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled():
            closing.exception()  # a handle that is lost is closed

    def _handle(self, name: str) -> tuple[Any, bool]:
        """An open file, and whether it stays open."""
        path = self._files.path(name)
        if not name.endswith(FOREVER):
            return self._line.once(lambda client: client.open(path, SFTP_READ, encoding=None)), False
        with self._lock:
            age, file = self._open.pop(name, (-1, None))
            if file is None or age != self._line.age:
                age = self._line.age
                file = self._line.once(lambda client: client.open(path, SFTP_READ, encoding=None))
            self._open[name] = (age, file)
            while len(self._open) > OPEN:
                self._shut(self._open.popitem(last=False)[1])
        return file, True

    def _shut(self, one: tuple[int, Any]) -> None:
        age, file = one
        if age == self._line.age:
            with contextlib.suppress(OSError):  # a handle that is lost is closed
                self._line.once(lambda _: file.close())

    def forget(self, name: str) -> None:
        """Close it: it goes, or becomes another."""
        with self._lock:
            if one := self._open.pop(name, None):
                self._shut(one)

    def release(self) -> None:
        """Close all that is kept open."""
        with self._lock:
            while self._open:
                self._shut(self._open.popitem()[1])
