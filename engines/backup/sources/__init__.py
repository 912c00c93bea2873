"""What is backed up: disks that are read and never written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from engines.job.errors import Refused

Format = Literal["auto", "raw", "qcow2"]


class Source(Protocol):
    """A disk being read, by several threads at once.

    words: what it is, for people. identity: what it is, for the plan's digest. size: bytes.
    """

    words: str
    identity: str
    size: int

    @property
    def consistency(self) -> str:
        """What a point made from it may be called: at rest, crash-consistent, …"""
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

    def changed(self, since: str) -> list[tuple[int, int]] | None:
        """What may differ from the point `since`, ascending, as (start, end); None where nobody kept record."""
        ...

    def ahead(self, offset: int) -> None:
        """Reading goes on at `offset`; called by one thread at a time."""
        ...

    def behind(self, offset: int) -> None:
        """Nothing below `offset` is read any more; called by one thread at a time."""
        ...

    def check(self) -> None:
        """Raise Failed where what was read is not to be trusted, such as after a snapshot overflowed."""
        ...


class Opener(Protocol):
    """Knows one kind of source."""

    def knows(self, where: Path, form: Format) -> bool:
        """Whether it is of this kind."""
        ...

    def open(self, where: Path, form: Format) -> AbstractContextManager[Source]:
        """The source, alive within the `with`. Raises Refused."""
        ...


def openers() -> tuple[Opener, ...]:
    """The kinds, the most particular first."""
    from engines.backup.sources.nbd import Qcow2
    from engines.backup.sources.plain import Plain

    return (Qcow2(), Plain())


def open_source(where: str, form: Format = "auto") -> AbstractContextManager[Source]:
    """The source that `where` names, alive within the `with`. Raises Refused."""
    path = Path(where)
    if not path.exists():
        raise Refused(f"{where} does not exist", "name an image file or a block device")
    for opener in openers():
        if opener.knows(path, form):
            return opener.open(path, form)
    raise Refused(f"{where} is neither a file nor a block device", "name an image file or a block device")
