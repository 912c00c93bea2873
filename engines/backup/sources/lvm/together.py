"""All disks of a VM in one moment: their snapshots made side by side, and the words for what that is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines.backup.sources.lvm import sweep, writers
from engines.backup.sources.lvm.moment import Moment
from engines.backup.sources.lvm.report import LogicalVolume, find, volumes
from engines.backup.sources.lvm.snapshot import MIB, Snapshot, SnapshotRoom, make, remove, room
from engines.backup.sources.lvm.tag import Owner, mine
from engines.backup.sources.options import SourceOptions
from engines.job.errors import CrashcartError, Failed, Refused, Stopped

CRASH = "crash-consistent"
APART = "crash-consistent, each disk of its own moment"


@dataclass(frozen=True)
class TakenSnapshots:
    """Snapshots in the order that was asked for, what they are worth, and what the technician must read.

    alone: what each is worth without the others. kept: names of those that shall stay; whoever wants that adds them.
    known: the volumes as they were before. owner: whose the snapshots are.
    """

    snapshots: tuple[Snapshot, ...]
    consistency: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    alone: str = CRASH
    known: list[LogicalVolume] = field(default_factory=list)
    owner: Owner = field(default_factory=lambda: mine(""))
    kept: set[str] = field(default_factory=set)


def rooms(paths: Sequence[Path], known: list[LogicalVolume], size: int = 0) -> tuple[SnapshotRoom, ...]:
    """What snapshots of these would take, together. Raises Refused."""
    found = [room(find(path, known), known, size) for path in paths]
    for group in {one.volume.vg_uuid: one.volume for one in found}.values():
        mates = [one for one in found if one.volume.vg_uuid == group.vg_uuid and one.size]
        needed = sum(one.size for one in mates)
        if needed <= group.free:
            continue
        if size:
            raise Refused(
                f"{group.vg_name} has {group.free // MIB} MiB free, {len(mates)} snapshots take {needed // MIB} MiB",
                "make them smaller, or add a disk: vgextend",
            )
        share = group.free // len(mates) // group.extent * group.extent
        if share < max(one.volume.extent for one in mates):
            raise Refused(
                f"{group.vg_name} has {group.free // MIB} MiB free, too little for {len(mates)} snapshots",
                f"add a disk: vgextend {group.vg_name} /dev/…",
            )
        found = [replace(one, size=min(one.size, share)) if one in mates else one for one in found]
    return tuple(found)


@contextmanager
def taken(paths: Sequence[Path], wish: SourceOptions, left_behind: Callable[[str], None]) -> Iterator[TakenSnapshots]:
    """The snapshots, there within the `with`; what could not be removed is told. Raises Refused, Failed."""
    known, notes = _swept()
    wanted = rooms(paths, known, wish.size)
    made: list[Snapshot] = []
    kept: set[str] = set()
    owner = mine(wish.run)

    def removed() -> tuple[str, ...]:
        return tuple(filter(None, [remove(snapshot) for snapshot in made if snapshot.name not in kept]))

    try:
        worth = _make(wanted, wish, owner, made)
        yield TakenSnapshots(tuple(made), worth.consistency, worth.warnings, notes, worth.alone, known, owner, kept)
    except CrashcartError as error:
        _name(error, removed())
        raise
    except BaseException:
        for words in removed():
            left_behind(words)
        raise
    else:
        for words in removed():
            left_behind(words)


def _swept() -> tuple[list[LogicalVolume], tuple[str, ...]]:
    """Remove what killed runs left, which would eat the room that we need; the volumes that are there, and words."""
    notes = []
    known = volumes()
    if woken := sweep.wake():
        notes.append(f"{woken} processes or guests that a killed run had left standing still go on")
    found = sweep.orphans(known)
    for orphan in found:
        trouble = sweep.remove(orphan)
        notes.append(trouble or f"removed what a killed run left: {orphan.words}")
    return volumes() if found else known, tuple(notes)


@dataclass(frozen=True)
class _Worth:
    consistency: str
    warnings: tuple[str, ...] = ()
    alone: str = CRASH


def _make(wanted: tuple[SnapshotRoom, ...], wish: SourceOptions, owner: Owner, made: list[Snapshot]) -> _Worth:
    """Fill `made`; the words for its consistency, and warnings."""
    disks = [Path(one.volume.lv_path) for one in wanted]
    together = len(wanted) > 1
    if not together and wish.agent is None:
        made.append(make(wanted[0], owner))
        return _Worth(CRASH)
    kernel = writers.in_kernel(disks)
    if kernel and wish.agent:  # a freeze here and LVM's own would meet in one kernel, and lvcreate give up half-way
        made += [make(one, owner) for one in wanted]
        said = f"the guest agent was not asked, since the disk is {kernel[0]} here"
        return _Worth(APART if together else CRASH, (said,))
    moment = Moment(writers.processes(disks) if together and not kernel else (), wish.agent)
    with moment:
        for one in wanted:
            made.append(make(one, owner))
    warnings = [f"{moment.held.trouble}: the point is crash-consistent, not quiesced"] if moment.held.trouble else []
    if wish.agent and not moment.held.trouble and not moment.quiesced:
        warnings.append("the guest let go of its own freeze before the snapshots were made: they are not quiesced")
    apart = _apart(moment, kernel) if together else ""
    if apart:
        warnings.append(f"the disks are not of one moment: {apart}")
    state = f"quiesced by the guest agent ({moment.held.frozen} file systems)" if moment.quiesced else CRASH
    one_moment = f"{state}, {len(wanted)} disks of one moment" if together else state
    return _Worth(APART if apart else one_moment, tuple(warnings), CRASH if apart else state)


def _apart(moment: Moment, kernel: list[str]) -> str:
    """Why the disks are not of one moment; empty where they are."""
    if kernel:
        return f"this machine's own kernel writes to them ({kernel[0]})"
    if not moment.released.whole:
        return f"the snapshots took longer than the {moment.longest:.0f} s that a VM may stand still"
    missed = len(moment.processes) - moment.held.stopped
    return f"{missed} of the processes that write to them could not be stopped" if missed > 0 else ""


def _name(error: CrashcartError, left: tuple[str, ...]) -> None:
    if isinstance(error, (Failed, Stopped)):
        error.left_behind += left
        return
    for words in left:
        error.add_note(words)
