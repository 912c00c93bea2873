"""ext2, ext3 and ext4 as a Volume, in this process and without mounting: no byte of the guest reaches a kernel."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace

from typing_extensions import override

from engines.backup.files.model import BrowseError, DiskBytes, Node, NoSuchFile, Unsupported, Volume, VolumeInfo, shown
from engines.backup.files.ranges import joined
from engines.backup.files.volumes.dentries import Dentries
from engines.backup.files.volumes.ext import attributes, superblock
from engines.backup.files.volumes.ext.folder import entries
from engines.backup.files.volumes.ext.inode import ENCRYPTED, HAS_EXTENTS, INLINE, Inode, Inodes
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed

ROOT = 2  # its inode
LONGEST_LINK = 65536
UNSUMMED = "its superblock is damaged, and nothing of it is checked: files may be wrong unseen"
TOGETHER = 256  # entries of a folder whose inodes are looked at at once


class ExtVolume(Volume):
    """See Volume. `source` is the file system's own bytes, from its first."""

    driver = "quick"

    def __init__(self, source: DiskBytes, info: VolumeInfo, state: str) -> None:
        self.info = info
        self.state = state
        self._window = Window(source, 0, source.size)
        self._superblock = superblock.load(self._window)
        self._inodes = Inodes(self._window, self._superblock)
        if (unsummed := _unsummed(self._window, self._inodes)) is not None:
            self._superblock, self._inodes = unsummed.superblock, unsummed
            self.state = "; ".join(filter(None, (state, UNSUMMED)))
        self._dentries: Dentries[int] = Dentries()
        self._damaged: dict[int, BrowseError] = {}

    # ── paths ───────────────────────────────────────────────────────────────────────────────────────

    def _find(self, path: bytes) -> Inode:
        number = ROOT
        for part in path.split(b"/"):
            if part:
                number = self._lookup(number, part, path)
        inode = self._inodes.get(number)
        if inode.mode == 0 or (inode.links == 0 and number != ROOT):
            raise BrowseError(f"{shown(path)}: its inode {number} is free, the file system is damaged")
        return inode

    def _lookup(self, folder: int, name: bytes, path: bytes) -> int:
        known = self._dentries.get(folder, lambda: self._names(folder, path))
        if name not in known:
            if folder in self._damaged:
                raise self._damaged[folder]
            raise NoSuchFile(f"{shown(path)}: there is no such file")
        return known[name]

    def _names(self, folder: int, path: bytes) -> dict[bytes, int]:
        """As many as can be read: what is damaged in a folder hides none of the others."""
        inode = self._inodes.get(folder)
        if not stat.S_ISDIR(inode.mode):
            raise NoSuchFile(f"{shown(path)}: there is no such file")
        found: dict[bytes, int] = {}
        try:
            for name, number in self._entries(inode):
                found.setdefault(name, number)
        except BrowseError as error:
            self._damaged[folder] = error
        return found

    def _entries(self, inode: Inode) -> Iterator[tuple[bytes, int]]:
        what = f"the folder of inode {inode.number}"
        if inode.flags & ENCRYPTED:
            raise Unsupported(f"{what} is encrypted by the guest", "its names and bytes need the guest's own key")
        incompat, size = self._superblock.incompat, self._superblock.block
        if inode.flags & INLINE:
            yield from entries(inode.block[4:], incompat, what)
            yield from entries(self._inline_rest(inode), incompat, what)
            return
        blocks = min(-(-inode.size // size), self._superblock.blocks)
        trouble, covered = None, 0
        for run in self._inodes.runs(inode, 0, blocks):
            covered += run.length if run.place is not None else 0
            for at in range(run.length if run.place is not None else 0):
                try:
                    raw = self._window.exactly((run.place + at) * size, size, what)  # type: ignore[operator]  # not None
                    yield from entries(raw, incompat, what)
                    if not self._inodes.sums.leaf(inode.number, inode.raw, raw):
                        raise BrowseError(f"{what} is damaged: the checksum of a block does not hold")
                except BrowseError as error:
                    trouble = trouble or error
        if trouble is None and covered < blocks:
            trouble = BrowseError(f"{what} is damaged: {blocks - covered} of its {blocks} blocks were never written")
        if trouble:
            raise trouble

    # ── Volume ──────────────────────────────────────────────────────────────────────────────────────

    @override
    def stat(self, path: bytes) -> Node:
        return self._node(path.rsplit(b"/", 1)[-1], self._find(path))

    @override
    def list(self, path: bytes) -> Iterator[Node]:
        """An entry whose inode is damaged has mode 0."""
        inode = self._find(path)
        if not stat.S_ISDIR(inode.mode):
            raise BrowseError(f"{shown(path)} is no folder")
        names: dict[bytes, int] = {}
        waiting: list[tuple[bytes, int]] = []
        enough, trouble = 1, None  # the first ones come at once
        try:
            for name, number in self._entries(inode):
                if name not in names:
                    names[name] = number
                    waiting.append((name, number))
                if len(waiting) >= enough:
                    yield from self._nodes(waiting)
                    waiting, enough = [], min(TOGETHER, 2 * enough)
        except Failed as error:
            trouble = error
        yield from self._nodes(waiting)
        if trouble:
            raise trouble
        self._dentries.put(inode.number, names)

    def _nodes(self, listed: Sequence[tuple[bytes, int]]) -> Iterator[Node]:
        self._inodes.foresee(number for _, number in listed)
        for name, number in listed:
            yield self._entry(name, number)

    def _entry(self, name: bytes, number: int) -> Node:
        try:
            return self._node(name, self._inodes.get(number))
        except Failed:
            return Node(name=name, inode=number, mode=0, size=0)

    def _node(self, name: bytes, inode: Inode) -> Node:
        link, device = b"", (0, 0)
        if stat.S_ISLNK(inode.mode):
            link = self._link(inode)
        elif stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            device = _device(inode.block)
        return Node(
            name=name,
            inode=inode.number,
            mode=inode.mode,
            size=inode.size,
            uid=inode.uid,
            gid=inode.gid,
            links=inode.links,
            mtime=inode.mtime,
            atime=inode.atime,
            ctime=inode.ctime,
            allocated=inode.allocated,
            link=link,
            device=device,
        )

    def _link(self, inode: Inode) -> bytes:
        if inode.flags & ENCRYPTED:
            return b""
        if inode.size < 60 and not inode.flags & (HAS_EXTENTS | INLINE):
            return inode.block[: inode.size]
        if inode.size > LONGEST_LINK:
            raise BrowseError(f"the symbolic link of inode {inode.number} is {inode.size} bytes long")
        return self._content(inode, 0, inode.size).rstrip(b"\0")

    @override
    def read(self, path: bytes, offset: int, length: int) -> bytes:
        inode = self._regular(path)
        return self._content(inode, offset, length)

    def _regular(self, path: bytes) -> Inode:
        inode = self._find(path)
        if not stat.S_ISREG(inode.mode):
            raise BrowseError(f"{shown(path)} is no regular file")
        if inode.flags & ENCRYPTED:
            raise Unsupported(f"{shown(path)} is encrypted by the guest", "its bytes need the guest's own key")
        return inode

    def _content(self, inode: Inode, offset: int, length: int) -> bytes:
        length = max(0, min(length, inode.size - offset))
        if inode.flags & INLINE:
            return (inode.block + self._inline_rest(inode))[offset : offset + length].ljust(length, b"\0")
        size = self._superblock.block
        parts, at, end = [], offset, offset + length
        for run in self._inodes.runs(inode, offset // size, -(-end // size)) if length else ():
            start, until = max(at, run.first * size), min(end, (run.first + run.length) * size)
            parts.append(bytes(start - at))
            if run.place is None:
                parts.append(bytes(until - start))
            else:
                place = run.place * size + start - run.first * size
                parts.append(self._window.exactly(place, until - start, f"inode {inode.number}"))
            at = until
        parts.append(bytes(end - at))
        return parts[1] if len(parts) == 3 and not parts[0] and not parts[2] else b"".join(parts)

    @override
    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        inode = self._regular(path)
        if inode.flags & INLINE:
            if inode.size:
                yield 0, inode.size
            return
        size = self._superblock.block
        yield from joined(
            (run.first * size, min((run.first + run.length) * size, inode.size))
            for run in self._inodes.runs(inode, 0, -(-inode.size // size))
            if run.place is not None
        )

    @override
    def attributes(self, path: bytes) -> dict[str, bytes]:
        found = self._attributes(self._find(path))
        found.pop(attributes.INLINE_DATA, None)
        return {os.fsdecode(name): value for name, value in found.items()}

    def _attributes(self, inode: Inode) -> dict[bytes, bytes]:
        found = dict(attributes.in_inode(inode, self._value))
        if inode.attributes:
            size = self._superblock.block
            if inode.attributes >= self._superblock.blocks:
                raise BrowseError(f"inode {inode.number} names an attribute block outside the file system")
            raw = self._window.exactly(inode.attributes * size, size, f"the attribute block of inode {inode.number}")
            if not self._inodes.sums.attributes(inode.attributes, raw):
                raise BrowseError(f"the attribute block of inode {inode.number} does not match its checksum")
            found |= dict(attributes.in_block(raw, inode.number, self._value))
        return found

    def _value(self, number: int, size: int) -> bytes:
        inode = self._inodes.get(number)
        if inode.flags & INLINE:  # its data would be an attribute itself, and might be this one
            raise BrowseError(f"an attribute's value lies in inode {number}, which holds its own data inline")
        return self._content(inode, 0, size)

    def _inline_rest(self, inode: Inode) -> bytes:
        return dict(attributes.in_inode(inode, self._value)).get(attributes.INLINE_DATA, b"")

    @override
    def close(self) -> None:
        self._dentries.clear()


def _unsummed(window: Window, inodes: Inodes) -> Inodes | None:
    """What takes all for whole, where a superblock that is not, and has no copy, fails even the root: its seed is lost.

    None where the checksums serve, and where the root is no folder without them either.
    """
    if inodes.superblock.group or superblock.holds(window.read(superblock.START, superblock.SIZE)):
        return None
    found = Inodes(window, replace(inodes.superblock, seed=None))
    try:
        inodes.get(ROOT)
    except BrowseError:
        with contextlib.suppress(BrowseError):
            return found if stat.S_ISDIR(found.get(ROOT).mode) else None
    return None


def _device(block: bytes) -> tuple[int, int]:
    old, new = struct.unpack_from("<II", block)
    if old:
        return old >> 8 & 0xFF, old & 0xFF
    return new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00
