"""Which editor a boot loader's menu takes: those without scripts share one set of functions, GRUB 2 has its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engines.virtio.lines import extlinux, grub1, grub2
from engines.virtio.lines.disks import Disks
from engines.virtio.lines.grub1 import Entry

LEGACY, GRUB2, EXTLINUX = 1, 2, 3
NAMES = {LEGACY: "GRUB 0.97", GRUB2: "GRUB 2", EXTLINUX: "SYSLINUX"}


class Plain(Protocol):
    """An editor of a menu whose default is a number or a label."""

    def default(self, text: str) -> int:
        """The default's number."""
        ...

    def with_entry(self, text: str, stock: Entry, initrd: str, disks: Disks) -> str:
        """With one entry more."""
        ...

    def with_default(self, text: str, number: int) -> str:
        """With another default."""
        ...

    def number_of(self, text: str, initrd: str) -> int | None:
        """An entry's number by its initrd."""
        ...

    def without_entry(self, text: str, initrd: str) -> str:
        """Without the entry of that initrd."""
        ...

    def renamed(self, text: str, version: str, disks: Disks) -> str:
        """With the new disk in one kernel's entries."""
        ...


def plain(generation: int) -> Plain:
    """Of GRUB 0.97 or SYSLINUX."""
    return extlinux if generation == EXTLINUX else grub1


def adding(generation: int) -> Callable[[str, Entry, str, Disks], str]:
    """What adds an entry to a menu."""
    return grub2.with_entry if generation == GRUB2 else plain(generation).with_entry


def speaking(generation: int) -> Callable[[str, str], str]:
    """What has a menu's kernels speak on the serial line."""
    return {LEGACY: grub1.for_serial, GRUB2: grub2.for_serial, EXTLINUX: extlinux.for_serial}[generation]
