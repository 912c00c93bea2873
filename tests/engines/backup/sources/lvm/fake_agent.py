"""A guest agent without a guest: counts what is frozen, and says what it was asked; wired like QEMU's chardev."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from types import TracebackType

COMMANDS = {"guest-fsfreeze-freeze": 2, "guest-fsfreeze-thaw": 0}


class FakeAgent:
    """Listens at `path` while the `with` block runs; `frozen` is the state of its guest.

    odd: what it answers instead of how many file systems are frozen.
    """

    def __init__(self, path: Path, odd: bytes = b"") -> None:
        self.path = path
        self._odd = odd
        self.frozen = 0
        self.asked: list[str] = []
        self.froze = threading.Event()
        self._server = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> FakeAgent:
        self._server.bind(str(self.path))
        self._server.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            with peer, peer.makefile("rb") as lines:
                try:
                    for line in lines:
                        said = json.dumps({"return": self._answer(line)}).encode()
                        peer.sendall((self._odd if self._odd and b"fsfreeze" in line else said) + b"\n")
                except OSError:
                    continue  # its asker was killed

    def _answer(self, line: bytes) -> int:
        request = json.loads(line.lstrip(b"\xff"))
        command = request["execute"]
        if command == "guest-sync-delimited":
            number: int = request["arguments"]["id"]
            return number
        self.asked.append(command)
        before, self.frozen = self.frozen, COMMANDS[command]
        if self.frozen:
            self.froze.set()
        return self.frozen or before
