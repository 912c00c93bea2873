"""Which file system a piece of disk holds, by its own signature, and whether it was left clean.

Sources: the on-disk format documents of each; libblkid names the formats the same way.
"""

from __future__ import annotations

import itertools
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from engines.backup.files.model import NOT_REPLAYED
from engines.backup.files.volumes import arrays, copies, former, known, ntfs_state, spare
from engines.backup.files.volumes.ext import superblock as ext
from engines.backup.files.volumes.fat import volume as fat
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed

UNREAD = (Failed, struct.error, ValueError, IndexError)  # lost with a block, or cut off
SPARE = "its superblock is damaged, a copy serves"
SPARE_BOOT = "its boot sector is damaged, a copy serves"
UNCLEAN = "not unmounted cleanly"
BOTH = ("quick", "libguestfs")
APPLIANCE = ("libguestfs",)
MIB = 1024 * 1024


@dataclass(frozen=True)
class Signature:
    """What was found; see VolumeInfo."""

    format: str
    label: str = ""
    uuid: str = ""
    dirty: str = ""
    drivers: tuple[str, ...] = ()


def detect(part: Window, *, by_copies: bool = True) -> Signature:
    """What `part` holds; format "" for unknown and "empty" where it begins with 1 MiB of zeros.

    by_copies: where nothing is known by its first bytes, copies of superblocks are looked for: up to 1 GiB is read.
    """
    trouble = ""
    for probe in (*PROBES, *(BY_COPIES if by_copies else ()), _blank):
        try:
            found = probe(part)
        except UNREAD as error:
            trouble = trouble or getattr(error, "why", "it ends within its own head")
            continue
        if found and not (trouble and found.format == "empty"):
            return found
    return Signature("", dirty=trouble)


def _luks(part: Window) -> Signature | None:
    raw = part.read(0, 512)
    return _luks_of(raw) if raw[:6] == b"LUKS\xba\xbe" else None


def _luks_of(raw: bytes) -> Signature:
    label = _text(raw[24:72]) if raw[6:8] == b"\0\2" else ""
    return Signature("luks", label, _text(raw[168:208]))


def _f2fs_by_copy(part: Window) -> Signature | None:
    """The second superblock, a block behind the first: the kernel mounts by either."""
    found = known.second_f2fs(part)
    return Signature(*found, SPARE, APPLIANCE) if found else None


def _luks_by_copy(part: Window) -> Signature | None:
    """LUKS2 keeps a second header behind the first one's keys."""
    for place in (1 << power for power in range(14, 23)):
        raw = part.read(place, 512)
        if raw[:8] == b"SKUL\xba\xbe\0\2" and struct.unpack_from(">Q", raw, 256)[0] == place:
            return replace(_luks_of(raw), dirty="its first header is damaged: cryptsetup repair mends it by the second")
    return None


def _lvm(part: Window) -> Signature | None:
    for sector in range(4):
        raw = part.read(sector * 512, 512)
        if raw[:8] == b"LABELONE" and raw[24:32] == b"LVM2 001":
            plain = _text(raw[32:64])
            cuts = (0, 6, 10, 14, 18, 22, 26, 32)
            dashed = "-".join(plain[start:end] for start, end in itertools.pairwise(cuts))
            return Signature("lvm2", "", dashed, drivers=APPLIANCE)
    return None


def _md(part: Window) -> Signature | None:
    found = arrays.find(part)
    return Signature("md", found.label, found.uuid, drivers=APPLIANCE) if found else None


def _xfs(part: Window) -> Signature | None:
    raw = part.read(0, 4096)
    if raw[:4] != copies.XFS:
        return None
    if not copies.xfs_is_sound(raw, part.size) and (found := _patched(part, "xfs")):
        return found
    return _xfs_of(raw)


def _xfs_of(raw: bytes) -> Signature:
    dirty = "its log may hold what is not yet in place"  # whether it does is known only by reading the whole log
    return Signature("xfs", _text(raw[108:120]), str(uuid.UUID(bytes=raw[32:48])), dirty, APPLIANCE)


def _btrfs(part: Window) -> Signature | None:
    raw = part.read(copies.BTRFS_FIRST, copies.BTRFS_LENGTH)
    if raw[0x40:0x48] != copies.BTRFS:
        return None
    if not copies.btrfs_is_sound(raw, copies.BTRFS_FIRST) and (found := _patched(part, "btrfs")):
        return found
    return _btrfs_of(raw)


def _btrfs_of(raw: bytes) -> Signature:
    log = struct.unpack_from("<Q", raw, 0x60)[0]
    dirty = NOT_REPLAYED if log else ""
    return Signature("btrfs", _text(raw[0x12B:0x22B]), str(uuid.UUID(bytes=raw[0x20:0x30])), dirty, APPLIANCE)


def _patched(part: Window, wanted: str = "") -> Signature | None:
    """XFS and btrfs by a copy of a damaged superblock."""
    found = copies.patch(part, wanted)
    if found is None:
        return None
    return _spared(*found)


def _spared(format_: str, _: int, raw: bytes) -> Signature:
    return replace(_xfs_of(raw) if format_ == "xfs" else _btrfs_of(raw), dirty=SPARE)


def _xfs_by_heads(part: Window) -> Signature | None:
    """What still lies in its place goes before an older file system's copies."""
    return _patched(part, "xfs") if copies.has_xfs_heads(part) else None


def _by_far_copy(part: Window) -> Signature | None:
    """XFS and btrfs of which nothing is left in its place."""
    if copies.has_xfs_heads(part):
        return _patched(part, "btrfs")
    found = copies.patch(part)
    if found and found[0] == "xfs" and former.btrfs_follows_xfs(part, found[2]):
        return _patched(part, "btrfs")
    return _spared(*found) if found else None


def _ext(part: Window) -> Signature | None:
    raw = part.read(ext.START, ext.SIZE)
    found = ext.parse(raw)
    return _ext_found(found if found is None or ext.holds(raw) else ext.find(part))


def _ext_found(found: ext.Superblock | None) -> Signature | None:
    if found is None:
        return None
    if found.incompat & ext.JOURNAL_DEVICE:
        return Signature("jbd", found.label, found.uuid)
    if found.group:
        return Signature(found.format, found.label, found.uuid, SPARE, ("quick",))
    dirty = "" if found.state & ext.CLEAN else UNCLEAN
    dirty = NOT_REPLAYED if found.needs_recovery else dirty
    return Signature(found.format, found.label, found.uuid, dirty, BOTH)


def _ext_by_copy(part: Window) -> Signature | None:
    """After all that lies in its place: an older file system's copies outlive it."""
    found = ext.find(part)
    if found and former.btrfs_follows_ext(part, found):
        return _patched(part, "btrfs")
    return _ext_found(found)


def _ntfs(part: Window) -> Signature | None:
    raw = part.read(0, 512)
    if raw[3:11] != b"NTFS    ":
        return None
    try:
        label, dirty = ntfs_state.read(part)
    except Failed as error:
        label, dirty = "", error.why
    return Signature("ntfs", label, f"{struct.unpack_from('<Q', raw, 72)[0]:016X}", dirty, BOTH)


def _by_spare(part: Window) -> Signature | None:
    """NTFS, exFAT and FAT32 by the copy of a damaged boot sector."""
    found = spare.sound(part)
    if found is part:
        return None
    known = next(filter(None, (probe(found) for probe in (_ntfs, _exfat, _fat))), None)
    return replace(known, dirty=SPARE_BOOT, drivers=("quick",)) if known else None


def _exfat(part: Window) -> Signature | None:
    raw = part.read(0, 512)
    if raw[3:11] != b"EXFAT   ":
        return None
    dirty = UNCLEAN if raw[106] & 2 else ""
    return Signature("exfat", fat.label(part), _serial(raw[100:104]), dirty, BOTH)


def _fat(part: Window) -> Signature | None:
    """FAT12, FAT16 and FAT32; dirty by the boot sector's byte (Linux) or the second FAT entry's bit (Windows)."""
    raw = part.read(0, 512)
    if len(raw) < 512 or raw[510:512] != b"\x55\xaa" or raw[21] < 0xF0:
        return None
    sector, cluster, reserved, fats = struct.unpack_from("<HBHB", raw, 11)
    if sector not in (512, 1024, 2048, 4096) or cluster & (cluster - 1) or not cluster or not reserved:
        return None
    if not fats or not (raw[54:57] == b"FAT" or raw[82:87] == b"FAT32"):
        return None
    wide = raw[82:87] == b"FAT32"
    at = 64 if wide else 36
    entry = part.read(reserved * sector, 8).ljust(8, b"\xff")
    clean = bool(entry[7] & 0x08) if wide else raw[54:59] != b"FAT16" or bool(entry[3] & 0x80)
    dirty = UNCLEAN if raw[at + 1] & 1 or not clean else ""
    label = fat.label(part) or _text(raw[at + 7 : at + 18]).rstrip()
    return Signature("vfat", "" if label == "NO NAME" else label, _serial(raw[at + 3 : at + 7]), dirty, BOTH)


def _old_fat(part: Window) -> Signature | None:
    """A FAT that does not say so, as DOS 3 and Atari wrote it: its geometry fits, and its first table is one."""
    raw = part.read(0, 512)
    sector, cluster, reserved, fats, entries, total, media, length = struct.unpack_from("<HBHBHHBH", raw.ljust(512), 11)
    total = total or struct.unpack_from("<I", raw.ljust(512), 32)[0]
    if sector not in (512, 1024, 2048, 4096) or not cluster or cluster & (cluster - 1) or not reserved or not length:
        return None
    if not 1 <= fats <= 4 or media < 0xF0 or not entries or entries * 32 % sector:
        return None
    if not 0 < total * sector <= part.size or (reserved + fats * length) * sector + entries * 32 >= total * sector:
        return None
    if part.read(reserved * sector, 3) != bytes((media, 0xFF, 0xFF)):
        return None
    number = _serial(raw[39:43]) if raw[38] == 0x29 else ""
    return Signature("vfat", fat.label(part), number, drivers=BOTH)


def _iso(part: Window) -> Signature | None:
    raw = part.read(32768, 2048)
    if raw[1:6] != b"CD001":
        return None
    return Signature("iso9660", _text(raw[40:72]).rstrip(), drivers=APPLIANCE)


def _closed(part: Window) -> Signature | None:
    name = known.closed(part)
    return Signature(name) if name else None


def _mounted(part: Window) -> Signature | None:
    found = known.mounted(part)
    return Signature(*found, drivers=APPLIANCE) if found else None


def _swap(part: Window) -> Signature | None:
    raw = part.read(0, 65536)
    if not known.is_swap(raw):
        return None
    return Signature("swap", _text(raw[0x41C:0x42C]), str(uuid.UUID(bytes=raw[0x40C:0x41C])))


def _at_end(part: Window) -> Signature | None:
    name = known.at_end(part)
    return Signature(name) if name else None


def _blank(part: Window) -> Signature | None:
    return None if part.read(0, MIB).strip(b"\0") else Signature("empty")


PROBES: tuple[Callable[[Window], Signature | None], ...] = (
    _luks,
    _closed,
    _lvm,
    _md,
    _xfs,
    _btrfs,
    _ext,
    _ntfs,
    _exfat,
    _fat,
    _mounted,
    _iso,
    _swap,
    _old_fat,
    _at_end,
)
BY_COPIES: tuple[Callable[[Window], Signature | None], ...] = (
    _xfs_by_heads,
    _luks_by_copy,
    _f2fs_by_copy,  # in a place that an ext made later writes over
    _ext_by_copy,
    _by_spare,
    _by_far_copy,
)


def boots(part: Window) -> bool:
    """Whether the disk begins with a file system's boot sector, not a table; its label may be lost. Raises Failed."""
    part.read(0, 512)
    try:
        return any(probe(part) for probe in (_ntfs, _exfat, _fat))
    except UNREAD:
        return True


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")


def _serial(raw: bytes) -> str:
    number = struct.unpack("<I", raw)[0]
    return f"{number >> 16:04X}-{number & 0xFFFF:04X}"
