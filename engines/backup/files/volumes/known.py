"""Formats that are told by a few bytes at a fixed place: those that only the appliance opens, and those nothing does.

Sources: the on-disk format documents of each; libblkid and file(1) name them by the same bytes.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from engines.backup.files.volumes.window import Window

MIB = 1024 * 1024
SECTOR = 2048  # bytes, of a volume recognition sequence
SECOND_F2FS = 4096  # bytes behind the first
PRIVATE = 6 * 512  # byte of a dynamic disk's first header


@dataclass(frozen=True)
class Magic:
    """`raw` at byte `at` tells `format`. label, uuid: (byte, length) of each; wide: the label is UTF-16."""

    format: str
    at: int
    raw: bytes
    label: tuple[int, int] = (0, 0)
    uuid: int = 0
    wide: bool = False


# What Linux mounts in the appliance.
MOUNTED = (
    Magic("f2fs", 0x400, b"\x10\x20\xf5\xf2", (0x47C, 1024), 0x46C, wide=True),
    Magic("jfs", 0x8000, b"JFS1", (0x8098, 16), 0x8088),
    *(Magic("reiserfs", at + 52, raw, (at + 100, 16), at + 84) for at in (0x10000, 0x2000)
      for raw in (b"ReIsErFs", b"ReIsEr2Fs", b"ReIsEr3Fs")),
    Magic("nilfs2", 0x406, b"\x34\x34", (0x4A8, 80), 0x498),
    Magic("squashfs", 0, b"hsqs"),
    Magic("erofs", 0x400, b"\xe2\xe1\xf5\xe0", (0x440, 16), 0x430),
    Magic("cramfs", 0, b"\x45\x3d\xcd\x28", (48, 16)),
    Magic("romfs", 0, b"-rom1fs-", (16, 16)),
    Magic("hfsplus", 0x400, b"H+"),
    Magic("hfsplus", 0x400, b"HX"),
    Magic("hfs", 0x400, b"BD"),
    Magic("gfs2", 0x10000, b"\x01\x16\x19\x70", uuid=0x10098),
    *(Magic("ocfs2", at, b"OCFSV2") for at in (0x400, 0x800, 0x1000, 0x2000)),
    *(Magic("ufs", at + 1372, raw) for at in (8192, 65536, 262144)
      for raw in (b"\x54\x19\x01\x00", b"\x19\x54\x01\x19"[::-1])),
)  # fmt: skip
# What nothing here opens, and why its files are out of reach.
CLOSED = {
    "luks": "encrypted by the guest: restore the disk and open it there with its own key",
    "bitlocker": "encrypted by BitLocker: restore the disk, and unlock it with its recovery key",
    "zfs": "a member of a ZFS pool: restore the disk, and import the pool (zpool import -o readonly=on)",
    "apfs": "Apple's APFS, which Linux does not read: restore the disk, and attach it to a Mac",
    "vmfs": "VMware's VMFS, which Linux does not read: restore the disk, and attach it to an ESXi host or vmfs6-tools",
    "vdo": "a VDO volume, whose blocks are compressed: restore the disk, and start it with vdo or lvm there",
    "refs": "Windows ReFS, which Linux does not read: restore the disk, and attach it to Windows",
    "reiser4": "Reiser4, which no kernel of Debian reads: restore the disk, and attach it to one that does",
    "bcachefs": "bcachefs, which this kernel does not read: restore the disk, and attach it to one that does",
    "bcache": "a bcache device: restore the disk with its cache, and register it there",
    "stratis": "a Stratis pool: restore the disk, and start it with stratis there",
    "bluestore": "a Ceph OSD: restore the disk, and start the OSD there",
    "imsm": "a member of a firmware RAID (Intel): restore all of its disks, and assemble it there",
    "jbd": "the journal of an ext file system on another disk",
    "drbd": "a DRBD device: restore the disk, and bring its resource up there",
    "lvm1": "LVM1, which no kernel since 2.6 starts: restore the disk, and convert it there (vgconvert -M2)",
    "ddf": "a member of a hardware RAID (DDF): restore all of its disks, and assemble it there",
    "asm": "an Oracle ASM disk: restore it, and mount its disk group there",
    "integrity": "a dm-integrity device: restore the disk, and open it with integritysetup there",
    "verity": "hashes of dm-verity, which hold no files",
    "cow": "the copies of a device mapper's snapshot, which hold no files by themselves",
    "vxfs": "Veritas VxFS, which Linux does not read: restore the disk, and attach it to its own system",
    "befs": "BeFS, which the appliance does not read: restore the disk, and attach it to its own system",
    "hpfs": "HPFS of OS/2, which the appliance does not read: restore the disk, and attach it to its own system",
    "ubi": "UBI, of raw flash: restore the disk, and attach it with nandsim and ubi there",
    "ldm": "a Windows dynamic disk: restore it, and attach it to Windows (or ldmtool)",
    "spaces": "a member of a Windows storage pool (Storage Spaces): restore them all, and attach them to Windows",
    "corestorage": "Apple's Core Storage, as FileVault 2 has it: restore the disk, and attach it to a Mac",
    "nss": "Novell's NSS, which Linux does not read: restore the disk, and attach it to its own system",
    "ubifs": "UBIFS, of raw flash: restore the disk, and attach it with nandsim and ubi there",
    "zonefs": "zonefs, the zones of a disk as files, which hold no names",
}
CLOSED_BY = (
    Magic("bitlocker", 3, b"-FVE-FS-"),
    Magic(
        "bitlocker", 424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
    ),  # on a stick, within a FAT's boot sector
    Magic("lvm1", 0, b"HM\x01\0"),
    Magic("lvm1", 0, b"HM\x02\0"),
    Magic("asm", 32, b"ORCLDISK"),
    Magic("integrity", 0, b"integrt\0"),
    Magic("verity", 0, b"verity\0\0"),
    Magic("cow", 0, b"SnAp\x01\0\0\0"),
    Magic("vxfs", 1024, b"\xf5\xfc\x01\xa5"),
    Magic("vxfs", 8192, b"\xa5\x01\xfc\xf5"),
    Magic("befs", 512 + 32, b"1SFB"),
    Magic("befs", 512 + 32, b"BFS1"),
    Magic("hpfs", 8192, b"\x49\xe8\x95\xf9\xc5\xe9\x53\xfa"),
    Magic("ubi", 0, b"UBI#\x01"),
    Magic("apfs", 32, b"NXSB"),
    Magic("vmfs", MIB, b"\x0d\xd0\x01\xc0"),
    Magic("vmfs", 2 * MIB, b"\x5e\xf1\xab\x2f"),
    Magic("vmfs", MIB, b"\x5e\xf1\xab\x2f"),
    Magic("vdo", 0, b"dmvdo001"),
    Magic("refs", 3, b"ReFS\0\0\0\0"),
    Magic("reiser4", 0x10000, b"ReIsEr4"),
    Magic("bcachefs", 4096 + 24, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),
    Magic("bcache", 4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    Magic("stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    Magic("bluestore", 0, b"bluestore block device"),
    Magic("spaces", 0, b"SPACEDB "),
    Magic("spaces", 4096, b"SPACEDB "),
    Magic("nss", 4096, b"SPB5"),
    Magic("ubifs", 0, b"\x31\x18\x10\x06"),
    Magic("zonefs", 0, b"SFOZ"),
)
# By the kind that a partition table gives: nothing of their own is at a fixed place in them.
BY_TYPE = {
    "42": "ldm",
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": "ldm",
    "af9b60a0-1431-4f62-bc68-3311714a69ad": "ldm",
    "e75caf8f-f680-4cee-afa3-b001e56efc2d": "spaces",
    "53746f72-6167-11aa-aa11-00306543ecac": "corestorage",
}
UBER = (b"\x0c\xb1\xba\0\0\0\0\0", b"\0\0\0\0\0\xba\xb1\x0c")  # a ZFS uberblock, both byte orders
SWAPS = (b"SWAPSPACE2", b"SWAP-SPACE", b"LINHIB0001")
SUSPENDED = (
    b"S1SUSPEND",
    b"S2SUSPEND",
    b"ULSUSPEND",
    b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c",
)  # swap with a guest's memory


def mounted(part: Window) -> tuple[str, str, str] | None:
    """(format, label, uuid) of what the appliance opens."""
    found = next((each for each in MOUNTED if part.read(each.at, len(each.raw)) == each.raw), None)
    if found is None:
        name = _minix(part) or _udf(part)
        return (name, "", "") if name else None
    at, length = found.label
    raw = part.read(at, length) if length else b""
    label = (
        raw.decode("utf-16-le", "replace").split("\0")[0]
        if found.wide
        else raw.split(b"\0")[0].decode("utf-8", "replace")
    )
    number = part.read(found.uuid, 16) if found.uuid else b""
    return found.format, label, str(uuid.UUID(bytes=number)) if len(number) == 16 else ""


def second_f2fs(part: Window) -> tuple[str, str, str] | None:
    """(format, label, uuid) by the second superblock of an f2fs."""
    first = MOUNTED[0]
    if part.size <= SECOND_F2FS or part.read(SECOND_F2FS + first.at, len(first.raw)) != first.raw:
        return None
    return mounted(Window(part, SECOND_F2FS, part.size - SECOND_F2FS))


def closed(part: Window) -> str:
    """The name of a format that nothing here opens; empty where it is none of these."""
    found = next((each for each in CLOSED_BY if part.read(each.at, len(each.raw)) == each.raw), None)
    if found:
        return found.format
    if part.size > 1024 and part.read(part.size - 1024, 24) == b"Intel Raid ISM Cfg Sig. ":
        return "imsm"
    if part.size > 512 and part.read(part.size - 512, 4) in (b"\xde\x11\xde\x11", b"\x11\xde\x11\xde"):
        return "ddf"
    head = part.read(0, 96)
    if head[8:12] == b"\x01\0\x10\0" and head[88:90] == b"CS":
        return "corestorage"
    return "zfs" if any(_is_pool(part, label) for label in _labels(part.size)) else ""


def at_end(part: Window) -> str:
    """The name of what keeps records beside a content that shows itself; asked for last."""
    if part.read(PRIVATE, 8) == b"PRIVHEAD":
        return "ldm"
    raw = part.read(part.size - 4096, 64) if part.size > 4096 else b""
    return "drbd" if raw[60:63] == b"\x83\x74\x02" and raw[63:64] in (b"\x6b", b"\x6c", b"\x6d") else ""


def _labels(size: int) -> tuple[int, ...]:
    """Where ZFS keeps its four labels."""
    whole = size // 262144 * 262144
    return tuple(at for at in (0, 262144, whole - 524288, whole - 262144) if 0 <= at < size)


def _is_pool(part: Window, label: int) -> bool:
    """Whether an array of uberblocks lies in the label's second half."""
    raw = part.read(label + 131072, 131072)
    return any(raw[at : at + 8] in UBER for at in range(0, len(raw), 1024))


def _minix(part: Window) -> str:
    """Its magic is short: the geometry before it must be one."""
    raw = part.read(1024, 32).ljust(32, b"\0")
    inodes, zones, maps, zone_maps, first, shift, largest, magic = struct.unpack_from("<HHHHHHIH", raw)
    if magic in (0x137F, 0x138F, 0x2468, 0x2478) and inodes and maps and zone_maps and shift <= 4 and largest:
        return "minix" if zones or struct.unpack_from("<I", raw, 20)[0] else ""
    if struct.unpack_from("<H", raw, 24)[0] == 0x4D5A and first and struct.unpack_from("<I", raw)[0]:
        return "minix"
    return ""


def _udf(part: Window) -> str:
    """By the volume recognition sequence, which a UDF bridge shares with ISO 9660."""
    for step in (SECTOR, 4096):
        for number in range(16):
            raw = part.read(32768 + number * step, 6)
            if raw[1:6] in (b"NSR02", b"NSR03"):
                return "udf"
            if raw[1:6] not in (b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"TEA01"):
                break
    return ""


def is_swap(raw: bytes) -> bool:
    """Whether these first 64 KiB are those of swap, of any page size; or of one that holds a guest's memory."""
    ends = (raw[page - 10 : page] for page in (4096, 8192, 16384, 32768, 65536))
    return any(end in SWAPS or end.startswith(SUSPENDED) for end in ends)
