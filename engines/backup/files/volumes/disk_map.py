"""What is on a disk: its partitions, and in each the file system that its signature names."""

from __future__ import annotations

from dataclasses import dataclass

from engines.backup.files.model import BrowseError, DiskBytes, VolumeInfo
from engines.backup.files.volumes import arrays, cut, known, partitions, signatures
from engines.backup.files.volumes.table import Partition, Table
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed

BARE = "disk"
LARGE = 4096  # bytes of a sector of some disks, which an MBR counts in
STALE = "a partition table lies on it, too, with nothing in its partitions: it may be left from a former use"
UNSURE = {partitions.UNPROTECTED}


@dataclass(frozen=True)
class DiskMap:
    """`table` is gpt, mbr or empty; `trouble` is what of it could not be believed."""

    table: str
    volumes: tuple[VolumeInfo, ...]
    trouble: tuple[str, ...]


def survey(disk: DiskBytes) -> DiskMap:
    """Read the table and every signature; a few MiB at most. Raises BrowseError for a disk of nothing known."""
    whole = Window(disk, 0, disk.size)
    table = Table() if signatures.boots(whole) else partitions.read(whole)
    bare = _info(Partition(BARE, 0, disk.size, ""), disk, by_copies=not table.kind)
    if not table.kind or (UNSURE.intersection(table.trouble) and bare.drivers):
        return DiskMap("", (bare,), ())
    infos = [_info(each, disk) for each in table.partitions]
    if table.kind == "mbr" and not any(info.drivers for info in infos):
        larger = partitions.read(whole, LARGE)
        others = [_info(each, disk) for each in larger.partitions]
        if any(info.drivers for info in others):
            table, infos = larger, others
    if bare.drivers and not (bare.format == "md" and _is_a_partitions(whole, table)):
        if not any(info.drivers or info.format in known.CLOSED for info in infos):
            return DiskMap("", (bare,), (STALE,))
        table.trouble.append(
            f"the disk as a whole has the signature of {bare.format}, too: it may be left, or be meant"
        )
    if not infos:
        words = "; ".join(table.trouble) or "it has no partitions"
        raise BrowseError(f"the disk has a {table.kind} partition table, but {words}")
    return DiskMap(table.kind, tuple(infos), tuple(table.trouble))


def _is_a_partitions(whole: Window, table: Table) -> bool:
    """Whether a RAID superblock at the end of the disk is that of its last partition, which ends there, too."""
    found = _array(whole)
    inner = ((each, _array(Window(whole, each.offset, each.size))) for each in table.partitions if found)
    return any(found and own and each.offset + own.place == found.place for each, own in inner)


def _array(part: Window) -> arrays.Array | None:
    """None where a damaged block of the backup hides it, too: the others are known all the same."""
    try:
        return arrays.find(part)
    except Failed:
        return None


def _info(part: Partition, disk: DiskBytes, *, by_copies: bool = True) -> VolumeInfo:
    window = Window(disk, part.offset, part.size)
    found = signatures.detect(window, by_copies=by_copies)
    named = known.BY_TYPE.get(part.type, "") if found.format in ("", "empty") else ""
    return VolumeInfo(
        name=part.name,
        format=named or found.format,
        offset=part.offset,
        size=window.size,
        label=found.label,
        uuid=found.uuid,
        dirty=found.dirty,
        cut=cut.off(found.format, window),
        drivers=found.drivers,
        partuuid=part.uuid,
        partlabel=part.label,
    )
