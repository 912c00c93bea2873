"""What is backed up: disks that are read and never written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Literal, Protocol

from engines.backup.device import Device
from engines.backup.wish import Binding, Wish
from engines.job.errors import Refused

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

    def changed(self, since: Binding) -> Iterable[tuple[int, int]]:
        """What may differ from the point `since`, as (start, end) in bytes. Raises NoHint."""
        ...

    def committed(self, made: Binding) -> tuple[str, ...]:
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
    """The kinds, the most particular first; without that of volumes where it cannot be one."""
    from engines.backup.sources.plain import Plain
    from engines.backup.sources.qcow2 import Qcow2

    if not volumes:
        return (Qcow2(wish), Plain())
    from engines.backup.lvm.source import Lvm

    return (Lvm(wish), Qcow2(wish), Plain())


def open_source(where: str, form: Format = "auto", wish: Wish | None = None) -> AbstractContextManager[Source]:
    """The source that `where` names, alive within the `with`. Raises Refused."""
    return _opener(where, form, wish or Wish()).open(Path(where), form)


@contextmanager
def look_at(wheres: Sequence[str], form: Format, wish: Wish) -> Iterator[tuple[Source, ...]]:
    """The sources, with nothing made for them. Raises Refused."""
    if _volumes(wheres, form, wish):
        from engines.backup.lvm import source as lvm

        with lvm.looked([Path(where) for where in wheres], wish) as found:
            yield found
        return
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_opener(where, form, wish).look(Path(where), form)) for where in wheres)


@contextmanager
def open_together(wheres: Sequence[str], form: Format, wish: Wish) -> Iterator[tuple[Source, ...]]:
    """The sources, alive within the `with`, volumes all of one moment. Raises Refused."""
    if _volumes(wheres, form, wish):
        from engines.backup.lvm import source as lvm

        with lvm.opened([Path(where) for where in wheres], wish) as found:
            yield found
        return
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_opener(where, form, wish).open(Path(where), form)) for where in wheres)


def _volumes(wheres: Sequence[str], form: Format, wish: Wish) -> bool:
    """Whether all of them are LVM volumes. Raises Refused where only some are."""
    if not any(Path(where).is_block_device() for where in wheres):
        return False
    from engines.backup.lvm.source import Lvm

    others = [where for where in wheres if not isinstance(_opener(where, form, wish), Lvm)]
    if others and len(others) < len(wheres):
        raise Refused(
            f"{others[0]} is no LVM volume, as others of these disks are: they cannot be of one moment",
            "back it up in a run of its own",
        )
    return not others


def _opener(where: str, form: Format, wish: Wish) -> Opener:
    path = Path(where)
    if not path.exists():
        raise Refused(f"{where} does not exist", "name an image file or a block device; an LVM volume must be active")
    for opener in openers(wish, volumes=path.is_block_device()):
        if opener.knows(path, form):
            _suits(where, opener, wish)
            return opener
    raise Refused(f"{where} is neither a file nor a block device", "name an image file or a block device")


def _suits(where: str, opener: Opener, wish: Wish) -> None:
    """Raise Refused where what is wished means nothing for this kind of source: it would be ignored in silence."""
    if wish.hints == "none" and not wish.agent and not wish.size:
        return
    from engines.backup.lvm.source import Lvm
    from engines.backup.sources.qcow2 import Qcow2

    if wish.hints == "thin" and not isinstance(opener, Lvm):
        raise Refused(f"{where} is no thin LVM volume, which --hints thin is for", "leave --hints away")
    if wish.hints == "bitmap" and not isinstance(opener, Qcow2):
        raise Refused(f"{where} is no qcow2 image, which --hints bitmap is for", "leave --hints away")
    if wish.agent and not isinstance(opener, Lvm):
        raise Refused(
            f"{where} is no LVM volume: no snapshot is made of it, and a VM cannot stand still for a whole backup",
            "leave --agent away, or back it up while its VM is off",
        )
    if wish.size and not isinstance(opener, Lvm):
        raise Refused(f"{where} is no LVM volume: no snapshot is made of it", "leave --snapshot-size away")
