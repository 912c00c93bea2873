"""What every kind of source gives: a disk that is read by several threads and never written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from engines.backup.sources.options import PointRef
from engines.host.device import Device

Format = Literal["auto", "raw", "qcow2"]


class Source(Protocol):
    """A disk being read, by several threads at once.

    words: what it is, for people. identity: what it is, for the plan's digest. size: bytes.
    reads_from: the device that its reads come from, for a limit by the kernel; or why there is no one such device.
    reader: the process that reads it for us; 0 where our own threads do.
    notes: what was done to open it, for the record. keeps: what stays for the next backup's hint, and what that costs.
    """

    words: str
    identity: str
    size: int
    reads_from: Device | str
    reader: int
    notes: tuple[str, ...]
    keeps: str

    @property
    def consistency(self) -> str:
        """What a point made from it may be called: at rest, crash-consistent, …"""
        ...

    @property
    def alone(self) -> str:
        """The same where the other disks of its moment came to nothing."""
        ...

    @property
    def one_moment(self) -> bool:
        """Whether it is of one moment with those that were opened together with it."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the technician must read."""
        ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`. Raises Failed, naming where, if the source does not give that much."""
        ...

    def extents(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """What may hold data within [start, end), ascending, as (start, end); the rest is zeros."""
        ...

    def changed(self, since: PointRef) -> Iterable[tuple[int, int]]:
        """What may differ from the point `since`, as (start, end) in bytes. Raises NoHint."""
        ...

    def committed(self, made: PointRef) -> tuple[str, ...]:
        """The point is there: keep record of changes from here on where that was wished; what went wrong, in words."""
        ...

    def ahead(self, offset: int) -> None:
        """Reading goes on at `offset`; called by one thread at a time."""
        ...

    def at_hand(self, offset: int) -> bool:
        """Whether what lies there was in memory before we came, so that small reads of it wait for nothing."""
        ...

    def lend(self, offset: int, length: int) -> memoryview | None:
        """What lies there without a copy, until this thread calls `take_back`; None where it must be read."""
        ...

    def take_back(self, offset: int, length: int) -> bool:
        """What this thread was lent is not looked at any more; False where what it saw is not to be relied on."""
        ...

    def behind(self, offset: int) -> None:
        """Nothing below `offset` is read any more; called by one thread at a time."""
        ...

    @property
    def left_behind(self) -> tuple[str, ...]:
        """After the `with`: what could not be removed, and the command that removes it."""
        ...

    def check(self) -> tuple[str, ...]:
        """After the last read: warnings that came up since it was opened; `consistency` is as it turned out.

        Raises Failed where what was read is not to be trusted, such as after a snapshot overflowed.
        """
        ...


class SourceOpener(Protocol):
    """Knows one kind of source."""

    def knows(self, where: Path, form: Format) -> bool:
        """Whether it is of this kind."""
        ...

    def look(self, where: Path, form: Format) -> AbstractContextManager[Source]:
        """The same with nothing made for it, such as a snapshot: for plans. Raises Refused."""
        ...

    def open(self, where: Path, form: Format) -> AbstractContextManager[Source]:
        """The source, alive within the `with`. Raises Refused."""
        ...
