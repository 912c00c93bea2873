"""The far end of a cell: its own network namespace with web copies, a nameserver and the faults."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.failover.lab.authority import Paper
from engines.failover.lab.copies import Copy
from engines.failover.lab.nameserver import Nameserver

ADDRESSES = {"A": "198.51.100.10", "B": "203.0.113.20", "C": "192.0.2.30"}  # RFC 5737, no two in one network
CLIENT, ROUTER = "10.199.0.1", "10.199.0.2"
HTTP, HTTPS = 80, 443
TABLE = "inet crashcart"


@dataclass(frozen=True)
class Site:
    """What stands at the far end: the name and the letters of its copies, in the order of their A records.

    paper: what it needs to speak https; without it, it speaks http.
    """

    name: str
    letters: str
    ttl: int = 60
    paper: Paper | None = None

    @property
    def port(self) -> int:
        """Where its copies listen."""
        return HTTPS if self.paper else HTTP

    @property
    def addresses(self) -> list[str]:
        """In the order of the A records."""
        return [ADDRESSES[letter] for letter in self.letters]


def run(argv: Sequence[str], text: str = "") -> None:
    """A short command, fed `text`. Raises RuntimeError with what it said."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr.strip() or done.returncode}")


def rules(rule: str, letters: str, port: int = HTTP) -> str:
    """nftables lines that treat TCP to the web port of these copies by `rule`; none where it is empty.

    One command a line: nft 1.0 takes no closing braces on one line.
    """
    lines = [f"add table {TABLE}", f"delete table {TABLE}"]
    if rule:
        chain = f"add chain {TABLE} input {{ type filter hook input priority 0; policy accept; }}"
        lines += [f"add table {TABLE}", chain]
        lines += [f"add rule {TABLE} input ip daddr {ADDRESSES[one]} tcp dport {port} {rule}" for one in letters]
    return "\n".join(lines) + "\n"


class Street:
    """Serves until its control socket closes; takes one JSON order a line and answers each with one."""

    def __init__(self, site: Site) -> None:
        context = site.paper.context() if site.paper else None
        self._port = site.port
        self._copies = {letter: Copy(letter, context) for letter in site.letters}
        self._names = Nameserver(site.name, site.addresses, site.ttl)

    async def serve(self, control: socket.socket) -> None:
        """Set up addresses and servers, say ready, obey."""
        run(["ip", "-batch", "-"], self._network())
        Path("/proc/sys/net/ipv4/icmp_ratelimit").write_text("0")  # else one visitor a second gets its ICMP
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self._names, local_addr=(ROUTER, 53))
        servers = [await asyncio.start_server(self._names.stream, ROUTER, 53)]
        servers += [await copy.serve(ADDRESSES[letter], self._port) for letter, copy in self._copies.items()]
        reader, writer = await asyncio.open_connection(sock=control)
        writer.write(b"{}\n")
        while line := await reader.readline():
            writer.write(json.dumps(self._obey(json.loads(line))).encode() + b"\n")
            await writer.drain()

    def _network(self) -> str:
        lines = ["link set lo up", f"addr add {ROUTER}/24 dev far", "link set far up"]
        lines += [f"addr add {ADDRESSES[letter]}/32 dev lo" for letter in self._copies]
        return "\n".join(lines) + "\n"

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "fault":
                run(["nft", "-f", "-"], rules(order["rule"], order["letters"], self._port))
                for letter in order["letters"]:
                    self._copies[letter].mode = order["mode"]
            case "turn":
                self._names.addresses.append(self._names.addresses.pop(0))
        second = sum(copy.second for copy in self._copies.values())
        return {"asked": self._names.asked, "first": self._names.addresses[0], "second": second}


class Control:
    """The near end's handle on the street."""

    def __init__(self, end: socket.socket) -> None:
        self._stream = end.makefile("rwb")
        end.settimeout(60.0)  # s; nft on a loaded machine
        self._heard()

    def _heard(self) -> dict[str, Any]:
        line = self._stream.readline()
        if not line:
            raise RuntimeError("the far end did not come up")
        said: dict[str, Any] = json.loads(line)
        return said

    def order(self, **what: Any) -> dict[str, Any]:
        """Have something done and wait until it is."""
        self._stream.write(json.dumps(what).encode() + b"\n")
        self._stream.flush()
        return self._heard()


def build(site: Site, unshare: Callable[[], None]) -> tuple[Control, int]:
    """Fork the street into a network namespace of its own, joined by a veth pair `near`-`far`; its handle and pid."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _street(site, theirs, ours, unshare)
    theirs.close()
    if ours.recv(1) != b"+":
        raise RuntimeError("no network namespace for the far end")
    no_ipv6()
    run(["ip", "-batch", "-"], _near(pid))
    ours.send(b"+")
    return Control(ours), pid


def _street(site: Site, control: socket.socket, other: socket.socket, unshare: Callable[[], None]) -> None:
    """The forked child: never returns."""
    try:
        other.close()
        unshare()
        no_ipv6()
        control.send(b"+")
        control.recv(1)
        asyncio.run(Street(site).serve(control))
    except BaseException as error:  # noqa: BLE001  a forked child must not unwind into its parent's code
        os.write(2, f"far end: {error!r}\n".encode())
    os._exit(0)


def no_ipv6() -> None:
    """Keep links free of IPv6: an address that comes up late makes Chromium say ERR_NETWORK_CHANGED."""
    for scope in ("all", "default"):
        switch = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if switch.exists():
            switch.write_text("1")


def _near(pid: int) -> str:
    lines = [
        f"link add near type veth peer name far netns {pid}",
        "link set lo up",
        f"addr add {CLIENT}/24 dev near",
        "link set near up",
        f"route add default via {ROUTER}",
    ]
    return "\n".join(lines) + "\n"
