"""The one door to the share: who is let through to it, and how much they took."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from typing import Any

from engines.biosiso.bmc.aten.samba import Samba
from engines.biosiso.bmc.serve import taken

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


class Relay(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """From `address` to the share, for `peers` only, while the `with` block lasts.

    `sent` counts bytes to them, SMB's own included; `met` their connections; `strangers` are those turned away.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, samba: Samba, address: tuple[str, int], peers: frozenset[str]) -> None:
        self.samba, self.peers = samba, peers
        self.sent = self.met = 0
        self.strangers: set[str] = set()
        self._counting = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, _Through)
        except OSError as error:
            raise taken(address, error) from None

    def __enter__(self) -> Relay:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def count(self, sent: int) -> None:
        """Note `sent` bytes more."""
        with self._counting:
            self.sent += sent

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  socketserver passes it
        """Whether this peer is one that the disc is meant for."""
        peer = str(client_address[0])
        if peer in self.peers:
            return True
        if len(self.strangers) < 8:
            self.strangers.add(peer)
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a BMC drops connections in mid-transfer as a habit."""
