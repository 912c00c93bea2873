"""What is on a disk: its partitions, and in each the file system that its signature names."""

from __future__ import annotations

from dataclasses import dataclass

from engines.backup.files.model import BrowseError, Source, VolumeInfo
from engines.backup.files.volumes import partitions, signatures
from engines.backup.files.volumes.window import Window

BARE = "disk"


@dataclass(frozen=True)
class DiskMap:
    """`table` is gpt, mbr or empty; `trouble` is what of it could not be believed."""

    table: str
    volumes: tuple[VolumeInfo, ...]
    trouble: tuple[str, ...]


def survey(disk: Source) -> DiskMap:
    """Read the table and every signature; a few MiB at most. Raises BrowseError for a disk of nothing known."""
    whole = Window(disk, 0, disk.size)
    table = partitions.Table() if signatures.boots(whole) else partitions.read(whole)
    if not table.kind:
        return DiskMap("", (_info(BARE, whole, 0),), ())
    infos = [_info(each.name, Window(disk, each.offset, each.size), each.offset) for each in table.partitions]
    if not infos:
        words = "; ".join(table.trouble) or "it has no partitions"
        raise BrowseError(f"the disk has a {table.kind} partition table, but {words}")
    return DiskMap(table.kind, tuple(infos), tuple(table.trouble))


def _info(name: str, part: Window, offset: int) -> VolumeInfo:
    found = signatures.detect(part)
    return VolumeInfo(
        name=name,
        format=found.format,
        offset=offset,
        size=part.size,
        label=found.label,
        uuid=found.uuid,
        dirty=found.dirty,
        drivers=found.drivers,
    )
