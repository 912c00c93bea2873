"""The guest's network cards, by its configuration: which come up at boot, what their names hang on, their addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engines.guest.system import System
from engines.virtio.lines.disks import Disks, comment, split

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


# ── what becomes of their names ─────────────────────────────────────────────────────────────────────

BY_SLOT = re.compile(r"e(?:n[opsx]|np)\w*\d\w*")
NAME = re.compile(
    r"^\s*(?:auto|allow-hotplug)\s+(?P<debian>\S.*)|^\s*interface-name=(?P<manager>\S+)|^DEVICE=[\"']?(?P<redhat>[\w.-]+)"
    r"|^Name=(?P<networkd>[\w.-]+)$|^ {4,8}(?P<netplan>e[\w-]+):\s*$",
    re.MULTILINE,
)
RULES = re.compile(r"/etc/udev/rules\.d/[^/]*(?:persistent-net|net_persistent_names)[^/]*\.rules")
LINK = "/etc/systemd/network/10-crashcart-{}.link"


@dataclass(frozen=True)
class Interface:
    """A configured card: `address` where its name is bound to one, `by_slot` where the name tells its old place."""

    name: str
    address: str = ""

    @property
    def by_slot(self) -> bool:
        """Whether the kernel's place of the card made the name, which another card has not."""
        return bool(BY_SLOT.fullmatch(self.name)) and not self.address

    def becomes(self, alone: bool) -> str:
        """In words, for the review. alone: no other card is named by its place."""
        if self.address:
            return f"{self.name} stays: it is bound to {self.address}, which the virtio card must have too"
        if not self.by_slot:
            return f"{self.name} stays where the cards keep their order"
        kept = LINK.format(self.name)
        return f"{self.name} tells the old card's place; " + (
            f"{kept} gives the virtio card that name" if alone else "name the new cards in the guest by hand"
        )


def interfaces(system: System) -> list[Interface]:
    """Every card that the guest's configuration names."""
    addresses = dict(_bound(system))
    names = sorted({name for name in _named(system) if re.match(r"e(?:th|n)", name)})
    return [Interface(name, addresses.get(name, "")) for name in names]


def told(system: System) -> list[str]:
    """What becomes of each, in words."""
    found = interfaces(system)
    alone = sum(each.by_slot for each in found) == 1
    return [each.becomes(alone) for each in found]


def _named(system: System) -> Iterator[str]:
    for path, content in system.etc.items():
        text = content.decode("latin-1")
        if IFCFG.fullmatch(path):
            yield path.rpartition("ifcfg-")[2]
        if IFCFG.fullmatch(path) or OTHERS.fullmatch(path) or path.startswith("/etc/network/interfaces"):
            for found in NAME.finditer(text):
                yield from next(filter(None, found.groups())).split()


def _bound(system: System) -> Iterator[tuple[str, str]]:
    """(name, address) of every binding."""
    for path, content in system.etc.items():
        text = content.decode("latin-1")
        if RULES.fullmatch(path):
            for line in split(text):
                name, found = re.search(r'NAME="([^"]+)"', line), ADDRESS.search(line)
                if name and found and not comment(line):
                    yield name.group(1), found.group(1).lower()
        elif (IFCFG.fullmatch(path) or OTHERS.fullmatch(path)) and (
            found := re.search(
                rf"^\s*(?:HWADDR=|mac-address=|macaddress:\s*|MACAddress=)[\"']?{ADDRESS.pattern}", text, re.M
            )
        ):
            for name in NAME.finditer(text):
                yield next(filter(None, name.groups())), found.group(1).lower()


def links(system: System) -> Iterator[tuple[str, bytes]]:
    """A file that gives the virtio card the old one's name: where one card is named by its place."""
    slotted = [each for each in interfaces(system) if each.by_slot]
    if len(slotted) == 1 and LINK.format(slotted[0].name) not in system.etc:
        yield LINK.format(slotted[0].name), f"[Match]\nDriver=virtio_net\n\n[Link]\nName={slotted[0].name}\n".encode()


def rules(text: str, _disks: Disks) -> str:
    """udev's rules that bind a name to an address and a driver, bound to the address only."""
    return "".join(
        re.sub(r'DRIVERS=="(?!\?\*")[^"]*"', 'DRIVERS=="?*"', line)
        if not comment(line) and ADDRESS.search(line) and "NAME=" in line
        else line
        for line in split(text)
    )
