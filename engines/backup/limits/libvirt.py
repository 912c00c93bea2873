"""The read limit that libvirt has for a VM's disk, asked of its own command.

Source: libvirt domain XML, <iotune> and <blkiotune>; virsh(1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

ANSWERS_WITHIN = 5.0  # s for all of it; a hanging libvirtd must not keep a backup from starting
TUNED = ("total_bytes_sec", "read_bytes_sec")


def limit(where: Path) -> tuple[float, str] | None:
    """(bytes/s, words) for the disk at `where`; None where libvirt knows none, or is not there."""
    if shutil.which("virsh") is None:
        return None
    end = time.monotonic() + ANSWERS_WITHIN
    for name in _virsh(end, "list", "--all", "--name").splitlines():
        if not name.strip():
            continue
        for disk, rate in _disks(_virsh(end, "dumpxml", "--domain", name.strip())):
            if rate and _same(disk, where):
                return float(rate), f"libvirt's limit for VM {name.strip()}"
    return None


def _virsh(end: float, *arguments: str) -> str:
    left = end - time.monotonic()
    if left <= 0:
        return ""
    try:
        done = subprocess.run(
            ["virsh", "--readonly", "--quiet", *_connect(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=left,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _connect() -> list[str]:
    """Backups run as root, for which libvirt's default is the system's VMs; what the environment says comes first."""
    return [] if os.environ.get("LIBVIRT_DEFAULT_URI") else ["--connect", "qemu:///system"]


def _disks(text: str) -> Iterator[tuple[Path, int]]:
    """Each disk's source and the least of its limits, 0 for none."""
    try:
        domain = ElementTree.fromstring(text)  # noqa: S314  libvirt wrote it, not a guest
    except ElementTree.ParseError:
        return
    tuned = {
        device.findtext("path", ""): _least(device, ("read_bytes_sec",))
        for device in domain.iterfind("./blkiotune/device")
    }
    for disk in domain.iterfind("./devices/disk"):
        source = disk.find("source")
        path = (source.get("dev") or source.get("file") or "") if source is not None else ""
        iotune = disk.find("iotune")
        rates = [_least(iotune, TUNED) if iotune is not None else 0, tuned.get(path, 0)]
        if path:
            yield Path(path), min(filter(None, rates), default=0)


def _least(element: ElementTree.Element, names: tuple[str, ...]) -> int:
    texts = [element.findtext(name, "").strip() for name in names]
    return min((int(text) for text in texts if text.isdigit() and int(text)), default=0)


def _same(one: Path, other: Path) -> bool:
    try:
        found, wanted = one.stat(), other.stat()
    except OSError:
        return False
    if found.st_rdev:
        return found.st_rdev == wanted.st_rdev
    return os.path.samestat(found, wanted)
