"""What a guest's network configuration says of its cards, and what becomes of their names on virtio."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.guest.appliance import Appliance
from engines.guest.system import System
from engines.virtio import cards
from engines.virtio.lines.disks import Disks
from tests.fuzz.mutation import with_an_end

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
    "redhat named twice": (
        {f"{SCRIPTS}/ifcfg-eth0": f'DEVICE="eth0"\nONBOOT="yes"\nHWADDR="{MAC.upper()}"\n',
         f"{SCRIPTS}/ifcfg-eth0:1": "DEVICE=eth0:1\nONBOOT=yes\n"}, "eth0", MAC, False),
    "suse": ({f"sysconfig/network/ifcfg-eth-id-{MAC}": "STARTMODE='auto'\n"}, f"eth-id-{MAC}", MAC, False),
    "redhat of the board": ({f"{SCRIPTS}/ifcfg-em1": "DEVICE=em1\nONBOOT=yes\n"}, "em1", "", True),
    "redhat of a slot": ({f"{SCRIPTS}/ifcfg-p4p1": "DEVICE=p4p1\nONBOOT=yes\n"}, "p4p1", "", True),
    "vmware": ({f"{SCRIPTS}/ifcfg-eno16777736": "NAME=eno16777736\nONBOOT=yes\n"}, "eno16777736", "", True),
    "old rules": ({"network/interfaces": "auto eth0\n", "udev/rules.d/z25_persistent-net.rules":
        f'NAME="eth0", SUBSYSTEM=="net", SYSFS{{address}}=="{MAC}", DRIVERS=="?*"\n'}, "eth0", MAC, False),
    "netplan in a line": ({"netplan/01.yaml": "network: {ethernets: {ens3: {dhcp4: yes}}}\n"}, "ens3", "", True),
    "netplan by fours": ({"netplan/a.yml": 'network:\n    ethernets:\n        "ens3":\n            dhcp4: true\n'
        "            nameservers:\n                addresses: [1.1.1.1]\n"}, "ens3", "", True),
    "netplan with another name": ({"netplan/a.yaml": "network:\n  ethernets:\n    id0:\n      match:\n"
        f"        macaddress: '{MAC.upper()}'\n      set-name: eth7\n"}, "eth7", MAC, False),
    "netplan of any name": ({"netplan/a.yaml": "network:\n  ethernets:\n    all:\n      match: {name: 'e*'}\n"
        "    eth0:\n      dhcp4: true\n"}, "eth0", "", False),
    "networkd": ({"systemd/network/a.network": "[Match]\nName = ens3 \n[Network]\nDHCP=yes\n"}, "ens3", "", True),
    "by its address": ({"network/interfaces": "auto enx525400123456\n"}, "enx525400123456", MAC, False),
    "manager with spaces": ({f"{MANAGER}/a.nmconnection":
        f"[connection]\ninterface-name = enp1s0\n[ethernet]\nmac-address={MAC}\n"}, "enp1s0", MAC, False),
    "redhat exported": ({f"{SCRIPTS}/ifcfg-eth0": f"export DEVICE='eth0'\nONBOOT=yes\nexport HWADDR='{MAC}'\n"},
        "eth0", MAC, False),
    "redhat by the connection's name": ({f"{SCRIPTS}/ifcfg-Wired_1": f"NAME='Wired 1'\nHWADDR={MAC}\nONBOOT=yes\n"},
        "Wired_1", MAC, False),
    "netplan with a name of its own": ({"netplan/a.yaml": "network:\n  ethernets:\n    lan0:\n      match: {"
        f"macaddress: '{MAC}', driver: e1000}}\n      set-name: lan0\n"}, "lan0", MAC, False),
    "a link": ({"network/interfaces": "auto lan0\n", "systemd/network/10.link":
        f"[Match]\nPermanentMACAddress={MAC.replace(':', '-')}\n[Link]\nName=lan0\n"}, "lan0", MAC, False),
    "manager without a name": ({f"{MANAGER}/Wired.nmconnection": f"[connection]\ntype=ethernet\n[ethernet]\n"
        f"mac-address={MAC.upper()}\n"}, "Wired", MAC, False),
    "manager of old": ({f"{MANAGER}/a": "[connection]\ninterface-name=eth0\n[802-3-ethernet]\n"
        "mac-address=82;84;0;18;52;86;\n"}, "eth0", MAC, False),
    "a bridge's": ({"network/interfaces": "auto br0\niface br0 inet dhcp\n  bridge_ports ens3\n"}, "ens3", "", True),
    "debian's other word": ({"network/interfaces": "allow-auto ens3\niface ens3 inet dhcp\n"}, "ens3", "", True),
    "a rule over two lines": ({"network/interfaces": "auto eth0\n", RULES: RULE.replace(", ATTR", ", \\\n  ATTR")},
        "eth0", MAC, False),
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


ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]\n" for at in range(1, 10)
)


@pytest.mark.parametrize(
    "plan",
    [
        f"{ALIASES}network:\n  ethernets:\n    ens3:\n      set-name: *a9\n"
        "      match: {name: *a9, macaddress: *a9}\n",
        "[" * 3000,
        "network: " + "{a: " * 3000,
        "[\n" * 3000,
        "- " * 3000,
        ("[" * 64 + "\n") * 900,
        ("[" + "[]," * 63 + "],\n") * 300,
        "network: [ens3]\n",
        "network: {ethernets: &a [*a]}\n",
        "? [a, b]\n: c\n",
        "network: {ethernets: {ens3: &a {match: *a}}}\n",
        "\x01",
    ],
    ids=range(12),
)
def test_a_plan_made_to_harm_is_read_as_far_as_it_tells_names(plan: str) -> None:
    guest = system({"netplan/01.yaml": plan, "network/interfaces": "auto eth0\n"})
    with with_an_end():
        assert {"eth0"} <= {each.name for each in cards.interfaces(guest)} <= {"eth0", "ens3"}
        assert cards.address(guest) == ""


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


RULE_OF_OLD = f'ACTION=="add", KERNELS=="0000:00:03.0", SYSFS{{address}}=="{MAC}", DRIVER=="8139cp", NAME="eth0"\n'


def test_a_rule_in_any_order_lets_go_of_the_place_and_the_driver() -> None:
    disks = Disks("hda", "vda")
    wanted = f'ACTION=="add", SYSFS{{address}}=="{MAC}", DRIVER=="?*", NAME="eth0"\n'
    assert cards.rules(RULE_OF_OLD, disks) == wanted
    assert cards.rules(wanted, disks) == wanted
    by_place = 'KERNELS=="0000:00:03.0", NAME="eth0"\n'
    assert cards.rules(by_place, disks) == by_place


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("netplan/a.yaml", "      match:\n        driver: vmxnet3\n", "      match:\n        driver: virtio_net\n"),
        ("systemd/network/a.link", "[Match]\nDriver=e1000\n", "[Match]\nDriver=virtio_net\n"),
        ("netplan/a.yaml", "        driver: virtio_net\n", "        driver: virtio_net\n"),
        ("netplan/a.yaml", "        driver: e1000 # e1000\n", "        driver: virtio_net # e1000\n"),
        ("netplan/a.yaml", "driver: ['e1000', vmxnet3]\n", "driver: ['virtio_net', vmxnet3]\n"),
        ("netplan/a.yaml", "match: {name: e*, driver: vmxnet3}\n", "match: {name: e*, driver: virtio_net}\n"),
        ("netplan/a.yaml", "  driver:\n    - e1000\n    - igb\n", "  driver:\n    - virtio_net\n    - igb\n"),
        ("netplan/a.yaml", "driver: [igb, virtio_net, e1000]\n", "driver: [igb, virtio_net, e1000]\n"),
        ("systemd/network/a.link", "Driver = e1000 vmxnet3\n", "Driver = virtio_net vmxnet3\n"),
        (f"{MANAGER}/a.nmconnection", "driver=igb;!e1000;\n", "driver=igb;!e1000;\n"),
        ("systemd/network/a.link", "Driver=!e1000\n", "Driver=!e1000\n"),
        ("systemd/network/a.network", "#Driver=e1000\n", "#Driver=e1000\n"),
        ("NetworkManager/system-connections/a", "[match]\ndriver=vmxnet3;\n", "[match]\ndriver=virtio_net;\n"),
        ("NetworkManager/conf.d/a.conf", "unmanaged-devices=driver:vif\n", "unmanaged-devices=driver:virtio_net\n"),
        (
            "NetworkManager/conf.d/a.conf",
            "unmanaged-devices=*,except:driver:e1000\n",
            "unmanaged-devices=*,except:driver:virtio_net\n",
        ),
        ("netplan/a.yaml", "  driver:   # old\n    - e1000\n", "  driver:   # old\n    - virtio_net\n"),
        (
            "netplan/a.yaml",
            "ethernets: {a: {match: {driver: e1000}}, b: {match: {driver: 8139cp}}} # driver: e1000\n",
            "ethernets: {a: {match: {driver: virtio_net}}, b: {match: {driver: virtio_net}}} # driver: e1000\n",
        ),
        (
            "NetworkManager/conf.d/a.conf",
            "match-device=driver:e1000;interface-name:eth*,except:driver:vmxnet3\n",
            "match-device=driver:virtio_net;interface-name:eth*,except:driver:virtio_net\n",
        ),
        (
            "NetworkManager/conf.d/a.conf",
            "match-device=driver:igb;driver:e1000; driver:pcnet32\n",
            "match-device=driver:igb;driver:virtio_net; driver:virtio_net\n",
        ),
        ("netplan/a.yaml", "        driver: bonding\n", "        driver: bonding\n"),
    ],
)
def test_a_card_matched_by_its_old_driver_is_matched_by_the_new(path: str, before: str, after: str) -> None:
    assert cards.DRIVEN.fullmatch(f"/etc/{path}")
    assert cards.drivers(before, Disks("sda", "vda")) == after


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("systemd/network/a.link", "[Match]\nPath=pci-0000:00:03.0\n", "[Match]\nDriver=virtio_net\n"),
        ("systemd/network/a.network", "[Match]\nPath = pci-*\n", "[Match]\nDriver=virtio_net\n"),
        (f"{MANAGER}/a.nmconnection", "[match]\npath=pci-0000:02:00.0\n", "[match]\ndriver=virtio_net\n"),
        ("systemd/network/a.link", "[Match]\nPath=platform-x\n", "[Match]\nPath=platform-x\n"),
    ],
)
def test_one_card_matched_by_its_slot_is_matched_by_the_driver(path: str, before: str, after: str) -> None:
    assert cards.by_driver(before, Disks("sda", "vda")) == after
    one = {path: before}
    assert cards.places(system(one)) == ([f"/etc/{path}"] if before != after else [])
    two = system({**one, "systemd/network/b.link": before})
    assert ("by their places" in " ".join(cards.told(two))) is (before != after)


@pytest.mark.parametrize(
    ("files", "moved"),
    [
        ({"systemd/network/a.link": "[Match]\nPath=pci-0000:00:03.0\n[Link]\nName=lan0\n"}, True),
        ({"systemd/network/a.link": "[Match]\nPath=pci-0000:00:03.0 pci-0000:00:08.0\n"}, False),
        ({"systemd/network/a.link": "[Match]\nPath=pci-0000:00:14.0-usb-0:1:1.0\n"}, False),
        ({"systemd/network/a.link": "[Match]\nPath=pci-0000:00:03.0\nType=wlan\n"}, False),
        ({f"{MANAGER}/a.nmconnection": "[match]\npath=pci-0000:02:00.0;pci-0000:03:00.0;\n"}, False),
        ({"systemd/network/a.link": "[Match]\nPath=pci-0000:00:03.0\n",
          "network/interfaces": "auto eth0 eth1\n"}, False),
    ],
)  # fmt: skip
def test_a_place_gives_way_only_where_it_is_the_one_cards(files: dict[str, str], moved: bool) -> None:
    guest = system(files)
    assert cards.one_place(guest) == (f"/etc/{next(iter(files))}" if moved else "")
    assert ("by their places" in " ".join(cards.told(guest))) is not moved


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ('ATTRS{vendor}=="0x15ad", ATTRS{device}=="0x07b0", ', ""),
        ('ENV{ID_NET_NAME_PATH}=="enp0s3", ', ""),
        ('ENV{ID_PATH}=="pci-0000:00:03.0", ', ""),
        ('ATTR{type}=="1", KERNEL=="eth*", ', 'ATTR{type}=="1", KERNEL=="eth*", '),
        ('DRIVERS=="?*", \\\n  KERNELS=="0000:02:01.0", ', 'DRIVERS=="?*", \\\n  '),
    ],
)
def test_a_rule_by_address_lets_go_of_what_only_the_old_card_had(more: str, kept: str) -> None:
    rule = f'SUBSYSTEM=="net", {{}}ATTR{{{{address}}}}=="{MAC}", NAME="eth0"\n'
    assert cards.rules(rule.format(more), Disks("sda", "vda")) == rule.format(kept)


def test_the_address_for_a_trial_is_that_of_a_card_that_comes_up() -> None:
    stale = RULE.replace(MAC, "00:16:3e:00:00:01") + RULE.replace('"eth0"', '"eth1"')
    assert cards.address(system({RULES: stale, "network/interfaces": "auto eth1\n"})) == MAC
    assert cards.address(system({f"{SCRIPTS}/ifcfg-eth0": f"HWADDR={MAC}\n", RULES: stale})) == MAC
    assert cards.address(system({"network/interfaces": "auto eth0\n"})) == ""
    assert cards.address(system({"systemd/network/a.network": f"[Match]\nMACAddress={MAC}\n"})) == MAC


def test_an_init_of_old_gets_no_file_that_it_would_not_read() -> None:
    guest = system({f"{SCRIPTS}/ifcfg-em1": "DEVICE=em1\nONBOOT=yes\n", "inittab": "id:3:initdefault:\n"})
    assert not dict(cards.links(guest))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{SCRIPTS}/ifcfg-eth0", "DEVICE=eth0\nIPADDR=10.0.0.5\nNETMASK=255.255.255.0\nGATEWAY=10.0.0.1\n"),
        (f"{SCRIPTS}/ifcfg-eth0", 'DEVICE=eth0\nONBOOT=yes\nIPADDR0="10.0.0.5"\nPREFIX0=24\nDNS1=1.1.1.1\n'),
        ("sysconfig/network/ifcfg-eth0", "STARTMODE='auto'\nIPADDR='10.0.0.5/24'\nBROADCAST='10.0.0.255'\n"),
        ("network/interfaces", "iface eth0 inet static\n\taddress 10.0.0.5/24\n\tgateway 10.0.0.1\n"),
        ("network/interfaces.d/eth0", "iface eth0 inet static\n  address  10.0.0.5\n  netmask 255.255.255.0\n"),
        ("netplan/a.yaml", "network:\n  ethernets:\n    ens3:\n      addresses:\n        - 10.0.0.5/24\n"
         "      routes:\n        - to: 10.9.0.0/16\n          via: 10.0.0.1\n      nameservers:\n"
         "        addresses: [1.1.1.1]\n"),
        ("netplan/a.yaml", "network: {ethernets: {ens3: {addresses: ['10.0.0.5/24']}}}\n"),
        ("netplan/a.yaml", "network:\n  tunnels:\n    wg0:\n      mode: wireguard\n      peers:\n"
         "        - allowed-ips: [10.1.0.0/16, '10.2.0.0/16']\n        - allowed-ips:\n            - 10.3.0.0/16\n"
         "  vlans:\n    v1:\n      id: 1\n      addresses:\n        - 10.0.0.5/24:\n            label: x\n"),
        ("netplan/a.yaml", "network: {bridges: {br0: {interfaces: [ens3], addresses: [fd00::1/64, 10.0.0.5/24],"
         " routing-policy: [{from: 10.4.0.0/16}]}}}\n"),
        (f"{MANAGER}/a.nmconnection", "[ipv4]\naddress1=10.0.0.5/24,10.0.0.1\ndns=1.1.1.1;\nmethod=manual\n"),
        ("systemd/network/a.network", "[Network]\nAddress = 10.0.0.5/24\n[Route]\nDestination=10.9.0.0/16\n"),
        ("conf.d/net", 'config_eth0="10.0.0.5/24"\nroutes_eth0="default via 10.0.0.1"\n'),
        ("rc.d/rc.inet1.conf", 'IPADDR[0]="10.0.0.5"\nNETMASK[0]="255.255.255.0"\nIPADDR[1]=""\n'),
    ],
)  # fmt: skip
def test_the_addresses_that_a_guest_gives_its_cards_are_read(path: str, text: str) -> None:
    assert cards.addresses(system({path: text})) == ("10.0.0.5",)


def test_an_address_that_no_boot_gives_is_not_missed() -> None:
    off = {f"{SCRIPTS}/ifcfg-eth1": "ONBOOT=no\nIPADDR=10.0.0.6\n", "network/interfaces": "# address 10.0.0.7\n"}
    loop = {f"{SCRIPTS}/ifcfg-lo": "IPADDR=127.0.0.1\n", "hosts": "10.0.0.8 web1\n"}
    assert cards.addresses(system({**off, **loop})) == ()


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("systemd/system/multi-user.target.wants/NetworkManager.service", True),
        ("systemd/system/cloud-init.target.wants/cloud-init.service", True),
        ("systemd/system/multi-user.target.wants/dhcpcd@eth0.service", True),
        ("runlevels/default/net.eth0", True),
        ("runlevels/boot/net.lo", False),
        ("rc.d/rc3.d/S23NetworkManager", True),
        ("systemd/system/multi-user.target.wants/sshd.service", False),
    ],
)
def test_a_program_that_brings_up_any_card_is_known(link: str, found: bool) -> None:
    guest = system({})
    guest.links[f"/etc/{link}"] = "../x"
    assert cards.looked_after(guest) is found
