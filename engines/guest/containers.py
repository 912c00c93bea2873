"""Other hypervisors' disk images: known by their name and first bytes, refused where they open further files.

Sources: VMware, "Virtual Disk Format 5.0"; Microsoft, "Virtual Hard Disk Image Format" and "VHDX Format"; QEMU,
qemu-img(1). Such an image is only read: what becomes of it is written into a new one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.host import libvirt
from engines.host.files import open_file
from engines.job.errors import Refused

Container = Literal["vmdk", "vdi", "vhd", "vhdx"]
DRIVER: dict[Container, str] = {"vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}  # by QEMU's names
ENDINGS: dict[str, Container] = {".vmdk": "vmdk", ".vdi": "vdi", ".vhd": "vhd", ".vpc": "vhd", ".vhdx": "vhdx"}
SPARSE, TEXT, FOOTER = b"KDMV", b"# Disk DescriptorFile", b"conectix"
VDI = 64, b"\x7f\x10\xda\xbe"
SECTOR = 512
LONGEST = 64 << 10  # bytes of a VMDK's description
EXTENT = re.compile(rb'^[ \t]*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\w+)(?:\s+"([^"]*)")?', re.MULTILINE)
PARENT = re.compile(rb"^[ \t]*parentCID\s*=\s*(?!ffffffff)(\w+)", re.MULTILINE | re.IGNORECASE)
PARENT_NAME = b"parentFileNameHint"  # QEMU opens that file whatever parentCID is: block/vmdk.c, vmdk_parent_open
DESCRIPTION = 20 * SECTOR  # bytes of what it takes for one, from the second sector on
PLAIN = (b"SPARSE", b"FLAT", b"VMFS", b"VMFSSPARSE", b"ZERO")


@dataclass(frozen=True)
class Ends:
    """The first 4 KiB and the last sector of a file."""

    head: bytes
    tail: bytes

    @property
    def looks(self) -> Container | None:
        """What they look like, which the guest in a raw disk could have written, too."""
        at, magic = VDI
        if self.head.startswith((SPARSE, TEXT)):
            return "vmdk"
        if self.head[at : at + len(magic)] == magic:
            return "vdi"
        if self.head.startswith(b"vhdxfile"):
            return "vhdx"
        return "vhd" if self.head.startswith(FOOTER) or self.tail.startswith(FOOTER) else None


def named(path: Path, ends: Ends, wanted: str) -> Container | None:
    """The container that `path` is by `wanted`, or by a libvirt domain or its own name; None for none of them.

    Raises Refused where it does not look like what it is called.
    """
    drivers = {driver: name for name, driver in DRIVER.items()}
    called = drivers.get(libvirt.format_of(path)) or ENDINGS.get(path.suffix.lower())
    asked = next((name for name in DRIVER if name == wanted), None)
    claimed = asked or (called if not wanted else None)
    if claimed is None:
        return None
    if ends.looks != claimed:
        if not asked:
            return None  # a disk that only bears the name
        seen = f"like {ends.looks}" if ends.looks else "like no container"
        raise Refused(f"{path} does not begin like {claimed}, but {seen}", "give its real --format")
    if claimed == "vmdk":
        _refuse_references(path, ends.head)
    return claimed


def _refuse_references(path: Path, head: bytes) -> None:
    """A VMDK may name any file of this host as its content or its parent."""
    text = head if head.startswith(TEXT) else _embedded(path, head)
    with os.fdopen(open_file(path, devices=True), "rb") as stream:
        text = stream.read(LONGEST) if head.startswith(TEXT) else text
    if found := PARENT.search(text):
        raise Refused(
            f"{path} is a snapshot on top of another disk (parentCID {found.group(1).decode('latin-1')})",
            "consolidate the snapshots in VMware first, then name the whole disk",
        )
    if PARENT_NAME in text:
        raise Refused(
            f"{path} names a parent file without being its snapshot, as one made to do harm",
            "convert it in VMware, or leave it alone",
        )
    for kind, name in EXTENT.findall(text):
        real = (path.parent / name.decode("utf-8", "surrogateescape")).resolve() if name else path
        if kind.upper() not in PLAIN or b"/" in name or b"\\" in name or real.parent != path.parent.resolve():
            raise Refused(
                f"{path} has a part that is no file beside it: {kind.decode('latin-1')} {name.decode('latin-1')}",
                "bring its parts into the same folder under the names that it gives them",
            )


def _embedded(path: Path, head: bytes) -> bytes:
    """The description that its header points to, and what QEMU takes for one wherever that points to."""
    at, size = (int.from_bytes(head[start : start + 8], "little") * SECTOR for start in (28, 36))
    with os.fdopen(open_file(path, devices=True), "rb") as stream:
        fixed = os.pread(stream.fileno(), DESCRIPTION, SECTOR)
        pointed = os.pread(stream.fileno(), min(size, LONGEST), min(at, 1 << 62))
    return fixed.rstrip(b"\0") + b"\n" + pointed.rstrip(b"\0")
