"""Network configuration seldom met: which card comes up, by what name and address, and what is told."""

from __future__ import annotations

import pytest

from engines.virtio import cards
from engines.virtio.lines.disks import Disks
from tests.engines.virtio.test_cards import MAC, MANAGER, system

DISKS = Disks("sda", "vda")
RULES = "udev/rules.d/70-persistent-net.rules"
BUS = "eth-bus-pci-0000:00:03.0"


@pytest.mark.parametrize(
    ("path", "text", "up", "addresses", "names"),
    [
        (f"{MANAGER}/a", "[ipv4]\naddresses1=10.1.1.9;24;10.1.1.1;\n", True, ("10.1.1.9",), ["a"]),
        (f"{MANAGER}/a", "[ipv4]\naddress1=10.1.1.9/24,10.1.1.1\n", True, ("10.1.1.9",), ["a"]),
        (f"sysconfig/network/ifcfg-{BUS}", "STARTMODE='onboot'\n", True, (), [BUS]),
        ("sysconfig/network-scripts/ifcfg-eth0.100", "ONBOOT=yes\n", False, (), []),
        ("conf.d/net", 'config_enp0s3="10.7.7.7/24"\n#config_eth9="null"\n', False, ("10.7.7.7",), ["enp0s3"]),
        ("netctl/lan", "Interface=ens3\nIP=static\nAddress=('10.8.8.8/24')\n", False, ("10.8.8.8",), ["ens3"]),
        ("netctl/examples/lan", "Interface=ens9\nAddress=('10.8.8.8/24')\n", False, (), []),
        ("rc.d/rc.inet1.conf", 'IPADDR[0]="10.3.3.3"\nUSE_DHCP[0]=""\n', True, ("10.3.3.3",), []),
        ("rc.d/rc.inet1.conf", 'IPADDR[0]=""\nUSE_DHCP[0]="yes"\n', True, (), []),
        ("rc.d/rc.inet1.conf", 'IPADDR[0]=""\nUSE_DHCP[0]=""\n', False, (), []),
    ],
)  # fmt: skip
def test_what_comes_up(path: str, text: str, up: bool, addresses: tuple[str, ...], names: list[str]) -> None:
    guest = system({path: text})
    names = [name for name in names if cards.WIRED.fullmatch(name)]
    assert (cards.configured(guest), cards.addresses(guest)) == (up, addresses)
    assert [each.name for each in cards.interfaces(guest)] == names


def test_netctl_is_a_program_that_brings_cards_up() -> None:
    guest = system({})
    guest.links["/etc/systemd/system/multi-user.target.wants/netctl@lan.service"] = (
        "/usr/lib/systemd/system/netctl@.service"
    )
    assert cards.looked_after(guest)


def test_a_card_of_suse_by_its_slot_is_told_and_gets_no_file() -> None:
    guest = system({f"sysconfig/network/ifcfg-{BUS}": "STARTMODE=auto\n", "systemd/x": ""})
    assert not list(cards.links(guest))
    assert cards.told(guest) == [f"{BUS} tells the old card's place; name the new cards in the guest by hand"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (RULES, 'SUBSYSTEM=="net", ACTION=="add", KERNELS=="0000:02:01.0", NAME="eth0"\n'),
        (RULES, 'SUBSYSTEM=="net", ENV{ID_PATH}=="pci-0000:02:01.0", NAME="lan"\n'),
        ("systemd/network/20.network", "[Match]\nProperty=ID_PATH=pci-0000:00:03.0\n"),
    ],
)
def test_a_match_by_place_that_is_not_edited_is_told(path: str, text: str) -> None:
    guest = system({path: text})
    assert cards.told(guest) == [
        f"/etc/{path} match cards by their places: say there by hand which virtio card is which"
    ]
    assert not cards.one_place(guest)
    assert not cards.told(system({path: text.replace("SUBS", "# SUBS").replace("Prop", "# Prop")}))


NAMED = f'SUBSYSTEM=="net", ATTR{{address}}=="{MAC}", DRIVERS=="e1000", NAME="lan"\n'


def test_a_rule_by_hand_in_any_file_is_bound_to_the_address_only() -> None:
    guest = system({"udev/rules.d/10-network.rules": NAMED, "network/interfaces": "auto lan\n"})
    assert cards.RULES.fullmatch("/etc/udev/rules.d/10-network.rules")
    assert cards.rules(NAMED, DISKS) == NAMED.replace('DRIVERS=="e1000"', 'DRIVERS=="?*"')
    assert cards.address(guest) == MAC


@pytest.mark.parametrize(
    "line",
    [
        f'SUBSYSTEM=="bluetooth", ATTR{{address}}=="{MAC}", DRIVERS=="btusb", NAME="x"\n',
        f'SUBSYSTEM=="net", ATTR{{address}}=="{MAC}", DRIVERS=="e1000", RUN+="/x NAME"\n',
        f"# {NAMED}",
    ],
)
def test_other_rules_stay(line: str) -> None:
    assert cards.rules(line, DISKS) == line
    assert not cards.address(system({"udev/rules.d/10-x.rules": line, "network/interfaces": "auto lan\n"}))
