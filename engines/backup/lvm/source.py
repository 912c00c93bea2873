"""LVM volumes as sources: what is read is a snapshot, and what was read is whole only while that is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engines.backup.lvm.report import is_volume, volumes
from engines.backup.lvm.snapshot import Room, Snapshot
from engines.backup.lvm.together import CRASH, Taken, rooms, taken
from engines.backup.lvm.watch import Watch
from engines.backup.sources import Format, Source
from engines.backup.sources.plain import PlainSource
from engines.backup.wish import Wish
from engines.job.errors import Failed


class Lvm:
    """Opens LVM volumes; see Opener."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish

    def knows(self, where: Path, form: Format) -> bool:
        """See Opener."""
        return form != "qcow2" and is_volume(where)

    @contextmanager
    def look(self, where: Path, form: Format) -> Iterator[Source]:  # noqa: ARG002  it is raw
        """See Opener. What a snapshot would need is looked for, and refused where it is not there."""
        (found,) = rooms([where], volumes(), self._wish.size)
        descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield Origin(descriptor, where, found)
        finally:
            os.close(descriptor)

    @contextmanager
    def open(self, where: Path, form: Format) -> Iterator[Source]:  # noqa: ARG002  it is raw
        """See Opener."""
        with opened([where], self._wish) as (source,):
            yield source


@contextmanager
def opened(paths: Sequence[Path], wish: Wish) -> Iterator[tuple[SnapshotSource, ...]]:
    """All disks of a VM in one moment, in the order of `paths`. Raises Refused, Failed."""
    left: list[str] = []
    with (
        taken(paths, wish, left.append) as found,
        ExitStack() as stack,
        Watch(found.snapshots) as watch,
    ):
        yield tuple(stack.enter_context(_source(snapshot, found, watch, left)) for snapshot in found.snapshots)


@contextmanager
def _source(snapshot: Snapshot, found: Taken, watch: Watch, left: list[str]) -> Iterator[SnapshotSource]:
    descriptor = os.open(snapshot.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        device = os.fstat(descriptor).st_rdev
        if (os.major(device), os.minor(device)) != snapshot.device:
            raise Failed(f"{snapshot.path} leads to another device than {snapshot}", "look at it: dmsetup info -c")
        yield SnapshotSource(descriptor, snapshot, found, watch, left)
    finally:
        os.close(descriptor)


class Origin(PlainSource):
    """A volume of which a snapshot could be made; see Source. For a plan's words: nobody reads it."""

    def __init__(self, descriptor: int, where: Path, room: Room) -> None:
        super().__init__(descriptor, where)
        self.words = f"{_words(room)}, read from a {room.words}"
        self.identity = f"{room.volume.id} {self.size}"

    @property
    def consistency(self) -> str:
        """See Source."""
        return CRASH

    @property
    def warnings(self) -> tuple[str, ...]:
        """See Source."""
        return ()


def _words(room: Room) -> str:
    return f"{'thin' if room.volume.thin else 'thick'} LVM volume {room.volume}"


class SnapshotSource(PlainSource):
    """An open snapshot; see Source. `left_behind` fills when the `with` block ends."""

    def __init__(self, descriptor: int, snapshot: Snapshot, found: Taken, watch: Watch, left: list[str]) -> None:
        super().__init__(descriptor, snapshot.path)
        volume = snapshot.of.volume
        self.snapshot = snapshot
        self.words = _words(snapshot.of)
        self.identity = f"{volume.id} {self.size}"
        self.notes = found.notes
        self._found = found
        self._watch = watch
        self._left = left

    @property
    def consistency(self) -> str:
        """See Source."""
        return self._found.consistency

    @property
    def warnings(self) -> tuple[str, ...]:
        """See Source."""
        return self._found.warnings

    @property
    def left_behind(self) -> tuple[str, ...]:
        """What could not be removed, with the command that removes it."""
        return tuple(self._left)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See Source."""
        if self._watch.troubled():
            self._watch.check()
        try:
            super().read_into(offset, buffer)
        except Failed:
            self._watch.check()  # a snapshot that overflowed answers with an I/O error: name the cause
            raise

    def check(self) -> None:
        """See Source: an overflow stays, so a snapshot that is whole now was whole at every read before."""
        self._watch.check()
