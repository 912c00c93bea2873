"""An open put: the image held in one appliance, the point's tree beside it, and what goes where."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines.backup.files.globs import expanded
from engines.backup.files.guest import Joined
from engines.backup.files.model import VolumeInfo, join, shown
from engines.backup.files.opening import BrowseTree
from engines.backup.files.reach import path_of
from engines.backup.files.selection import SelectedFile, Walk
from engines.backup.put import texts
from engines.backup.put.guest_view import GuestView, GuestVolume, VolumeRoom, volumes
from engines.backup.put.matching import matched
from engines.backup.put.placing import Placed, Placing, PutOptions, refuse_taken
from engines.guest.appliance import GuestError
from engines.guest.surgery import ROOM, Surgery
from engines.job import runs
from engines.job.errors import Failed, Refused

TEXT = 64 * 1024  # bytes of a text file that a plan shows
SHOWN = 50  # of them


@dataclass(frozen=True)
class ChosenFile:
    """A chosen file or folder: its path in the tree, its own place in its volume."""

    path: bytes
    info: VolumeInfo
    inner: bytes


@dataclass
class VolumeTarget:
    """One volume of the guest and what goes there."""

    volume: GuestVolume
    room: VolumeRoom
    placing: Placing
    infos: list[VolumeInfo] = field(default_factory=list)
    texts: dict[bytes, tuple[str, str]] = field(default_factory=dict)  # by place: text files before and after


@dataclass
class Operation:
    """Everything that is open; `close` ends it all. lost: what cannot be read from the point, by path."""

    tree: BrowseTree
    surgery: Surgery
    stack: ExitStack
    targets: list[VolumeTarget] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether the guest's appliance still runs."""
        return self.surgery.appliance.alive

    def close(self) -> None:
        """End it; nothing was committed."""
        self.stack.close()

    def place(self, sources: list[ChosenFile], at: bytes | None, volume: str, wish: PutOptions) -> None:
        """Decide about every file. Raises Refused."""
        there = volumes(self.surgery.appliance)
        ways: dict[str, tuple[GuestVolume, list[ChosenFile]]] = {}
        for source in sources:
            found = matched(source.info, there, volume)
            ways.setdefault(found.name, (found, []))[1].append(source)
        for found, group in ways.values():
            with self._mounted(found):
                self._onto(found, group, at, wish)
        refuse_taken([target.placing for target in self.targets])
        for target in self.targets:
            target.placing.refuse_full(target.room)
        self._refuse_small_host()

    def _onto(self, volume: GuestVolume, group: list[ChosenFile], at: bytes | None, wish: PutOptions) -> None:
        ground = GuestView(self.surgery.appliance)
        placing = Placing(ground, volume, wish)
        for source in group:
            folder = at if at is not None else posixpath.dirname(source.inner)
            placing.root(folder, [None] * folder.count(b"/") if at is not None else self._ancestors(source))
            walk = Walk(self.tree, {source.path: posixpath.basename(source.inner)}, self._complain, across=False)
            placing.add(walk.entries(), folder)
        infos = list({source.info.name: source.info for source in group}.values())
        self.targets.append(VolumeTarget(volume, ground.room(), placing, infos, dict(self._texts(placing, ground))))

    def _texts(self, placing: Placing, ground: GuestView) -> Iterator[tuple[bytes, tuple[str, str]]]:
        """Small text files that are replaced by another text, as both sides have them."""
        replaced = [each for each in placing.placed if each.action == "replace" and _is_small(each)]
        for placed in replaced[:SHOWN]:
            assert placed.entry is not None
            assert placed.entry.volume is not None
            try:
                new = placed.entry.volume.read(placed.entry.inner, 0, TEXT)
                old = ground.content(placed.place, TEXT)
            except (Failed, GuestError):
                continue  # the run itself says it
            if both := texts.pair(old, new):
                yield placed.place, both

    def _ancestors(self, source: ChosenFile) -> list[SelectedFile]:
        """The folders above a chosen file, from the volume's top down."""
        found, inner = list[SelectedFile](), posixpath.dirname(source.inner)
        volume, _ = self.tree.volume(source.path)
        while inner != b"/":
            found.append(SelectedFile(inner, inner[1:], volume.stat(inner), volume, inner))
            inner = posixpath.dirname(inner)
        return found[::-1]

    def _complain(self, path: bytes, what: str) -> None:
        self.lost.append(f"{shown(path)} {what}")

    @contextmanager
    def _mounted(self, volume: GuestVolume) -> Iterator[None]:
        try:
            volume.mount(self.surgery.appliance, writable=False)
        except GuestError as error:
            raise Refused(
                f"{volume.name} in the guest ({volume.format}) does not mount: {error}", "repair that file system first"
            ) from None
        try:
            yield
        finally:
            if self.alive:
                self.surgery.appliance.call("umount_all")

    def _refuse_small_host(self) -> None:
        """The overlay holds what is written once, the undo log both states."""
        need = sum(target.placing.need(target.room)[0] for target in self.targets)
        wanted: dict[int, tuple[Path, int]] = {}
        for place, share in ((self.surgery.scratch.path, need), (_existing(runs.home()), 2 * need)):
            device = place.stat().st_dev
            wanted[device] = (place, wanted.get(device, (place, 0))[1] + share)
        for place, share in wanted.values():
            found = os.statvfs(place)
            free = found.f_bavail * found.f_frsize
            if free < share + ROOM:
                raise Refused(
                    f"{place} has {free >> 20} MiB free, overlay and undo log need {share + ROOM >> 20}",
                    "put fewer files, make room, or set TMPDIR and XDG_STATE_HOME",
                )


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def chosen(tree: BrowseTree, paths: list[bytes]) -> list[ChosenFile]:
    """The files and folders that are named, each once, and what the guest mounts below them.

    The top of a disk with several volumes means all of them.
    """
    wanted: list[bytes] = []
    for path in expanded(tree, paths):
        names = [name for name, info in tree.infos.items() if not info.subvolume] if tree.is_top(path) else []
        wanted += [b"/" + name.encode() for name in names] or [path]
    found: dict[bytes, ChosenFile] = {}
    for path in wanted:
        above, name = posixpath.split(path)
        real = join(tree.resolve(above), name) if name and not tree.is_top(above) else path
        for each in [real, *(joined.point for joined in _joined(tree, real))]:
            volume, inner = tree.volume(each)
            volume.stat(inner)
            found[each] = ChosenFile(each, volume.info, inner)
    mounted = {each for path in found for each in found if tree.joined(each) and each != path}
    return [each for path, each in sorted(found.items()) if path in mounted or not _within(path, found)]


def _joined(tree: BrowseTree, path: bytes) -> list[Joined]:
    own = tree.known
    return own.below(path) if own and not tree.names(path[1:].partition(b"/")[0]) else []


def _within(path: bytes, others: dict[bytes, ChosenFile]) -> bool:
    return any(path != other and path.startswith(other.rstrip(b"/") + b"/") for other in others)


def _is_small(placed: Placed) -> bool:
    before = placed.before
    small = before is not None and stat.S_ISREG(before.mode) and max(before.size, placed.node.size) <= TEXT
    return small and placed.node.is_file and placed.entry is not None and placed.entry.volume is not None


def folder_of(at: str) -> bytes | None:
    """The folder that --at names; None for each file's own."""
    return path_of(at) if at else None


def led(tree: BrowseTree, sources: list[ChosenFile], at: bytes) -> tuple[list[ChosenFile], bytes]:
    """`sources` meant for the volume that the guest has `at` on, and that folder there. Raises BrowseError."""
    named = tree.names(at[1:].partition(b"/")[0])
    if not named and not tree.single and tree.guest() is None:
        return sources, at
    name, inner = tree.located(at)
    return [replace(source, info=tree.infos[name]) for source in sources], inner
