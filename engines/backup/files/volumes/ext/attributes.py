"""Extended attributes of ext2/3/4: in the inode, in a block of their own, or each in an inode of its own.

Source: Linux, Documentation/filesystems/ext4/attributes.rst; fs/ext4/acl.h for how ACLs are packed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from engines.backup.files.model import BrowseError
from engines.backup.files.volumes.ext.inode import Inode

MAGIC = 0xEA020000
ENTRY = struct.Struct("<BBHIII")
PREFIXES = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
    7: b"system.",
    8: b"system.richacl",
}
NAMED = (0x02, 0x08)  # ACL entries that carry a uid or gid
LONGEST = 65536  # bytes of one value, as Linux allows
INLINE_DATA = b"system.data"

Fetch = Callable[[int, int], bytes]


def in_inode(inode: Inode, fetch: Fetch) -> Iterator[tuple[bytes, bytes]]:
    """(name, value) of what lies behind the inode's own fields. `fetch` gives an inode's first bytes."""
    if len(inode.raw) <= 132:
        return
    start = 128 + struct.unpack_from("<H", inode.raw, 128)[0]
    if start + 4 > len(inode.raw) or struct.unpack_from("<I", inode.raw, start)[0] != MAGIC:
        return
    area = inode.raw[start + 4 :]
    yield from _entries(area, 0, inode.number, fetch)


def in_block(raw: bytes, number: int, fetch: Fetch) -> Iterator[tuple[bytes, bytes]]:
    """(name, value) of an attribute block."""
    if struct.unpack_from("<I", raw)[0] != MAGIC:
        raise BrowseError(f"the attribute block of inode {number} is damaged")
    yield from _entries(raw, 32, number, fetch)


def _entries(area: bytes, at: int, number: int, fetch: Fetch) -> Iterator[tuple[bytes, bytes]]:
    while at + 4 <= len(area) and area[at : at + 4] != b"\0\0\0\0":
        if at + ENTRY.size > len(area):
            raise BrowseError(f"the attributes of inode {number} are damaged")
        length, index, offset, inum, size, _ = ENTRY.unpack_from(area, at)
        suffix = area[at + ENTRY.size : at + ENTRY.size + length]
        if size > LONGEST or len(suffix) != length or (not inum and offset + size > len(area)):
            raise BrowseError(f"the attributes of inode {number} are damaged")
        value = fetch(inum, size) if inum else area[offset : offset + size]
        if index in PREFIXES:
            yield PREFIXES[index] + suffix, _acl(value, number) if index in (2, 3) else value
        at += ENTRY.size + (length + 3) // 4 * 4


def _acl(packed: bytes, number: int) -> bytes:
    """An ACL as getxattr gives it (version 2, every entry with an id) from how ext keeps it (version 1)."""
    if len(packed) < 4 or struct.unpack_from("<I", packed)[0] != 1:
        raise BrowseError(f"an ACL of inode {number} is damaged")
    found, at = [struct.pack("<I", 2)], 4
    while at + 4 <= len(packed):
        tag, allowed = struct.unpack_from("<HH", packed, at)
        at += 4
        who = 0xFFFFFFFF
        if tag in NAMED:
            if at + 4 > len(packed):
                raise BrowseError(f"an ACL of inode {number} is damaged")
            who = struct.unpack_from("<I", packed, at)[0]
            at += 4
        found.append(struct.pack("<HHI", tag, allowed, who))
    return b"".join(found)
