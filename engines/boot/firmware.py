"""Which firmware starts a disk, by its first bytes: boot code for a BIOS, an EFI system partition for UEFI.

Sources: UEFI specification 2.10, 5.3 (GPT) and 5.2.2 (an MBR's type EFh); GNU GRUB manual, "BIOS installation".
"""

from __future__ import annotations

import struct
import uuid
from typing import Literal

from engines.boot.media import OVMF

Firmware = Literal["bios", "ovmf"]
SECTOR = 512
HEAD = 34 * SECTOR  # bytes: the MBR, GPT's header and its 128 entries
CODE = 440  # bytes of boot code in the first sector
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
PROTECTIVE = 0xEE


def firmware(head: bytes, wanted: str = "auto") -> Firmware:
    """What starts a disk that begins with `head`, HEAD bytes; `wanted` bios or ovmf overrules it."""
    if wanted in ("bios", "ovmf"):
        return "ovmf" if wanted == "ovmf" else "bios"
    return "ovmf" if needs_uefi(head) and OVMF.exists() else "bios"


def needs_uefi(head: bytes) -> bool:
    """Whether no BIOS can start it: no boot code, or a GPT without the area that GRUB for a BIOS lives in."""
    if not any(head[:CODE]):
        return True
    protective = any(head[446 + 16 * entry + 4] == PROTECTIVE for entry in range(4)) if len(head) >= SECTOR else False
    return protective and BIOS_BOOT not in _types(head)


def _types(head: bytes) -> list[uuid.UUID]:
    """The types of GPT's partitions."""
    header = head[SECTOR : 2 * SECTOR]
    if header[:8] != b"EFI PART":
        return []
    first, count, size = struct.unpack_from("<QII", header, 72)
    found = []
    for entry in range(min(count, 128)):
        raw = head[first * SECTOR + entry * size :][:16]
        if len(raw) == 16 and any(raw):
            found.append(uuid.UUID(bytes_le=raw))
    return found
