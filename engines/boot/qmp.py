"""QEMU's own control protocol over a socket pair, one command at a time.

Source: QEMU's docs/interop/qmp-spec.txt: JSON lines; a greeting, `qmp_capabilities`, then commands, with events
in between.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 0.1  # seconds between two calls of check
ANSWER_WITHIN = 180.0  # seconds; a machine under load answers late, a hung QEMU never


class Gone(Exception):
    """QEMU ended, or no longer answers."""


class QmpError(Exception):
    """QEMU refused a command; the message is its own."""


class Qmp:
    """The host's end of the socket pair; `check` is called every 0.1 s of waiting and raises to stop."""

    def __init__(self, end: socket.socket, check: Callable[[], None]) -> None:
        self._socket = end
        self._socket.settimeout(PATIENCE)
        self._check = check
        self._buffer = b""

    def greet(self) -> None:
        """Wait for the greeting and leave negotiation mode; raises Gone where QEMU does not start."""
        self._message()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Send one command and return its answer; raises QmpError, Gone."""
        line = json.dumps({"execute": command, "arguments": arguments}) + "\n"
        try:
            self._socket.sendall(line.encode())
        except OSError as error:
            raise Gone(str(error)) from error
        while True:
            answer = self._message()
            if "error" in answer:
                raise QmpError(str(answer["error"].get("desc", answer["error"])))
            if "return" in answer:
                return answer["return"]

    def monitor(self, line: str) -> str:
        """Run one line of the human monitor and return what it printed."""
        return str(self.execute("human-monitor-command", **{"command-line": line}))

    def close(self) -> None:
        """Close the host's end."""
        self._socket.close()

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + ANSWER_WITHIN
        while b"\n" not in self._buffer:
            self._check()
            if time.monotonic() > end:
                raise Gone(f"QEMU did not answer within {ANSWER_WITHIN:.0f} s")
            self._receive()
        line, self._buffer = self._buffer.split(b"\n", 1)
        message = json.loads(line)
        return message if isinstance(message, dict) else {}

    def _receive(self) -> None:
        try:
            received = self._socket.recv(65536)
        except TimeoutError:
            return
        except OSError as error:
            raise Gone(str(error)) from error
        if not received:
            raise Gone("QEMU closed its control line")
        self._buffer += received
