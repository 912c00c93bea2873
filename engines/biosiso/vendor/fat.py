"""Reads the files of a FAT12 or FAT16 volume, bounded whatever the volume claims (Microsoft FAT specification 1.03)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

SECTOR = 512
DEEPEST = 4
FOLDER_LARGEST = 256 * 1024  # bytes of one folder's table
MOST_ENTRIES = 4096
VOLUME_ID, FOLDER, LONG_NAME = 0x08, 0x10, 0x0F
FAT12_CLUSTERS, FAT16_CLUSTERS = 4085, 65525  # fewer than these, by the specification


class NoFat(Exception):
    """The bytes are no FAT12 or FAT16 volume, or one that is damaged; says why."""


class FatFile(msgspec.Struct, frozen=True):
    """One file: path with / between folders, upper case as DOS shows it; size in bytes; first cluster."""

    path: str
    size: int
    cluster: int


@dataclass(frozen=True)
class Volume:
    """A volume; every position in bytes from the image's beginning."""

    image: bytes | mmap.mmap
    sectors_per_cluster: int
    fat_start: int
    root_start: int
    root_entries: int
    data_start: int
    clusters: int

    def files(self) -> list[FatFile]:
        """Every file, folders first seen first. Raises NoFat."""
        found: list[FatFile] = []
        root = self.image[self.root_start : self.root_start + self.root_entries * 32]
        self._gather(root, "", 0, found)
        return found

    def _gather(self, table: bytes, prefix: str, depth: int, found: list[FatFile]) -> None:
        for name, attributes, cluster, size in _entries(table):
            if attributes & FOLDER:
                if depth < DEEPEST and cluster >= 2:
                    self._gather(b"".join(self._chain(cluster, FOLDER_LARGEST)), f"{prefix}{name}/", depth + 1, found)
            else:
                found.append(FatFile(prefix + name, size, cluster))
            if len(found) > MOST_ENTRIES:
                raise NoFat(f"more than {MOST_ENTRIES} files")

    def read(self, file: FatFile) -> bytes:
        """A file's content. Raises NoFat where its clusters do not hold its size."""
        if file.size > len(self.image):
            raise NoFat(f"{file.path} claims {file.size} bytes, more than the volume")
        return b"".join(self.parts(file))

    def parts(self, file: FatFile) -> Iterator[bytes]:
        """A file's content, a cluster at a time. Raises NoFat where its clusters do not hold its size."""
        left = file.size
        for part in self._chain(file.cluster, left):
            yield part[:left]
            left -= min(left, len(part))
        if left:
            raise NoFat(f"{file.path} ends {left} bytes before its {file.size}")

    def _chain(self, cluster: int, limit: int) -> Iterator[bytes]:
        width = self.sectors_per_cluster * SECTOR
        seen: set[int] = set()
        while 2 <= cluster < self.clusters + 2 and len(seen) * width < limit:
            if cluster in seen:
                raise NoFat("its clusters run in a ring")
            seen.add(cluster)
            at = self.data_start + (cluster - 2) * width
            yield self.image[at : at + width]
            cluster = self._next(cluster)

    def _next(self, cluster: int) -> int:
        if self.clusters >= FAT12_CLUSTERS:
            at = self.fat_start + cluster * 2
            return int.from_bytes(self.image[at : at + 2], "little")
        at = self.fat_start + cluster * 3 // 2
        pair = int.from_bytes(self.image[at : at + 2], "little")
        return pair >> 4 if cluster & 1 else pair & 0xFFF


def volume(image: bytes | mmap.mmap, base: int = 0) -> Volume:
    """The volume that begins at byte `base`. Raises NoFat."""
    first = image[base : base + SECTOR]
    if len(first) < SECTOR or first[510:512] != b"\x55\xaa":
        raise NoFat("its first sector has no boot signature")
    size, per_cluster, reserved, fats, root, small, _, fat_sectors = struct.unpack_from("<HBHBHHBH", first, 11)
    total = small or struct.unpack_from("<I", first, 32)[0]
    if size != SECTOR or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128):
        raise NoFat("its BIOS parameter block has no FAT geometry")
    if not (1 <= fats <= 2 and reserved and fat_sectors and root and root % 16 == 0):
        raise NoFat("its BIOS parameter block has no FAT geometry")
    root_start = base + (reserved + fats * fat_sectors) * SECTOR
    data_start = root_start + root * 32
    clusters = (total * SECTOR - data_start + base) // (per_cluster * SECTOR)
    if base + total * SECTOR > len(image):
        raise NoFat(f"it claims {total} sectors and has {(len(image) - base) // SECTOR}")
    if not 0 < clusters < FAT16_CLUSTERS:
        raise NoFat("it is no FAT12 or FAT16 volume")
    needed = (clusters + 2) * (2 if clusters >= FAT12_CLUSTERS else 1.5)
    if needed > fat_sectors * SECTOR + SECTOR:
        raise NoFat("its FAT is too short for its clusters")
    return Volume(image, per_cluster, base + reserved * SECTOR, root_start, root, data_start, clusters)


def _entries(table: bytes) -> Iterator[tuple[str, int, int, int]]:
    """(name, attributes, first cluster, size) of a folder's live entries."""
    for at in range(0, len(table) - 31, 32):
        entry = table[at : at + 32]
        attributes = entry[11]
        if entry[0] == 0:
            return
        if entry[0] in (0xE5, 0x2E) or attributes & LONG_NAME == LONG_NAME or attributes & VOLUME_ID:
            continue
        base = entry[:8].replace(b"\x05", b"\xe5", 1) if entry[0] == 5 else entry[:8]
        name = base.decode("cp437").rstrip()
        ending = entry[8:11].decode("cp437").rstrip()
        cluster, size = struct.unpack_from("<HI", entry, 26)
        yield (f"{name}.{ending}" if ending else name), attributes, cluster, size
