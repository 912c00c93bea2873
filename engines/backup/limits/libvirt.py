"""The read limit that libvirt has for a VM's disk, asked of its own command.

Source: virsh(1).
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from engines.host.libvirt import parsed
from engines.host.virsh import connect

ANSWERS_WITHIN = 5.0  # s for all of it; a hanging libvirtd must not keep a backup from starting
DOMAIN = re.compile(r"<domain[ >].*?</domain>", re.DOTALL)


def limit(where: Path) -> tuple[float, str] | None:
    """(bytes/s, words) for the disk at `where`; None where libvirt knows none, or is not there."""
    if shutil.which("virsh") is None:
        return None
    end = time.monotonic() + ANSWERS_WITHIN
    names = [name.strip() for name in _virsh(end, "list --all --name").splitlines() if name.strip()]
    described = _virsh(end, "; ".join(f"dumpxml --domain {shlex.quote(name)}" for name in names))
    for domain in map(parsed, DOMAIN.findall(described)):
        for disk in domain.disks if domain else ():
            if domain and disk.limit and disk.at(where):
                return float(disk.limit), f"libvirt's limit for VM {domain.name}"
    return None


def _virsh(end: float, commands: str) -> str:
    """What one virsh prints for all of the commands; one that fails, as for a VM that has just gone, ends no other."""
    left = end - time.monotonic()
    if left <= 0 or not commands:
        return ""
    try:
        done = subprocess.run(
            ["virsh", "--readonly", "--quiet", *connect(), commands],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=left,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
