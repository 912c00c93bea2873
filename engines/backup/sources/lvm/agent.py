"""The QEMU guest agent: asks the guest to write its file systems out and hold them still.

Source: QEMU guest agent protocol, qga/qapi-schema.json.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

ANSWERS_WITHIN = 5.0  # s; one that runs answers at once, one that does not run never
FREEZES_WITHIN = 30.0  # s; the guest writes its dirty pages out
LONGEST = 65536  # bytes of one answer
MOST = 10_000  # file systems of one guest
SENTINEL = b"\xff"


class NoAgent(Exception):
    """The agent does not do what it was asked; the words say why."""


class Agent:
    """A connection to the agent's socket. Raises NoAgent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Agent:
        self._peer = socket.socket(socket.AF_UNIX)
        self._pending = b""
        self._peer.settimeout(ANSWERS_WITHIN)
        try:
            self._connect()
            self._sync()
        except BaseException:
            self._peer.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._peer.close()

    def freeze(self) -> int:
        """Freeze; how many file systems stand still now."""
        return self._count("guest-fsfreeze-freeze", FREEZES_WITHIN)

    def thaw(self) -> int:
        """Thaw; how many were still frozen."""
        return self._count("guest-fsfreeze-thaw", FREEZES_WITHIN)

    def listens(self) -> bool:
        """Whether anybody would answer at its socket."""
        with socket.socket(socket.AF_UNIX) as self._peer:
            try:
                self._connect()
            except NoAgent:
                return False
        return True

    def _count(self, command: str, within: float) -> int:
        found = self._ask({"execute": command}, within)
        if type(found) is not int or not 0 <= found <= MOST:
            raise NoAgent(f"the guest agent answers {command} with {str(found)[:80]!r}")
        return found

    def _connect(self) -> None:
        folder = -1
        try:
            folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._peer.connect(f"/proc/self/fd/{folder}/{self._path.name}")  # sun_path holds 107 bytes
        except OSError as error:
            raise NoAgent(f"{self._path}: {error.strerror or error}") from None
        finally:
            if folder >= 0:
                os.close(folder)

    def _sync(self) -> None:
        """Skip what an earlier client left half-said; the agent's own way is a number that comes back."""
        number = int.from_bytes(os.urandom(4), "big")
        self._send(SENTINEL + _line({"execute": "guest-sync-delimited", "arguments": {"id": number}}))
        end = time.monotonic() + ANSWERS_WITHIN
        while self._answer(end).get("return") != number:
            continue

    def _ask(self, request: dict[str, Any], within: float) -> Any:
        self._send(_line(request))
        answer = self._answer(time.monotonic() + within)
        if "error" in answer:
            raise NoAgent(f"the guest agent says: {_said(answer['error'])[:200]}")
        return answer.get("return")

    def _send(self, text: bytes) -> None:
        try:
            self._peer.sendall(text)
        except OSError as error:
            raise NoAgent(f"{self._path}: {error.strerror or error}") from None

    def _answer(self, end: float) -> dict[str, Any]:
        while b"\n" not in self._pending:
            left = end - time.monotonic()
            if left <= 0:
                raise NoAgent(f"the guest agent at {self._path} does not answer")
            self._peer.settimeout(left)
            try:
                part = self._peer.recv(LONGEST)
            except TimeoutError:
                continue
            except OSError:
                part = b""
            if not part or len(self._pending) > LONGEST:
                raise NoAgent(f"the guest agent at {self._path} hung up")
            self._pending += part
        text, _, self._pending = self._pending.partition(b"\n")
        try:
            return msgspec.json.decode(text.split(SENTINEL)[-1] or b"{}", type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return {}


def _said(error: Any) -> str:
    return str(error.get("desc", "no") if isinstance(error, dict) else error)


def _line(request: dict[str, Any]) -> bytes:
    return msgspec.json.encode(request) + b"\n"
