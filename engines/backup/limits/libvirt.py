"""The read limit that libvirt has for a VM's disk, asked of its own command.

Source: virsh(1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from engines.host.libvirt import parsed

ANSWERS_WITHIN = 5.0  # s for all of it; a hanging libvirtd must not keep a backup from starting


def limit(where: Path) -> tuple[float, str] | None:
    """(bytes/s, words) for the disk at `where`; None where libvirt knows none, or is not there."""
    if shutil.which("virsh") is None:
        return None
    end = time.monotonic() + ANSWERS_WITHIN
    for name in _virsh(end, "list", "--all", "--name").splitlines():
        if not name.strip():
            continue
        domain = parsed(_virsh(end, "dumpxml", "--domain", name.strip()))
        for disk in domain.disks if domain else ():
            if disk.limit and disk.at(where):
                return float(disk.limit), f"libvirt's limit for VM {name.strip()}"
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
