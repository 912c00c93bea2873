"""The SYN timeline: every first packet of a TCP connection that leaves through one interface, by the kernel's clock."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engines.host.child import bind_to_parent

ETH_P_ALL = 0x0003  # linux/if_ether.h; packets that leave are shown to no narrower socket
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
SYN, ACK = 0x02, 0x10
SEEN = re.compile(r"^(\d+\.\d+) IP6? \S+ > (\d+\.\d+\.\d+\.\d+)\.(\d+): Flags \[S\]")


@dataclass(frozen=True)
class Syn:
    """A SYN: Unix time in seconds, destination address and port."""

    at: float
    address: str
    port: int


def parse(packet: bytes, at: float) -> Syn | None:
    """The SYN in an IPv4 packet, None for anything else."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return None
    header = (packet[0] & 0x0F) * 4
    if len(packet) < header + 14 or packet[header + 13] & (SYN | ACK) != SYN:
        return None
    return Syn(at, socket.inet_ntoa(packet[16:20]), int.from_bytes(packet[header + 2 : header + 4], "big"))


class Tap:
    """Listens on `interface` from `start` to `close`; `hear` gets each SYN to `port` from the tap's own thread."""

    def __init__(self, interface: str, port: int, hear: Callable[[Syn], None]) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.settimeout(0.2)
        self._port = port
        self._hear = hear
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._thread.join(2.0)
        self._socket.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                packet, controls, _, source = self._socket.recvmsg(128, 64)
            except TimeoutError:
                continue
            except OSError:
                return  # the interface went down with its namespace
            if source[2] != socket.PACKET_OUTGOING:
                continue
            syn = parse(packet, _stamp(controls))
            if syn and syn.port == self._port:
                self._hear(syn)


def _stamp(controls: Iterable[tuple[int, int, bytes]]) -> float:
    for level, kind, data in controls:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("@ll", data[: struct.calcsize("@ll")])
            return float(seconds) + float(nanoseconds) / 1e9
    return 0.0


class Tcpdump:
    """The same timeline by another tool; `syns` is what it saw."""

    def __init__(self, interface: str, port: int) -> None:
        argv = ["tcpdump", "-i", interface, "-nn", "-tt", "-l", "--immediate-mode", "-Q", "out", "-Z", "root"]
        self._process = subprocess.Popen(
            [*argv, f"tcp dst port {port} and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=bind_to_parent(),
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "listening on" in line:
                break

    def close(self) -> list[Syn]:
        """End it and give what it saw."""
        self._process.terminate()
        said, _ = self._process.communicate(timeout=10)
        return [syn for line in said.splitlines() if (syn := read_tcpdump(line))]


def read_tcpdump(line: str) -> Syn | None:
    """The SYN that one line of `tcpdump -nn -tt` tells."""
    found = SEEN.match(line)
    return Syn(float(found[1]), found[2], int(found[3])) if found else None


def gap(syns: Sequence[Syn], first: str, last: str, since: float = 0.0) -> float | None:
    """Seconds from the first SYN to `first` to the first SYN to `last`, of those after `since`; None without both."""
    starts: dict[str, float] = {}
    for syn in syns:
        if syn.at >= since:
            starts.setdefault(syn.address, syn.at)
    return round(starts[last] - starts[first], 3) if first in starts and last in starts else None
