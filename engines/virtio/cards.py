"""The guest's network cards, by its configuration: which come up at boot, what their names hang on, their addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engines.guest.system import System
from engines.virtio.lines import netplan
from engines.virtio.lines.disks import Disks, comment, joined

ADDRESS = re.compile(r"((?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})")
IFCFG = re.compile(r"/etc/sysconfig/(?:network-scripts|network)/ifcfg-(?!lo\b)(?:[^.~]+|eth-bus-pci-[\w:.]+)")
OTHERS = re.compile(
    r"/etc/(?:netplan/[^/]+\.ya?ml|systemd/network/[^/]+\.network|NetworkManager/system-connections/.+)"
)
MANAGER = "/etc/NetworkManager/system-connections/"
LINKS = re.compile(r"/etc/systemd/network/[^/]+\.link")
MANAGED = re.compile(  # where each init keeps what it starts
    r"/(?:[\w.-]+\.wants|runlevels/\w+|rc[2-5]\.d)/(?:S\d\d)?(?:(?i:network-?manager)|dhcpcd5?|connman|wicked"
    r"|cloud-init(?:-local)?|netctl(?:-auto|-ifplugd)?|net\.(?!lo\b)\w+)(?:@[^/]*)?(?:\.service)?$"
)
SLACKWARE = re.compile(r"/etc/rc\.d/rc\.inet1\.conf")
UP = (  # what brings a card up at boot, by the file that says so
    (IFCFG, re.compile(r"^(?:ONBOOT|STARTMODE)=[\"']?(?:yes|auto|onboot|hotplug)", re.M | re.I)),
    (OTHERS, re.compile("")),
    (
        re.compile(r"/etc/network/interfaces(?:\.d/.+)?"),
        re.compile(r"^\s*(?:(?:allow-)?auto|allow-hotplug)\s+(?!lo\s*$)\S", re.M),
    ),
    (SLACKWARE, re.compile(r"^(?:IPADDR\[\d\]=\"\d|USE_DHCP\[\d\]=\"yes)", re.M)),
)
IPV4 = r"((?:\d{1,3}\.){3}\d{1,3})(?![\d.])"
GIVEN = (
    (IFCFG, re.compile(rf"^IPADDR\w{{0,8}}=[\"']?{IPV4}", re.M)),
    (re.compile(r"/etc/network/interfaces(?:\.d/.+)?"), re.compile(rf"^[ \t]*address[ \t]+{IPV4}", re.M)),
    (re.compile(r"/etc/NetworkManager/system-connections/.+"), re.compile(rf"^address(?:es)?\d*={IPV4}[/;]", re.M)),
    (re.compile(r"/etc/systemd/network/[^/]+\.network"), re.compile(rf"^Address[ \t]*=[ \t]*{IPV4}/\d", re.M)),
    (re.compile(r"/etc/conf\.d/net"), re.compile(rf"^config_\w{{1,16}}=\(?[ \t]*[\"']{IPV4}", re.M)),
    (re.compile(r"/etc/netctl/[^/]+"), re.compile(rf"^Address=\(?[\"']?{IPV4}/\d", re.M)),
    (SLACKWARE, re.compile(rf"^IPADDR\[\d\]=\"{IPV4}", re.M)),
)
MOST = 16  # addresses
MODELS = {
    "8139cp": "rtl8139", "8139too": "rtl8139", "e1000": "e1000", "e1000e": "e1000e", "ne2k-pci": "ne2k_pci",
    "pcnet32": "pcnet", "vmxnet3": "vmxnet3", "tulip": "tulip",
}  # fmt: skip


def configured(system: System) -> bool:
    """Whether a card other than the loopback is brought up at boot."""
    return any(
        files.fullmatch(path) and up.search(content.decode("latin-1"))
        for path, content in system.etc.items()
        for files, up in UP
    )


def looked_after(system: System) -> bool:
    """Whether a program is started that brings up any card, named by no file."""
    return any(MANAGED.search(path) for path in (*system.links, *system.etc))


def addresses(system: System) -> tuple[str, ...]:
    """The IPv4 addresses that the configuration gives to cards, each once, in its order."""
    found: dict[str, None] = {}
    for path, content in sorted(system.etc.items()):
        given = netplan.addresses(content) if NETPLAN.fullmatch(path) else []
        for files, pattern in GIVEN:
            text = content.decode("latin-1") if files.fullmatch(path) else ""
            given += [] if re.search(r"^ONBOOT=[\"']?no", text, re.M | re.I) else pattern.findall(text)
        found |= dict.fromkeys(each for each in given if not each.startswith(("127.", "0.")))
    return tuple(found)[:MOST]


def address(system: System) -> str:
    """The hardware address that the configuration binds a card to; empty where it binds none.

    Of several it is that of a card that is brought up; Red Hat's own files know better than udev's old rules.
    """
    named = set(_named(system))
    found = sorted((rank, name not in named, name, bound) for rank, name, bound in _bound(system))
    return found[0][-1] if found else ""


def model(system: System) -> str:
    """QEMU's name for the card whose driver modprobe.conf aliases to eth0; empty where it tells none."""
    text = (system.read("/etc/modprobe.conf") or b"").decode("latin-1")
    found = re.search(r"^\s*alias\s+eth0\s+(\S+)", text, re.MULTILINE)
    return MODELS.get(found.group(1), "") if found else ""


# ── what becomes of their names ─────────────────────────────────────────────────────────────────────

BY_SLOT = re.compile(
    r"en[ops]\w*\d\w*|em\d+\w*|p\d+p\d+\w*|eth-bus-pci-[\w:.]+"
)  # the kernel's place of a card, or the board's
WIRED = re.compile(r"eth-(?:id|bus)-.*|(?:e(?:th|n|m)|p\d+p)[\w-]*")
NAME = re.compile(
    r"^\s*(?:(?:allow-)?auto|allow-hotplug|bridge[_-]ports|(?:bond[_-])?slaves|vlan[_-]raw[_-]device)\s+(?P<debian>\S.*)"
    r"|^\s*iface\s+(?P<iface>\S+)"
    r"|^\s*interface-name\s*=\s*(?P<manager>[^\s;]+)|^\s*(?:export\s+)?DEVICE=[\"']?(?P<redhat>[\w.-]+)"
    r"|^config_(?P<gentoo>\w+)=|^Interface=[\"']?(?P<netctl>[\w.-]+)"
    r"|^Name\s*=\s*(?P<networkd>[\w.-]+(?:[ \t]+[\w.-]+)*)\s*$",
    re.MULTILINE,
)
OWN_ADDRESS = re.compile(  # systemd takes hyphens, too; NetworkManager of old wrote each byte as a number
    r"^\s*(?:(?:export\s+)?HWADDR|mac-address|(?:Permanent)?MACAddress)\s*=\s*[\"']?"
    r"((?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|(?:\d{1,3};){5}\d{1,3}(?=;?\s*$))",
    re.MULTILINE,
)
NETPLAN = re.compile(r"/etc/netplan/[^/]+\.ya?ml")
DRIVEN = re.compile(r"/etc/(?:netplan/[^/]+\.ya?ml|systemd/network/[^/]+\.(?:network|link)|NetworkManager/.+)")
AHEAD = r"(?:except:)?driver:"
DRIVER = re.compile(  # a word, or a list of them: in brackets, or in lines of its own; a line may have several
    rf"#[^\n]*|((?:^|(?<=[{{,;=]))[ \t]*{AHEAD}|^[ \t]*[Dd]river[ \t]*=)(?![ \t]*[\"']?!)"
    r"([ \t]*\[[^\]\n]*\]|[ \t]*(?:#[^\n]*)?\n(?:[ \t]*-[ \t][^\n]*\n?)+"
    rf"|[^,}}#\n]*?(?=[,}}#\n]|\Z|;[ \t]*{AHEAD}))",
    re.MULTILINE,
)
OLD_DRIVER = re.compile(
    r"(?<![\w!-])(?:e1000e?|vmxnet3?|8139cp|8139too|pcnet32|tulip|ne2k-pci|hv_netvsc|xen[-_]netfront|vif)(?![\w-])"
)
PLACED = re.compile(r"^([ \t]*)([Pp])ath[ \t]*=[ \t]*pci-[^\n]*", re.MULTILINE)
ALONE = re.compile(r"^[ \t]*[Pp]ath[ \t]*=[ \t]*pci-(?![^\n]*-usb)[^\s;]+;?[ \t\r]*$", re.MULTILINE)
BY_PROPERTY = re.compile(r"^[^#\n]*ID_PATH=pci-", re.MULTILINE)
NAMING = re.compile(r"/etc/(?:network/interfaces.*|conf\.d/net|netctl/[^/]+)")
WIRELESS = re.compile(r"wlan|wifi|wwan|wireless|=[ \t]*w[lw]", re.IGNORECASE)
RULES = re.compile(r"/etc/udev/rules\.d/[^/]+\.rules")
OTHER = re.compile(r'SUBSYSTEMS?=="(?!net")')
OF_CARDS = re.compile(r'SUBSYSTEMS?=="net"|\{address\}')
PLACE = re.compile(
    r'(?:(?:KERNELS|ID)=="[0-9a-fA-F]{4}:|ENV\{ID_(?:PATH|NET_NAME_(?:PATH|SLOT|ONBOARD))\}=="'
    r'|(?:ATTRS?|SYSFS)\{(?:subsystem_)?(?:vendor|device)\}==")[^"]*",?[ \t]*'
)
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
    addresses = {name: bound for _, name, bound in _bound(system)}
    names = sorted({name.partition(":")[0] if not name.startswith("eth-") else name for name in _named(system)})
    wired = [
        name for name in names if WIRED.fullmatch(name) or (name in addresses and not name.startswith(("wl", "ww")))
    ]
    return [Interface(name, addresses.get(name, "") or _told_by(name)) for name in wired]


def _told_by(name: str) -> str:
    """The address in a name such as enx525400123456; empty in all others."""
    found = re.fullmatch(r"enx([0-9a-f]{12})", name)
    return ":".join(re.findall("..", found.group(1))) if found else ""


def told(system: System) -> list[str]:
    """What becomes of each, in words."""
    found = interfaces(system)
    alone = _linked(system) is not None
    said = [each.becomes(alone) for each in found]
    if (placed := places(system)) and not one_place(system):
        said.append(f"{', '.join(placed)} match cards by their places: say there by hand which virtio card is which")
    return said


def places(system: System) -> list[str]:
    """Files that match a card by the slot it is in."""
    found = ((path, content.decode("latin-1")) for path, content in system.etc.items() if DRIVEN.fullmatch(path))
    placed = {path for path, text in found if PLACED.search(text) or BY_PROPERTY.search(text)}
    for path, content in system.etc.items():
        if RULES.fullmatch(path) and any(map(_by_place, joined(content.decode("latin-1")))):
            placed.add(path)
    return sorted(placed)


def _names(line: str) -> bool:
    """Whether a line of udev's rules gives a card its name."""
    return not comment(line) and re.search(r'\bNAME:?="', line) is not None and not OTHER.search(line)


def _by_place(line: str) -> bool:
    return _names(line) and '=="net"' in line and not ADDRESS.search(line) and PLACE.search(line) is not None


def one_place(system: System) -> str:
    """The file whose one PCI place is that of the guest's one card; empty where there are more, or another kind's."""
    placed = places(system)
    text = system.etc[placed[0]].decode("latin-1") if len(placed) == 1 else ""
    alone = len(PLACED.findall(text)) == 1 and ALONE.search(text) and len(interfaces(system)) <= 1
    return placed[0] if alone and not WIRELESS.search(text) else ""


def _named(system: System) -> Iterator[str]:
    for path, content in system.etc.items():
        text = content.decode("latin-1")
        if IFCFG.fullmatch(path):
            yield path.rpartition("ifcfg-")[2]
        if NETPLAN.fullmatch(path):
            yield from (name for name, _ in netplan.cards(content))
        elif IFCFG.fullmatch(path) or OTHERS.fullmatch(path) or NAMING.fullmatch(path):
            yield from _called(path, text)


def _called(path: str, text: str) -> list[str]:
    """The names in a file; NetworkManager's connection without one has its file's."""
    found = [word for name in NAME.finditer(text) for word in next(filter(None, name.groups())).split()]
    return found or ([path.rpartition("/")[2].removesuffix(".nmconnection")] if path.startswith(MANAGER) else [])


def _bound(system: System) -> Iterator[tuple[int, str, str]]:
    """(rank, name, address) of every binding; the lowest rank decides."""
    for path, content in system.etc.items():
        text = content.decode("latin-1")
        if RULES.fullmatch(path):
            for line in joined(text):
                name, found = re.search(r'NAME:?="([^"]+)"', line), ADDRESS.search(line)
                if name and found and _names(line):
                    yield 1, name.group(1), found.group(1).lower()
        elif NETPLAN.fullmatch(path):
            yield from ((2, name, bound) for name, bound in netplan.cards(content) if ADDRESS.fullmatch(bound))
        elif IFCFG.fullmatch(path) or OTHERS.fullmatch(path) or LINKS.fullmatch(path):
            rank = 0 if IFCFG.fullmatch(path) else 2
            called = _called(path, text) + ([path.rpartition("ifcfg-")[2]] if not rank else [])
            if found := OWN_ADDRESS.search(text) or (ADDRESS.search(path) if "-id-" in path else None):
                yield from ((rank, name, _address(found.group(1))) for name in called or [""])


def _address(written: str) -> str:
    """With colons, in lower case."""
    numbers = [f"{min(int(each), 255):02x}" for each in written.split(";")] if ";" in written else []
    return ":".join(numbers) or written.replace("-", ":").lower()


def links(system: System) -> Iterator[tuple[str, bytes]]:
    """A file that gives the virtio card the old one's name: where one card is named by its place."""
    card = _linked(system)
    if card and LINK.format(card.name) not in system.etc:
        yield LINK.format(card.name), f"[Match]\nDriver=virtio_net\n\n[Link]\nName={card.name}\n".encode()


def _linked(system: System) -> Interface | None:
    """The one card that a .link file can give its name; SUSE's eth-bus-pci-... is no name that a card has."""
    slotted = [each for each in interfaces(system) if each.by_slot]
    named = len(slotted) == 1 and not slotted[0].name.startswith("eth-") and not _reads_no_links(system)
    return slotted[0] if named else None


def _reads_no_links(system: System) -> bool:
    """Whether its udev is from before systemd."""
    return "/etc/inittab" in system.etc and not any(path.startswith("/etc/systemd/") for path in system.etc)


def rules(text: str, _disks: Disks) -> str:
    """udev's rules that bind a name to an address and a driver or a place, bound to the address only."""
    return "".join(
        PLACE.sub("", re.sub(r'(DRIVERS?)=="(?!\?\*")[^"]*"', r'\1=="?*"', line))
        if _names(line) and ADDRESS.search(line) and OF_CARDS.search(line)
        else line
        for line in joined(text)
    )


def drivers(text: str, _disks: Disks) -> str:
    """A card that is matched by the driver of the old one is matched by virtio's; of several the first gives way."""
    return DRIVER.sub(lambda found: found[1] + _virtio(found[2]) if found[1] else found[0], text)


def _virtio(listed: str) -> str:
    return listed if "virtio" in listed else OLD_DRIVER.sub("virtio_net", listed, count=1)


def by_driver(text: str, disks: Disks) -> str:
    """As `drivers`; a card that is matched by its slot is matched by virtio's driver, too."""
    return PLACED.sub(
        lambda found: f"{found[1]}{'D' if found[2] == 'P' else 'd'}river=virtio_net", drivers(text, disks)
    )
