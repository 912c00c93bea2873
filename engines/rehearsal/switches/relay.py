"""Joins stdin and stdout to a TCP port, as telnet or nc does, for a console line."""

from __future__ import annotations

import os
import selectors
import socket
import sys


def main(host: str, port: int) -> int:
    """Until either side ends."""
    with socket.create_connection((host, port), timeout=5) as line, selectors.DefaultSelector() as ready:
        line.settimeout(None)
        ready.register(0, selectors.EVENT_READ, (lambda: os.read(0, 4096), line.sendall))
        ready.register(line, selectors.EVENT_READ, (lambda: line.recv(4096), lambda piece: os.write(1, piece)))
        while True:
            for key, _ in ready.select():
                take, give = key.data
                piece = take()
                if not piece:
                    return 0
                give(piece)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2])))
