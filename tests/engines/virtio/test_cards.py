"""What a guest's network configuration says of its cards, and what becomes of their names on virtio."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.guest.appliance import Appliance
from engines.guest.system import System
from engines.virtio import cards
from engines.virtio.lines.disks import Disks

MAC = "52:54:00:12:34:56"
RULE = f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="8139cp", ATTR{{address}}=="{MAC}", NAME="eth0"\n'
SCRIPTS, RULES = "sysconfig/network-scripts", "udev/rules.d/70-persistent-net.rules"
MANAGER = "NetworkManager/system-connections"
CASES = {
    "redhat": ({f"{SCRIPTS}/ifcfg-eth0": f"DEVICE=eth0\nONBOOT=yes\nHWADDR={MAC}\n"}, "eth0", MAC, False),
    "redhat by slot": ({f"{SCRIPTS}/ifcfg-ens3": "DEVICE=ens3\nONBOOT=yes\n"}, "ens3", "", True),
    "rules": ({"network/interfaces": "auto lo eth0\n", RULES: RULE}, "eth0", MAC, False),
    "debian": ({"network/interfaces": "auto lo\nallow-hotplug eth0\niface eth0 inet dhcp\n"}, "eth0", "", False),
    "debian by slot": ({"network/interfaces": "auto lo\n\nauto enp0s3\niface enp0s3 inet dhcp\n"}, "enp0s3", "", True),
    "netplan": ({"netplan/01.yaml": "network:\n  ethernets:\n    enp0s3:\n      dhcp4: true\n"}, "enp0s3", "", True),
    "netplan bound": ({"netplan/01.yaml": f"    ens3:\n      match:\n        macaddress: {MAC}\n"}, "ens3", MAC, False),
    "manager": ({f"{MANAGER}/a": "[connection]\ninterface-name=enp1s0\n"}, "enp1s0", "", True),
}  # fmt: skip


def system(files: dict[str, str]) -> System:
    """A guest of which /etc alone is looked at: no appliance is ever started."""
    etc = {f"/etc/{path}": text.encode() for path, text in files.items()}
    return System(Appliance(Path("none"), Path("none")), "/dev/sda1", [("/", "/dev/sda1")], {}, etc)


@pytest.mark.parametrize("name", CASES)
def test_a_card_is_found_with_what_its_name_hangs_on(name: str) -> None:
    files, interface, address, by_slot = CASES[name]
    (found,) = cards.interfaces(system(files))
    assert (found.name, found.address, found.by_slot) == (interface, address, by_slot)
    assert cards.configured(system(files))
    links = dict(cards.links(system(files)))
    assert list(links) == ([f"/etc/systemd/network/10-crashcart-{interface}.link"] if by_slot else [])
    assert all(f"Name={interface}\n".encode() in content for content in links.values())
    assert ("stays" in found.becomes(alone=True)) is not by_slot


def test_two_cards_named_by_their_places_are_told_and_not_guessed() -> None:
    guest = system({"network/interfaces": "auto enp0s3 enp0s8\n"})
    assert [each.by_slot for each in cards.interfaces(guest)] == [True, True]
    assert not dict(cards.links(guest))
    assert "by hand" in cards.interfaces(guest)[0].becomes(alone=False)


def test_a_rule_is_bound_to_the_address_only() -> None:
    disks = Disks("hda", "vda")
    after = cards.rules(f"# {RULE}{RULE}", disks)
    assert after == f"# {RULE}{RULE}".replace('\nSUBSYSTEM=="net", ACTION=="add", DRIVERS=="8139cp"',
                                              '\nSUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*"')  # fmt: skip
    assert cards.rules(after, disks) == after


def test_only_a_loopback_is_no_network() -> None:
    assert not cards.configured(system({"network/interfaces": "auto lo\niface lo inet loopback\n"}))
    assert not cards.configured(system({"sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\nONBOOT=yes\n"}))
