"""Decides file by file what a put creates, replaces, keeps and leaves out, before anything is written."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from engines.backup.files.contents import weight
from engines.backup.files.model import Node, join, shown
from engines.backup.files.selection import SelectedFile
from engines.backup.put.guest_view import MARGIN, Before, GuestView, GuestVolume, VolumeRoom
from engines.job.errors import Refused

Conflict = Literal["refuse", "overwrite", "rename", "skip"]
Action = Literal["create", "replace", "keep", "leave", "merge"]
LONGEST = 255  # bytes of a name, NAME_MAX
LONGEST_LINK = 4096  # PATH_MAX
NOBODY = (1 << 32) - 1  # chown takes it for "leave as it is"
RAISED = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True)
class PutOptions:
    """stamp: what a renamed file's name ends with. made: the time of folders that the point does not have, ns."""

    conflict: Conflict = "refuse"
    special: bool = False
    setuid: bool = False
    stamp: bytes = b""
    made: int = 0


@dataclass(frozen=True)
class Placed:
    """One file and what becomes of it. place: where in the volume, links resolved; hard: the place of its twin.

    node: as it will be written. entry: None for a folder that the point does not have.
    """

    place: bytes
    node: Node
    action: Action
    entry: SelectedFile | None = None
    before: Before | None = None
    note: str = ""
    hard: bytes = b""

    @property
    def written(self) -> bool:
        """Whether it goes into the guest."""
        return self.action in ("create", "replace")


@dataclass
class Spot:
    """Where the entries of a folder go; `why` they go nowhere, if so."""

    real: bytes
    exists: bool
    why: str = ""


@dataclass
class Placing:
    """The decisions for one volume of the guest, folders before what is in them."""

    ground: GuestView
    volume: GuestVolume
    wish: PutOptions
    placed: list[Placed] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    _spots: dict[bytes, Spot] = field(default_factory=dict)
    _twins: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _places: dict[bytes, bytes] = field(default_factory=dict)

    def root(self, folder: bytes, ancestors: Iterable[SelectedFile | None]) -> None:
        """Have `folder` take files; those of its components that are missing are made like `ancestors`."""
        if folder in self._spots:
            return
        here, missing = self.ground.reach(folder)
        likes = list(ancestors)[-len(missing) :] if missing else []
        for name, like in zip(missing, likes, strict=True):
            plain = Node(name=name, inode=0, mode=stat.S_IFDIR | 0o755, size=0, mtime=self.wish.made)
            node = like.node if like else plain
            here = join(here, name)
            if here not in self._places:
                self._places[here] = b""
                self.placed.append(Placed(here, self._lowered(node), "create", like, note="a folder on the way"))
        self._spots[folder] = Spot(here, not missing)

    def add(self, entries: Iterable[SelectedFile], top: bytes) -> None:
        """Decide about entries whose `place` is below the folder `top`, a folder before its own."""
        groups: dict[bytes, list[SelectedFile]] = {}
        for entry in entries:
            if entry.place:
                groups.setdefault(posixpath.dirname(join(top, entry.place)), []).append(entry)
        for folder, group in groups.items():
            self._folder(self._spots[folder], group, top)

    def _folder(self, spot: Spot, group: list[SelectedFile], top: bytes) -> None:
        there = {}
        if spot.exists and not spot.why:
            there = self.ground.look(spot.real, [posixpath.basename(each.place) for each in group])
        for entry in group:
            name = posixpath.basename(entry.place)
            if spot.why:
                self._out(entry, join(spot.real, name), spot.why, join(top, entry.place))
            else:
                self._one(entry, spot, name, there.get(name), join(top, entry.place))

    def _one(self, entry: SelectedFile, spot: Spot, name: bytes, before: Before | None, path: bytes) -> None:
        place = join(spot.real, name)
        if why := self._twice(entry, place) or self._unwanted(entry.node):
            self._out(entry, place, why, path)
        elif before is None:
            self._write(entry, place, None, path)
        elif entry.node.is_folder and (real := self.ground.entered(place)) is not None:
            self._merge(entry, real, path, before)
        else:
            self._conflict(entry, spot, name, before, path)

    def _conflict(self, entry: SelectedFile, spot: Spot, name: bytes, before: Before, path: bytes) -> None:
        place, conflict = join(spot.real, name), self.wish.conflict
        folders = entry.node.is_folder or stat.S_ISDIR(before.mode)
        if conflict == "skip":
            self.placed.append(Placed(place, entry.node, "keep", entry, before, "it is there already"))
            self._spots[path] = Spot(place, exists=False, why="what is there is kept")
        elif conflict == "rename":
            self._write(entry, self._beside(spot, name), None, path)
        elif folders:
            words = "a folder where a file would go" if stat.S_ISDIR(before.mode) else "a file where a folder would go"
            self.blocked.append(f"{shown(place)} ({words})")
            self._spots[path] = Spot(place, exists=False, why="blocked")
        elif conflict == "refuse":
            self.taken.append(shown(place))
        else:
            self._write(entry, place, before, path)

    def _beside(self, spot: Spot, name: bytes) -> bytes:
        """A free name: the point's time is put behind it, and a number where that is taken too."""
        for number in range(1, 1000):
            suffix = self.wish.stamp + (b"-%d" % number if number > 1 else b"")
            found = name[: LONGEST - len(suffix)] + suffix
            if not self.ground.look(spot.real, [found]) and join(spot.real, found) not in self._places:
                return join(spot.real, found)
        raise Refused(f"{shown(join(spot.real, name))} has 999 others beside it", "remove some in the guest")

    def _write(self, entry: SelectedFile, place: bytes, before: Before | None, path: bytes) -> None:
        node = self._lowered(entry.node)
        note = "without its setuid or setgid bit" if node.mode != entry.node.mode else ""
        if node.mode & RAISED and not node.is_folder:
            note = "setuid or setgid, as asked for"
        hard = self._twin(entry, place)
        self.placed.append(Placed(place, node, "replace" if before else "create", entry, before, note, hard))
        if node.is_folder:
            self._spots[path] = Spot(place, exists=False)

    def _merge(self, entry: SelectedFile, real: bytes, path: bytes, before: Before) -> None:
        self.placed.append(Placed(real, entry.node, "merge", entry, before))
        self._spots[path] = Spot(real, exists=True)

    def _out(self, entry: SelectedFile, place: bytes, why: str, path: bytes) -> None:
        self.placed.append(Placed(place, entry.node, "leave", entry, note=why))
        self._spots[path] = Spot(place, exists=False, why=why)

    def _unwanted(self, node: Node) -> str:
        kind = stat.S_IFMT(node.mode)
        if kind == stat.S_IFSOCK:
            return "a socket, which its program makes anew"
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            if not self.wish.special:
                return "a device node or pipe (--special puts it)"
            return f"{self.volume.format} has no device nodes" if self.volume.foreign else ""
        if kind == stat.S_IFLNK and self.volume.format in ("vfat", "exfat"):
            return f"{self.volume.format} has no symbolic links"
        return _impossible(node)

    def _twice(self, entry: SelectedFile, place: bytes) -> str:
        """A damaged folder may hold a name twice; of two chosen files neither is to win."""
        if place not in self._places:
            self._places[place] = entry.source
            return ""
        if self._places[place] == entry.source:
            return "a second file of that name"
        raise Refused(
            f"{shown(self._places[place])} and {shown(entry.source)} would both be {shown(place)}",
            "put them one after the other",
        )

    def _lowered(self, node: Node) -> Node:
        """Without setuid and setgid unless asked for; on a folder setgid raises nobody's rights."""
        raised = stat.S_ISUID if node.is_folder else RAISED
        if self.wish.setuid or not stat.S_IMODE(node.mode) & raised:
            return node
        return msgspec.structs.replace(node, mode=node.mode & ~raised)

    def _twin(self, entry: SelectedFile, place: bytes) -> bytes:
        node = entry.node
        if not node.is_file or node.links < 2 or not node.inode or self.volume.format in ("vfat", "exfat"):
            return b""
        return b"" if (first := self._twins.setdefault((id(entry.volume), node.inode), place)) == place else first

    # ── what it needs ───────────────────────────────────────────────────────────────────────────────

    def need(self, room: VolumeRoom) -> tuple[int, int]:
        """(bytes, inodes) that the volume must have free, what replaced files give back counted."""
        total = inodes = 0
        for each in self.placed:
            if each.written and not each.hard:
                bytes_ = each.node.size if self.volume.foreign and each.node.is_file else weight(each.node)
                total += -(-bytes_ // room.block) * room.block + room.block
                total -= each.before.allocated if each.before else 0
                inodes += 0 if each.before else 1
        return max(total, 0) + MARGIN * room.block, inodes

    def refuse_full(self, room: VolumeRoom) -> None:
        """Raises Refused where the volume lacks room."""
        bytes_, inodes = self.need(room)
        if bytes_ > room.free:
            raise Refused(
                f"{self.volume.name} in the guest has {room.free >> 10} KiB free, {bytes_ >> 10} KiB are needed",
                "put fewer files, or grow the guest's file system first",
            )
        if room.inodes is not None and inodes > room.inodes:
            raise Refused(
                f"{self.volume.name} in the guest has room for {room.inodes} more files, {inodes} are to go there",
                "put fewer files",
            )


def refuse_taken(placings: Sequence[Placing]) -> None:
    """Raises Refused with the names of what is in the way."""
    blocked = [f"{each.volume.name}:{name}" for each in placings for name in each.blocked]
    if blocked:
        raise Refused(
            f"in the way: {_some(sorted(blocked))}", "put them elsewhere (--at FOLDER), or --conflict rename or skip"
        )
    taken = [f"{each.volume.name}:{name}" for each in placings for name in each.taken]
    if taken:
        raise refused_as_taken(taken)


def refused_as_taken(taken: list[str]) -> Refused:
    """The error where files are there already and nobody said what becomes of them."""
    return Refused(
        f"{len(taken)} of the files are in the guest already: {_some(sorted(taken))}",
        "say what becomes of them: --conflict overwrite, rename or skip",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _impossible(node: Node) -> str:
    """What no sound file system holds, and tar would stumble over."""
    if len(node.name) > LONGEST:
        return f"its name has {len(node.name)} bytes"
    if node.is_link and not 0 < len(node.link) < LONGEST_LINK:
        return f"a link to a name of {len(node.link)} bytes"
    if b"\0" in node.link:
        return "a link whose target holds a NUL"
    if not (0 <= node.uid < NOBODY and 0 <= node.gid < NOBODY):
        return f"its owner {node.uid}:{node.gid} cannot be"
    if not (0 <= node.device[0] < 1 << 12 and 0 <= node.device[1] < 1 << 20):
        return "its device number cannot be"
    return "" if 0 <= node.size < 1 << 63 else f"its size is {node.size}"
