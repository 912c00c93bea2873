"""How to take a copy down so that its visitors move within a second: reject with RST, never silence."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import msgspec

TABLE = "crashcart_down"
WARNING = (
    "Changing the address changes the copy. What a visitor keeps in the browser (cookies) goes along; what a copy\n"
    "keeps for itself (sessions in files or memory, uploads, carts, logins) does not, unless the copies share it.\n"
    "Share sessions and uploads between the copies, or keep them in the browser, before relying on failover."
)


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Commands for the server that goes down, as root; `check` from anywhere else, and what it answers then."""

    address: str
    why: str
    nft: tuple[str, ...]
    nft_undo: tuple[str, ...]
    iptables: tuple[str, ...]
    iptables_undo: tuple[str, ...]
    check: tuple[str, ...]
    expects: str
    mind: str


def ports(port: int) -> tuple[int, ...]:
    """What is closed with `port`: a site's http and https go down together."""
    return (80, 443) if port in (80, 443) else (port,)


def take_down(name: str, address: str, ports: Sequence[int] = (80, 443)) -> Advice:
    """The commands that take `address` of the site `name` down; nothing is run."""
    six = ipaddress.ip_address(address).version == 6
    listed = ", ".join(str(port) for port in ports)
    family, program = ("ip6", "ip6tables") if six else ("ip", "iptables")
    rule = f"-d {address} -p tcp -m multiport --dports {listed.replace(' ', '')} -j REJECT --reject-with tcp-reset"
    scheme, port = ("https", 443) if 443 in ports else ("http", ports[0])
    url = f"{scheme}://{name}/" if port in (80, 443) else f"{scheme}://{name}:{port}/"
    literal = f"[{address}]" if six else address
    return Advice(
        address=address,
        why="a reset tells a client at once; silence leaves it waiting for its kernel's SYN ladder, and a visitor "
        "who has the site open hangs until a reload",
        nft=(
            f"nft add table inet {TABLE}",
            f"nft 'add chain inet {TABLE} input {{ type filter hook input priority -150 ; }}'",
            f"nft 'add rule inet {TABLE} input {family} daddr {address} tcp dport {{ {listed} }}"
            " reject with tcp reset'",
        ),
        nft_undo=(f"nft delete table inet {TABLE}",),
        iptables=(f"{program} -I INPUT {rule}",),
        iptables_undo=(f"{program} -D INPUT {rule}",),
        check=(f"curl -sS -o /dev/null --connect-timeout 3 --resolve {name}:{port}:{literal} {url}",),
        expects="curl: (7) ... Connection refused, at once; a time-out means that packets are dropped on the way",
        mind="the rule sees what this host itself accepts: where a container, NAT or load balancer takes the traffic "
        "on, put it on the forward hook (iptables: DOCKER-USER or FORWARD)",
    )


def lines(advice: Advice) -> list[str]:
    """For people."""
    return [
        f"To take {advice.address} down so that clients move within a second (on its server, as root):",
        *(f"  {command}" for command in advice.nft),
        "or, where the server uses iptables:",
        *(f"  {command}" for command in advice.iptables),
        "Undo:",
        *(f"  {command}" for command in (*advice.nft_undo, "or: " + advice.iptables_undo[0])),
        "Check afterwards, from elsewhere:",
        *(f"  {command}" for command in advice.check),
        f"  expects: {advice.expects}",
        f"Mind: {advice.mind}.",
    ]
