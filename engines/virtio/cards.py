"""The guest's network cards, by its configuration: whether one comes up at boot, its address, its model."""

from __future__ import annotations

import re

from engines.guest.system import System

ADDRESS = re.compile(r"((?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})")
IFCFG = re.compile(r"/etc/sysconfig/(?:network-scripts|network)/ifcfg-(?!lo\b)[^.~]+")
OTHERS = re.compile(
    r"/etc/(?:netplan/[^/]+\.ya?ml|systemd/network/[^/]+\.network|NetworkManager/system-connections/.+)"
)
MODELS = {
    "8139cp": "rtl8139", "8139too": "rtl8139", "e1000": "e1000", "e1000e": "e1000e", "ne2k-pci": "ne2k_pci",
    "pcnet32": "pcnet", "vmxnet3": "vmxnet3", "tulip": "tulip",
}  # fmt: skip


def configured(system: System) -> bool:
    """Whether a card other than the loopback is brought up at boot."""
    for path, content in system.etc.items():
        text = content.decode("latin-1")
        if IFCFG.fullmatch(path) and re.search(
            r"^(?:ONBOOT|STARTMODE)=[\"']?(?:yes|auto|onboot|hotplug)", text, re.M | re.I
        ):
            return True
        if OTHERS.fullmatch(path):
            return True
        if path.startswith("/etc/network/interfaces") and re.search(
            r"^\s*(?:auto|allow-hotplug)\s+(?!lo\s*$)\S", text, re.M
        ):
            return True
    return False


def address(system: System) -> str:
    """The hardware address that the configuration binds a card to; empty where it binds none."""
    for path in sorted(system.etc):
        text = system.etc[path].decode("latin-1")
        bound = (IFCFG.fullmatch(path) and "HWADDR" in text) or re.fullmatch(
            r"/etc/udev/rules\.d/[^/]*persistent-net\.rules", path
        )
        if not bound:
            continue
        for line in text.splitlines():
            wanted = line.startswith("HWADDR") or ("ATTR{address}" in line and not line.lstrip().startswith("#"))
            if wanted and (found := ADDRESS.search(line)):
                return found.group(1).lower()
    return ""


def model(system: System) -> str:
    """QEMU's name for the card whose driver modprobe.conf aliases to eth0; empty where it tells none."""
    text = (system.read("/etc/modprobe.conf") or b"").decode("latin-1")
    found = re.search(r"^\s*alias\s+eth0\s+(\S+)", text, re.MULTILINE)
    return MODELS.get(found.group(1), "") if found else ""
