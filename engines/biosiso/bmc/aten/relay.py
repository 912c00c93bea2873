"""The one door to the share: who is let through to it, and how much they took."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress

from engines.biosiso.bmc.aten.samba import Samba
from engines.biosiso.bmc.peers import PeerServer

CHUNK = 256 * 1024  # bytes


class _Through(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        """Both ways until either end has enough."""
        relay = self.server
        with suppress(OSError), relay.samba.reach() as inner:
            inner.settimeout(None)
            relay.met += 1
            back = threading.Thread(target=self._copy, args=(inner, self.request, relay), daemon=True)
            back.start()
            self._copy(self.request, inner, None)
            back.join()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket, counted: Relay | None) -> None:
        with suppress(OSError):
            while part := source.recv(CHUNK):
                sink.sendall(part)
                if counted:
                    counted.count(len(part))
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class Relay(PeerServer):
    """From `address` to the share, for `peers` only, while the `with` block lasts.

    `sent` counts bytes to them, SMB's own included; `met` their connections.
    """

    def __init__(self, samba: Samba, address: tuple[str, int], peers: frozenset[str]) -> None:
        self.samba = samba
        self.met = 0
        super().__init__(address, _Through, peers)
