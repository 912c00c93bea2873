"""Other hypervisors' images are named, never taken as the bytes of a disk: such a point would show no files.

Sources: QEMU's block/ (qed.c, parallels.c, bochs.c, vmdk.c, dmg.c) for the first or last bytes of each.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from engines.guest.containers import DRIVER, SPARSE, Ends
from engines.host.files import open_file
from engines.job.errors import Refused

FIRST = {
    b"QED\0": "qed", b"WithoutFreeSpace": "parallels", b"WithouFreSpacExt": "parallels",
    b"Bochs Virtual HD Image": "bochs", b"COWD": "vmdk",
}  # fmt: skip
LAST = {b"koly": "dmg"}
VHDX = {65536: b"head", 196608: b"regi"}  # by place, what a VHDX has behind its first bytes
FOOTER = 1024  # bytes before the end of a streamOptimized VMDK, as VMware writes it
FOOTERS = tuple(SPARSE + bytes((version, 0, 0, 0)) for version in (1, 2, 3))
DESCRIPTION = re.compile(rb"(?:[ \t]*(?:#[^\n]*|\r)?\n)*[ \t]*version[ \t]*=[ \t]*[123]\s")  # as QEMU knows one
HEAD, TAIL = 4096, 512


def _headless(stream: BinaryIO, head: bytes, size: int) -> str:
    """What shows elsewhere than in its first bytes, which are lost, or begin with an author's own remark."""
    if DESCRIPTION.match(head) and b"createType" in head:
        return "vmdk"
    if all(os.pread(stream.fileno(), len(raw), place) == raw for place, raw in VHDX.items()):
        return "vhdx"
    return "vmdk" if size > FOOTER and os.pread(stream.fileno(), 8, size - FOOTER) in FOOTERS else ""


def refuse(path: Path) -> None:
    """Raise Refused for a file that begins or ends as such an image. Who knows better says --format raw."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return
        with os.fdopen(open_file(path, devices=False), "rb") as stream:
            head = stream.read(HEAD)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL))
            tail = stream.read(TAIL)
            lost = _headless(stream, head, size)
    except OSError:  # whoever opens it next says why
        return
    container = Ends(head, tail).looks
    driver = DRIVER[container] if container else ""
    tables = ((FIRST, head), (LAST, tail))
    others = (known for table, raw in tables for magic, known in table.items() if raw.startswith(magic))
    name: str = container or next(others, "") or lost
    if name:
        raise Refused(
            f"{path} looks like {name}, whose bytes are not those of the disk in it",
            f"convert it: qemu-img convert -f {driver or name} -O qcow2 {path} NEW; if it is a raw disk that only "
            "begins like that, give --format raw",
        )
