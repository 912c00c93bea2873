"""Snapshots that killed runs left behind: found by their tag, removed only where their process is dead for certain."""

from __future__ import annotations

from dataclasses import dataclass

from engines.backup.sources.lvm import moment
from engines.backup.sources.lvm.report import LogicalVolume, volumes
from engines.backup.sources.lvm.snapshot import NAME, remove_named
from engines.backup.sources.lvm.tag import MARK, Owner, parse


@dataclass(frozen=True)
class Left:
    """A snapshot with a tag of ours. `fate` is its maker's: dead, alive, or why nobody here can tell."""

    volume: LogicalVolume
    owner: Owner
    fate: str

    @property
    def words(self) -> str:
        """One line for people."""
        run = self.owner.holder.run or "a run without a name"
        return f"{self.volume} of {self.volume.vg_name}/{self.volume.origin}, made by {run}: {self.fate}"


def left(known: list[LogicalVolume] | None = None) -> list[Left]:
    """Every snapshot with our name and our tag. One that lacks either is not ours. Raises Refused."""
    found = []
    for volume in volumes() if known is None else known:
        owner = _owner(volume)
        if owner is not None:
            found.append(Left(volume, owner, owner.fate()))
    return found


def _owner(volume: LogicalVolume) -> Owner | None:
    marked = [tag for tag in volume.tags if tag.startswith(MARK + "/")]
    if len(marked) != 1 or not volume.lv_name.startswith(NAME):
        return None
    # An invalid thick snapshot keeps its origin; without one it was converted, merged or made by hand.
    return parse(marked[0]) if volume.snapshot else None


def orphans(known: list[LogicalVolume] | None = None) -> list[Left]:
    """Those whose maker is dead. Raises Refused."""
    return [one for one in left(known) if one.fate == "dead"]


def remove(orphan: Left) -> str:
    """Remove it, if it is still what it was; empty, or what is left behind. Raises Refused."""
    for volume in volumes():
        if volume.id == orphan.volume.id:
            now = _owner(volume)
            if now != orphan.owner or now.fate() != "dead":
                return f"{volume} has changed hands meanwhile and was left alone"
            return remove_named(volume.vg_name, volume.lv_name)
    return ""


def wake() -> int:
    """Let processes and guests go on that a killed holder left standing still; how many. Raises Refused."""
    return sum(moment.let_go(path, record) for path, record in moment.forgotten())
