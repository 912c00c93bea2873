"""Aliases of /etc/modprobe.conf and modprobe.d: which driver the network card and the disk controller get."""

from __future__ import annotations

import re

from engines.virtio.lines.disks import Disks, split

ALIAS = re.compile(r"(\s*alias[ \t]+)(eth\d+|scsi_hostadapter\d*)([ \t]+)([\w-]+)")
NEEDED = r"virtio(?:[_-](?:blk|pci|net|ring|scsi))?"
BARRED = re.compile(rf"\s*(?:blacklist\s+{NEEDED}|install\s+{NEEDED}\s+(?:/\w+){{0,2}}/(?:true|false))\s*(?:#.*)?$")
XEN = ("xenblk", "xen_blkfront", "xen-blkfront", "xen-vbd")


def network(text: str, _disks: Disks) -> str:
    """Every `alias ethN` but one that is off becomes virtio_net; a driver of virtio's that is barred is no longer."""
    lines = (f"# {line}" if BARRED.match(line) else line for line in split(text))
    return "".join(ALIAS.sub(_card, line, count=1) if ALIAS.match(line) else line for line in lines)


def _card(found: re.Match[str]) -> str:
    head, name, gap, driver = found.groups()
    return f"{head}{name}{gap}{'virtio_net' if name.startswith('eth') and driver != 'off' else driver}"


def controllers(text: str) -> dict[str, str]:
    """Driver by scsi_hostadapter alias."""
    found = (ALIAS.match(line) for line in split(text))
    return {each.group(2): each.group(4) for each in found if each and each.group(2).startswith("scsi")}


def disk(text: str, _disks: Disks) -> str:
    """virtio_blk as a scsi_hostadapter: in the place of Xen's driver, else beside what is there as the next one."""
    if "virtio_blk" in controllers(text).values():
        return text
    lines = split(text)
    for at, line in enumerate(lines):
        found = ALIAS.match(line)
        if found and found.group(2).startswith("scsi") and found.group(4) in XEN:
            lines[at] = line[: found.start(4)] + "virtio_blk" + line[found.end(4) :]
            return "".join(lines)
    taken = controllers(text)
    name = "scsi_hostadapter"
    number = 0
    while name in taken:
        number += 1
        name = f"scsi_hostadapter{number}"
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, f"alias {name} virtio_blk\n"])


def conf(text: str, disks: Disks) -> str:
    """Both, for /etc/modprobe.conf."""
    return disk(network(text, disks), disks)


def names_xen(text: str) -> bool:
    """Whether an alias asks for Xen's disk driver, which no kernel but Xen's has."""
    return any(driver in XEN for driver in controllers(text).values())
