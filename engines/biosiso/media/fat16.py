"""Writes a FAT16 volume, on a hard disk image or bare, the same bytes every time (Microsoft FAT specification 1.03)."""

from __future__ import annotations

import hashlib
import mmap
import struct
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from engines.biosiso.media.layout import Entry
from engines.biosiso.vendor import fat
from engines.biosiso.vendor.sources import CHUNK
from engines.job.errors import Failed, Refused

SECTOR = 512
HEADS, TRACK = 16, 63  # a geometry that memdisk and every BIOS agree on below 504 MiB
CYLINDER = HEADS * TRACK  # sectors
START = TRACK  # the partition's first sector, on a track's edge as DOS wants it
ROOT_ENTRIES = 512
LEAST, MOST = 4085, 65524  # clusters of a FAT16 volume
LEAST_BYTES = 16 * 1024 * 1024  # so that it has clusters enough to be FAT16
LARGEST = 256 * 1024 * 1024  # bytes; the machine holds it in RAM
SPARE = 4 * 1024 * 1024  # bytes left free for what a vendor's batch writes
FOLDER, ARCHIVE, VOLUME = 0x10, 0x20, 0x08


@dataclass
class Node:
    """A folder of the volume: its files and folders by 8.3 name, and its first cluster (0 for the root)."""

    files: list[Entry] = field(default_factory=list)
    folders: dict[str, Node] = field(default_factory=dict)
    cluster: int = 0

    def count(self) -> int:
        """Directory entries that it needs, with . and .. below the root."""
        return len(self.files) + len(self.folders) + 2


@dataclass(frozen=True)
class Layout:
    """Where everything lies. Sizes in sectors of 512 bytes."""

    start: int
    total: int
    per_cluster: int
    fat: int
    clusters: int

    @property
    def volume(self) -> int:
        """Sectors of the volume."""
        return self.total - self.start

    @property
    def root(self) -> int:
        """The root folder's first sector, from the image's beginning."""
        return self.start + 1 + 2 * self.fat

    @property
    def data(self) -> int:
        """Sector of cluster 2, from the image's beginning."""
        return self.root + ROOT_ENTRIES * 32 // SECTOR

    @property
    def cluster_bytes(self) -> int:
        """Bytes of one cluster."""
        return self.per_cluster * SECTOR


def layout(entries: Sequence[Entry], start: int = START, largest: int = LARGEST) -> Layout:
    """A volume that holds the files with room to spare, `start` sectors into its image. Raises Refused."""
    wanted = max(LEAST_BYTES, sum(entry.size + 4096 for entry in entries) + SPARE)
    if wanted > largest:
        raise Refused(f"the files need a FAT volume of {wanted} bytes, allowed are {largest}", "build the cd form")
    total = -(-(wanted // SECTOR + start) // CYLINDER) * CYLINDER
    volume = total - start
    per_cluster = next(size for size in (4, 8, 16, 32) if volume // size < MOST - 100)
    table = -(-(volume // per_cluster + 2) * 2 // SECTOR)
    clusters = (volume - 1 - 2 * table - ROOT_ENTRIES * 32 // SECTOR) // per_cluster
    assert LEAST <= clusters <= MOST
    return Layout(start, total, per_cluster, table, clusters)


def write(
    shape: Layout, entries: Sequence[Entry], out: BinaryIO, epoch: int, label: str, boot_code: bytes = b""
) -> Iterator[tuple[int, int]]:
    """Write the image of these files; `boot_code` goes into the MBR, if there is one. Yields (bytes done, total)."""
    root = _tree(entries)
    if root.count() > ROOT_ENTRIES:
        raise Refused(f"{root.count()} files at the top, a FAT volume takes {ROOT_ENTRIES}", "put them into a folder")
    allocator = _Allocator(shape)
    _allocate(root, allocator, top=True)
    out.truncate(shape.total * SECTOR)
    if shape.start:
        _at(out, 0, _mbr(shape, boot_code))
    _at(out, shape.start, _boot_sector(shape, label))
    for copy in range(2):
        _at(out, shape.start + 1 + copy * shape.fat, allocator.table())
    _write_folder(out, shape, root, None, allocator, _stamp(epoch), label)
    done, total = 0, sum(entry.size for entry in entries)
    yield done, total
    for entry in entries:
        for written in _write_file(out, shape, entry, allocator.first[entry.disc]):
            done += written
            yield done, total


def _tree(entries: Sequence[Entry]) -> Node:
    root = Node()
    for entry in entries:
        here = root
        for folder in entry.disc.split("/")[:-1]:
            here = here.folders.setdefault(folder, Node())
        here.files.append(entry)
    return root


class _Allocator:
    """Hands out clusters one behind the other, so that every file lies in one piece."""

    def __init__(self, shape: Layout) -> None:
        self._shape = shape
        self._chains: list[tuple[int, int]] = []
        self._next = 2
        self.first: dict[str, int] = {}

    def take(self, size: int) -> int:
        """The first of enough clusters for `size` bytes; 0 for none."""
        needed = -(-size // self._shape.cluster_bytes)
        if not needed:
            return 0
        first, self._next = self._next, self._next + needed
        if self._next > self._shape.clusters + 2:
            raise Refused("the files do not fit onto the FAT volume", "leave out what --add adds")
        self._chains.append((first, needed))
        return first

    def table(self) -> bytes:
        """The file allocation table."""
        cells = [0xFFF8, 0xFFFF] + [0] * (self._shape.fat * SECTOR // 2 - 2)
        for first, count in self._chains:
            cells[first : first + count] = [*range(first + 1, first + count), 0xFFFF]
        return struct.pack(f"<{len(cells)}H", *cells)


def _allocate(node: Node, allocator: _Allocator, *, top: bool) -> None:
    if not top:
        node.cluster = allocator.take(node.count() * 32)
    for entry in node.files:
        allocator.first[entry.disc] = allocator.take(entry.size)
    for folder in node.folders.values():
        _allocate(folder, allocator, top=False)


def _write_folder(
    out: BinaryIO, shape: Layout, node: Node, parent: Node | None, allocator: _Allocator, stamp: bytes, label: str = ""
) -> None:
    rows = [_row(label[:11].ljust(11).encode("ascii"), VOLUME, 0, 0, stamp)] if parent is None else []
    if parent is not None:
        rows.append(_row(b".          ", FOLDER, node.cluster, 0, stamp))
        rows.append(_row(b"..         ", FOLDER, parent.cluster, 0, stamp))
    for entry in node.files:
        rows.append(_row(_padded(entry.disc), ARCHIVE, allocator.first[entry.disc], entry.size, stamp))
    for name, folder in node.folders.items():
        rows.append(_row(_padded(name), FOLDER, folder.cluster, 0, stamp))
        _write_folder(out, shape, folder, node, allocator, stamp)
    _at(out, shape.data + (node.cluster - 2) * shape.per_cluster if node.cluster else shape.root, b"".join(rows))


def _padded(disc: str) -> bytes:
    base, _, ending = disc.rpartition("/")[2].partition(".")
    return base.ljust(8).encode("ascii") + ending.ljust(3).encode("ascii")


def _row(name: bytes, attributes: int, cluster: int, size: int, stamp: bytes) -> bytes:
    return (
        name
        + struct.pack("<BBB", attributes, 0, 0)
        + stamp
        + stamp[2:]
        + b"\0\0"
        + stamp
        + struct.pack("<HI", cluster, size)
    )


def _stamp(epoch: int) -> bytes:
    """A time and a date as FAT writes them."""
    at = time.gmtime(epoch)
    clock = at.tm_hour << 11 | at.tm_min << 5 | at.tm_sec // 2
    return struct.pack("<HH", clock, (at.tm_year - 1980) << 9 | at.tm_mon << 5 | at.tm_mday)


def _write_file(out: BinaryIO, shape: Layout, entry: Entry, first: int) -> Iterator[int]:
    out.seek((shape.data + (first - 2) * shape.per_cluster) * SECTOR)
    left = entry.size
    with entry.source.open() as source:
        while left:
            part = source.read(min(CHUNK, left))
            if not part:
                raise Failed(
                    f"{entry.source.name} became shorter than {entry.size} bytes", "put it back and start again"
                )
            out.write(part)
            left -= len(part)
            yield len(part)


def _at(out: BinaryIO, sector: int, content: bytes) -> None:
    out.seek(sector * SECTOR)
    out.write(content)


def _mbr(shape: Layout, boot_code: bytes) -> bytes:
    entry = struct.pack("<B3sB3sII", 0x80, _chs(shape.start), 0x06, _chs(shape.total - 1), shape.start, shape.volume)
    return boot_code[:440].ljust(440, b"\0") + b"CRSH\0\0" + entry + bytes(48) + b"\x55\xaa"


def _chs(sector: int) -> bytes:
    cylinder, rest = divmod(sector, CYLINDER)
    head, track = divmod(rest, TRACK)
    cylinder = min(cylinder, 1023)
    return bytes((head, (track + 1) | (cylinder >> 2 & 0xC0), cylinder & 0xFF))


def _boot_sector(shape: Layout, label: str) -> bytes:
    """A BIOS parameter block; the boot code comes from syslinux."""
    small = shape.volume if shape.volume < 65536 else 0
    block = struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s",
        *(b"\xeb\x3c\x90", b"CRSHCART", SECTOR, shape.per_cluster, 1, 2, ROOT_ENTRIES, small, 0xF8, shape.fat),
        *(TRACK, HEADS, shape.start, 0 if small else shape.volume, 0x80, 0, 0x29, 0x43524153),
        *(label[:11].ljust(11).encode("ascii"), b"FAT16   "),
    )
    return block.ljust(510, b"\0") + b"\x55\xaa"


def check(entries: Sequence[Entry], image: Path, start: int) -> Generator[tuple[int, int], None, None]:
    """Read every file of an image back; yields (bytes read, total). Raises Failed at the first difference."""
    done, total = 0, sum(entry.size for entry in entries)
    with image.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        volume = fat.volume(whole, start * SECTOR)
        found = {file.path: file for file in volume.files()}
        for entry in entries:
            file = found.get(entry.disc)
            digest = hashlib.sha256()
            for part in volume.parts(file) if file else ():
                digest.update(part)
                done += len(part)
                yield done, total
            if file is None or file.size != entry.size or digest.hexdigest() != entry.sha256:
                raise Failed(f"{entry.disc} reads back differently from {entry.source.name}", "start again, and review")
    yield total, total
