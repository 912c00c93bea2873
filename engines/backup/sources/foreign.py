"""Other hypervisors' images are named, never taken as the bytes of a disk: such a point would show no files.

Sources: QEMU's block/ (qed.c, parallels.c, bochs.c, vmdk.c, dmg.c) for the first or last bytes of each.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from engines.guest.containers import DRIVER, Ends
from engines.host.files import open_file
from engines.job.errors import Refused

FIRST = {
    b"QED\0": "qed", b"WithoutFreeSpace": "parallels", b"WithouFreSpacExt": "parallels",
    b"Bochs Virtual HD Image": "bochs", b"COWD": "vmdk",
}  # fmt: skip
LAST = {b"koly": "dmg"}
HEAD, TAIL = 4096, 512


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
    except OSError:  # whoever opens it next says why
        return
    container = Ends(head, tail).looks
    driver = DRIVER[container] if container else ""
    tables = ((FIRST, head), (LAST, tail))
    others = (known for table, raw in tables for magic, known in table.items() if raw.startswith(magic))
    name: str = container or next(others, "")
    if name:
        raise Refused(
            f"{path} looks like {name}, whose bytes are not those of the disk in it",
            f"convert it: qemu-img convert -f {driver or name} -O qcow2 {path} NEW; if it is a raw disk that only "
            "begins like that, give --format raw",
        )
