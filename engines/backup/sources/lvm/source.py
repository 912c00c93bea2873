"""LVM volumes as sources: what is read is a snapshot, and what was read is whole only while that is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from typing_extensions import override

from engines.backup.sources.lvm import delta, keep
from engines.backup.sources.lvm.report import is_volume, volumes
from engines.backup.sources.lvm.snapshot import Snapshot, SnapshotRoom
from engines.backup.sources.lvm.together import APART, CRASH, TakenSnapshots, rooms, taken
from engines.backup.sources.lvm.watch import Watch
from engines.backup.sources.options import NoHint, PointRef, SourceOptions
from engines.backup.sources.plain import PlainSource
from engines.backup.sources.source import Format, Source, SourceOpener
from engines.host.files import open_file
from engines.job.errors import Failed, Refused

KEEPS = "its snapshot, until the next backup: pool {pool} also keeps whatever the VM overwrites until then"


class Lvm(SourceOpener):
    """Opens LVM volumes; see Opener."""

    def __init__(self, wish: SourceOptions) -> None:
        self._wish = wish

    @override
    def knows(self, where: Path, form: Format) -> bool:
        return form != "qcow2" and is_volume(where)

    @contextmanager
    @override
    def look(self, where: Path, form: Format) -> Iterator[Source]:
        with looked([where], self._wish) as (source,):
            yield source

    @contextmanager
    @override
    def open(self, where: Path, form: Format) -> Iterator[Source]:
        with opened([where], self._wish) as (source,):
            yield source


@contextmanager
def looked(paths: Sequence[Path], wish: SourceOptions) -> Iterator[tuple[Source, ...]]:
    """The volumes; what snapshots of them would need is looked for, and refused where it is not there."""
    found = rooms(paths, volumes(), wish.size)
    _hintable(found, wish)
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_origin(path, room, wish)) for path, room in zip(paths, found, strict=True))


@contextmanager
def _origin(where: Path, room: SnapshotRoom, wish: SourceOptions) -> Iterator[Source]:
    descriptor = open_file(where, devices=True)
    try:
        yield Origin(descriptor, where, room, wish)
    finally:
        os.close(descriptor)


def _hintable(found: Sequence[SnapshotRoom], wish: SourceOptions) -> None:
    """Raise Refused where thin_delta cannot serve."""
    if wish.hints != "thin":
        return
    for room in found:
        if room.pool is None:
            raise Refused(f"{room.volume} is a thick volume: nothing keeps record of its changes", "leave --hints away")
    if not shutil.which("thin_delta"):
        raise Refused("thin_delta is not installed", "apt-get install thin-provisioning-tools, or leave --hints away")


@contextmanager
def opened(paths: Sequence[Path], wish: SourceOptions) -> Iterator[tuple[SnapshotSource, ...]]:
    """All disks of a VM in one moment, in the order of `paths`. Raises Refused, Failed."""
    left: list[str] = []
    with (
        taken(paths, wish, left.append) as found,
        ExitStack() as stack,
        Watch(found.snapshots) as watch,
    ):
        sources = [_source(snapshot, found, watch, left, wish) for snapshot in found.snapshots]
        yield tuple(stack.enter_context(source) for source in sources)


@contextmanager
def _source(
    snapshot: Snapshot, found: TakenSnapshots, watch: Watch, left: list[str], wish: SourceOptions
) -> Iterator[SnapshotSource]:
    descriptor = open_file(snapshot.path, devices=True)
    try:
        device = os.fstat(descriptor).st_rdev
        if (os.major(device), os.minor(device)) != snapshot.device:
            raise Failed(f"{snapshot.path} leads to another device than {snapshot}", "look at it: dmsetup info -c")
        yield SnapshotSource(descriptor, snapshot, found, watch, left, wish)
    finally:
        os.close(descriptor)


class Origin(PlainSource, Source):
    """A volume of which a snapshot could be made; see Source. For a plan's words: nobody reads it."""

    def __init__(self, descriptor: int, where: Path, room: SnapshotRoom, wish: SourceOptions) -> None:
        super().__init__(descriptor, where)
        self.keeps = KEEPS.format(pool=room.pool) if wish.hints == "thin" else ""
        self.words = f"{_words(room)}, read from a {room.words}"
        self.identity = f"{room.volume.id} {self.size}"

    @property
    @override
    def consistency(self) -> str:
        return CRASH

    @property
    @override
    def warnings(self) -> tuple[str, ...]:
        return ()


def _words(room: SnapshotRoom) -> str:
    return f"{'thin' if room.volume.thin else 'thick'} LVM volume {room.volume}"


class SnapshotSource(PlainSource, Source):
    """An open snapshot; see Source. `left_behind` fills when the `with` block ends."""

    def __init__(
        self,
        descriptor: int,
        snapshot: Snapshot,
        found: TakenSnapshots,
        watch: Watch,
        left: list[str],
        wish: SourceOptions | None = None,
    ) -> None:
        super().__init__(descriptor, snapshot.path)
        volume = snapshot.of.volume
        self._wish = wish or SourceOptions()
        self.snapshot = snapshot
        self.words = _words(snapshot.of)
        self.identity = f"{volume.id} {self.size}"
        self.notes = found.notes
        self._found = found
        self._watch = watch
        self._left = left

    @property
    @override
    def consistency(self) -> str:
        return self._found.consistency

    @property
    @override
    def alone(self) -> str:
        return self._found.alone

    @property
    @override
    def one_moment(self) -> bool:
        return self._found.consistency != APART

    @property
    @override
    def warnings(self) -> tuple[str, ...]:
        return self._found.warnings

    @property
    def left_behind(self) -> tuple[str, ...]:
        """What could not be removed, with the command that removes it."""
        return tuple(self._left)

    @override
    def changed(self, since: PointRef) -> Iterable[tuple[int, int]]:
        if self._wish.hints != "thin":
            raise NoHint("nobody keeps record of changes to it")
        known = self._found.known
        before = keep.of(since, self.snapshot.of, known).volume
        return delta.changed(keep.pool(self.snapshot, known), int(before.thin_id), keep.thin_id(self.snapshot))

    @override
    def committed(self, made: PointRef) -> tuple[str, ...]:
        """Without --hints nothing is kept, and what an earlier one kept goes, too."""
        trouble = []
        if self._wish.hints == "thin":
            said = keep.keep(self.snapshot, self._found.owner, made)
            trouble.append(said)
            if not said:
                self._found.kept.add(self.snapshot.name)
        trouble += [keep.remove(one) for one in keep.outdated(made, self._found.known)]
        return tuple(filter(None, trouble))

    @override
    def read_into(self, offset: int, buffer: memoryview) -> None:
        if self._watch.troubled():
            self._watch.check()
        try:
            super().read_into(offset, buffer)
        except Failed:
            self._watch.check()  # a snapshot that overflowed answers with an I/O error: name the cause
            raise

    @override
    def check(self) -> tuple[str, ...]:
        """An overflow stays, so a snapshot that is whole now was whole at every read before."""
        self._watch.check()
        return ()
