"""What is backed up: disks that are read and never written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from engines.backup.device import Device
from engines.backup.wish import Wish
from engines.job.errors import Refused

Format = Literal["auto", "raw", "qcow2"]


class Source(Protocol):
    """A disk being read, by several threads at once.

    words: what it is, for people. identity: what it is, for the plan's digest. size: bytes.
    reads_from: the device that its reads come from, for a limit by the kernel; or why there is no one such device.
    notes: what was done to open it, for the record.
    """

    words: str
    identity: str
    size: int
    reads_from: Device | str
    notes: tuple[str, ...]

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

    def at_hand(self, offset: int) -> bool:
        """Whether what lies there was in memory before we came, so that small reads of it wait for nothing."""
        ...

    def behind(self, offset: int) -> None:
        """Nothing below `offset` is read any more; called by one thread at a time."""
        ...

    @property
    def left_behind(self) -> tuple[str, ...]:
        """After the `with`: what could not be removed, and the command that removes it."""
        ...

    def check(self) -> None:
        """Raise Failed where what was read is not to be trusted, such as after a snapshot overflowed."""
        ...


class Opener(Protocol):
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


def openers(wish: Wish, *, volumes: bool = True) -> tuple[Opener, ...]:
    """The kinds, the most particular first; those of volumes where it may be one."""
    from engines.backup.sources.nbd import Qcow2
    from engines.backup.sources.plain import Plain

    if not volumes:
        return (Qcow2(), Plain())
    from engines.backup.lvm.source import Lvm

    return (Lvm(wish), Qcow2(), Plain())


def look_at(where: str, form: Format = "auto", wish: Wish | None = None) -> AbstractContextManager[Source]:
    """The source that `where` names, with nothing made for it. Raises Refused."""
    return _opener(where, form, wish).look(Path(where), form)


def open_source(where: str, form: Format = "auto", wish: Wish | None = None) -> AbstractContextManager[Source]:
    """The source that `where` names, alive within the `with`. Raises Refused."""
    return _opener(where, form, wish).open(Path(where), form)


def _opener(where: str, form: Format, wish: Wish | None) -> Opener:
    path = Path(where)
    if not path.exists():
        raise Refused(f"{where} does not exist", "name an image file or a block device; an LVM volume must be active")
    for opener in openers(wish or Wish(), volumes=path.is_block_device()):
        if opener.knows(path, form):
            return opener
    raise Refused(f"{where} is neither a file nor a block device", "name an image file or a block device")
