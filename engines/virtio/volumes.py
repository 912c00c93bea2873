"""Whether the guest's own LVM will find its volume group on a virtio disk.

LVM takes a disk for a physical volume only if it knows its driver: virtblk since 2.02.40 (lib/filters/filter.c), or by
`types = [ "virtblk", 16 ]` in lvm.conf(5).
"""

from __future__ import annotations

import re

from engines.guest.appliance import GuestError
from engines.guest.system import System
from engines.job.errors import Refused

LARGEST = 64 << 20  # bytes of a program of LVM; static ones have 2 MiB
PROGRAMS = ("/sbin/lvm.static", "/sbin/lvm", "/usr/sbin/lvm")
DRIVER = "virtblk"
TYPES = re.compile(rf'^[ \t]*types[ \t]*=[ \t]*\[[^\]#]*"{DRIVER}"', re.MULTILINE)


def refuse_blind(system: System) -> None:
    """Refuse a root on LVM whose tools would not look at a virtio disk."""
    if system.root not in system.volumes or TYPES.search((system.read("/etc/lvm/lvm.conf") or b"").decode("latin-1")):
        return
    blind = [path for path in PROGRAMS if _knows(system, path) is False]
    if blind:
        raise Refused(
            f"the root is on LVM, and the guest's {blind[0]} does not know virtio disks (lvm2 before 2.02.40-6.el5)",
            f'update lvm2 in the guest, or add types = [ "{DRIVER}", 16 ] to devices in its /etc/lvm/lvm.conf',
        )


def _knows(system: System, program: str) -> bool | None:
    """None where there is no such program."""
    try:
        return DRIVER.encode() in system.content(program, LARGEST)
    except GuestError:
        return None
