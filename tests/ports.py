"""A port for a server of a test that must know it before it listens."""

from __future__ import annotations

import random
import socket

BELOW = 32768  # ip_local_port_range(7) begins there: what the kernel gave somebody else in the meantime is not below


def free_port() -> int:
    """One that nobody uses on any address, for TCP or UDP; not one that the kernel gives to whoever asks for any."""
    while True:
        port = random.randrange(10000, BELOW)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind(("", port))
                datagram.bind(("", port))
            except OSError:
                continue
            return port
