"""A server that answers the addresses it is meant for and nobody else, and counts what they took."""

from __future__ import annotations

import socket
import socketserver
import threading
from typing import Any, Self

from engines.job.errors import Failed


class PeerServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens while the `with` block lasts. `sent` counts bytes, `strangers` are those turned away (the first 8)."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler], peers: frozenset[str]
    ) -> None:
        """Raises Failed where the address cannot be had."""
        self.peers = peers
        self.sent = 0
        self.strangers: set[str] = set()
        self._counting = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, handler)
        except OSError as error:
            raise taken(address, error) from None

    def __enter__(self) -> Self:
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
        """Whether this peer is one that it is meant for."""
        peer = str(client_address[0])
        if peer in self.peers:
            return True
        if len(self.strangers) < 8:
            self.strangers.add(peer)
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a BMC drops connections in mid-transfer as a habit."""


def taken(address: tuple[str, int], error: OSError) -> Failed:
    """Why nothing can be served at `address`."""
    where = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
    return Failed(f"nothing can be served at {where}: {error.strerror}", "give listen=ADDRESS:PORT of this machine")
