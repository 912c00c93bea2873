"""The read limit that libvirt has for a VM's disk, asked of its own command."""

from __future__ import annotations

from pathlib import Path

from engines.host.libvirt import parsed
from engines.host.virsh import VirshFailed, descriptions

ANSWERS_WITHIN = 30.0  # s a question; a hanging libvirtd must not keep a backup from starting


def limit(where: Path) -> tuple[float, str] | None:
    """(bytes/s, words) for the disk at `where`; None where libvirt knows none, or is not there."""
    try:
        texts = descriptions(within=ANSWERS_WITHIN).texts
    except VirshFailed:
        return None
    for domain in map(parsed, texts):
        for disk in domain.disks if domain else ():
            if domain and disk.limit and disk.at(where):
                return float(disk.limit), f"libvirt's limit for VM {domain.name}"
    return None
