"""The configs of a rehearsal switch: as commissioned, and as a reset leaves it."""

from __future__ import annotations

from engines.rehearsal.switches.config import Tree, parse

PORTS = 8

HEAD = """\
line vty
 exec-timeout 10
!
snmp-server contact "Field Support."
username admin password "{hash}" encryption-level 7 role admin desc Administrator
rbridge-id {rbridge}
 switch-attributes host-name {name}
 switch-attributes chassis-name VDX6740
!
interface Vlan 1
 {vlan}
!
interface Management {rbridge}/0
 ip address {address}/24
 no shutdown
!
"""
PORT = """\
interface TenGigabitEthernet {rbridge}/0/{port}
 fabric isl enable
 fabric trunk enable
 no shutdown
!
"""
TAIL = """\
protocol lldp
 system-description Brocade-VDX-VCS {vcsid}
!
vlan dot1q tag native
"""
FACTORY_HASH = "BwrsDbB+tABWGWpINOVKoQ=="
FACTORY_ADDRESS = "10.77.77.77"


def default(rbridge: int, address: str, hashed: str, name: str = "sw0") -> Tree:
    """What a reset leaves."""
    text = HEAD.format(hash=hashed, rbridge=rbridge, name=name, vlan="shutdown", address=address)
    text += "".join(PORT.format(rbridge=rbridge, port=port) for port in range(1, PORTS + 1))
    return parse(text + TAIL.format(vcsid=1))


def commissioned(name: str, rbridge: int, address: str, hashed: str, ports: dict[int, list[str]]) -> Tree:
    """A switch in service; `ports` are the lines of those ports that differ from the default."""
    tree = parse(
        HEAD.format(hash=hashed, rbridge=rbridge, name=name, vlan="no shutdown", address=address)
        + 'snmp-server community "s3cr3t-c0mmunity" ro\nsnmp-server location "row 4, rack 12"\n'
        + f"ip route 10.0.0.0/8 10.1.{rbridge}.1\n"
        + f"interface Vlan 50\n description customers # {name}\n!\ninterface Vlan 60\n!\n"
        + "".join(PORT.format(rbridge=rbridge, port=port) for port in range(1, PORTS + 1))
        + TAIL.format(vcsid=f"1 {name}")
    )
    for port, lines in ports.items():
        tree[f"interface TenGigabitEthernet {rbridge}/0/{port}"] = {line: None for line in lines}
    return tree


def with_logical(tree: Tree, rbridge: int) -> None:
    """Add what most switches in service have: a port channel with a member, and a Ve with an address."""
    tree["interface Port-channel 10"] = {"switchport": None, "switchport mode trunk": None, "no shutdown": None}
    member = tree[f"interface TenGigabitEthernet {rbridge}/0/3"]
    assert member is not None
    member["channel-group 10 mode active type standard"] = None
    inner = tree[f"rbridge-id {rbridge}"]
    assert inner is not None
    inner["interface Ve 50"] = {f"ip address 10.50.0.{rbridge}/24": None, "no shutdown": None}


UPLINK = [
    "mtu 2500",
    "description uplink to the other room",
    "switchport",
    "switchport mode trunk",
    "switchport trunk allowed vlan add 50,60",
    "switchport trunk tag native-vlan",
    "no fabric isl enable",
    "no fabric trunk enable",
    "no shutdown",
]
SERVER = ["mtu 9216", "switchport", "switchport mode access", "switchport access vlan 50", "spanning-tree shutdown"]
SERVER += ["fabric isl enable", "fabric trunk enable", "no shutdown"]
