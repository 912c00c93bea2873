"""What an NTFS file stands for, where it is not itself: links of Windows and of Unix, bytes that are kept elsewhere.

Source: Microsoft [MS-FSCC], section 2.1.2 (reparse tags).
"""

from __future__ import annotations

import re
import struct

LONGEST = 16384 + 8  # bytes of a reparse point
MOUNT_POINT, SYMLINK, UNIX_LINK = 0xA0000003, 0xA000000C, 0xA000001D
ELSEWHERE = {
    0x80000017: "it is compressed by Windows itself (CompactOS), which the quick driver cannot undo",
    0x80000013: "its bytes lie in the store of Windows' deduplication",
}
CLOUD, CLOUD_MASK = 0x9000001A, 0xFFFF0FFF
INTERIX = b"IntxLNK\x01"


def target(raw: bytes) -> bytes:
    """A link's target with slashes, a drive's root as /; empty where it is no link."""
    tag = struct.unpack_from("<I", raw)[0] if len(raw) >= 8 else 0
    if tag == UNIX_LINK:
        return raw[12:]
    if tag not in (SYMLINK, MOUNT_POINT) or len(raw) < 20:
        return b""
    start, length = struct.unpack_from("<HH", raw, 8)
    buffer = raw[20 if tag == SYMLINK else 16 :]
    name = buffer[start : start + length].decode("utf-16-le", "replace")
    name = re.sub(r"^(\\\?\?\\|\\\\\?\\)", "", name)
    name = re.sub(r"^[A-Za-z]:\\", r"\\", name)
    return name.replace("\\", "/").encode("utf-8", "replace")


def interix(raw: bytes) -> bytes:
    """A link's target in a system file that Interix or ntfs-3g made; empty for any other."""
    return raw[8:].decode("utf-16-le", "replace").encode("utf-8", "replace") if raw[:8] == INTERIX else b""


def elsewhere(raw: bytes) -> str:
    """Why a file's bytes are not in it; empty where they are."""
    tag = struct.unpack_from("<I", raw)[0] if len(raw) >= 8 else 0
    if tag & CLOUD_MASK == CLOUD:
        return "it may lie in the cloud and not on this disk"
    return ELSEWHERE.get(tag, "")
