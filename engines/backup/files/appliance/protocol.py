"""What is said between a keeper of a warm appliance and those who use it: counted msgpack messages on a unix socket.

An Ask is answered by any number of parts, then by an end or by trouble.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Literal, TypeVar

import msgspec

from engines.backup.errors import Damaged, Missing
from engines.backup.files.model import BrowseError, NoSuchFile, Unsupported
from engines.job.errors import CrashcartError, Failed, Refused, Stopped

LONGEST = 16 << 20  # bytes of a message
KINDS: dict[str, type[Failed]] = {
    each.__name__: each for each in (Failed, BrowseError, NoSuchFile, Unsupported, Damaged, Missing)
}
T = TypeVar("T")


class KeeperRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a keeper is told on stdin, so that the passphrase is in no argv; idle: s after which it ends."""

    repo: str
    point: str
    idle: float
    key_file: str = ""
    passphrase: str = ""


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """One question; path, offset and length where it takes them."""

    call: Literal["infos", "open", "stat", "list", "read", "extents", "attributes", "tar_out", "leave"]
    volume: str = ""
    path: bytes = b""
    offset: int = 0
    length: int = 0


class Trouble(msgspec.Struct, frozen=True):
    """An error on its way: what it was, and its words."""

    kind: str
    why: str
    what_helps: str = ""
    name: str = ""

    @classmethod
    def of(cls, error: Exception) -> Trouble:
        """Any error; one that is no crashcart's is told as it is."""
        if isinstance(error, Refused | Failed):
            kind = "Refused" if isinstance(error, Refused) else type(error).__name__
            return cls(kind, error.why, error.what_helps, getattr(error, "name", ""))
        return cls("Stopped" if isinstance(error, Stopped) else "Failed", str(error) or type(error).__name__)

    def error(self) -> CrashcartError:
        """The error again."""
        if self.kind == "Refused":
            return Refused(self.why, self.what_helps)
        if self.kind == "Stopped":
            return BrowseError("the appliance that was kept warm was ended", "try again: a new one is started")
        kind = KINDS.get(self.kind, Failed)
        found = kind.__new__(kind)
        Failed.__init__(found, self.why, self.what_helps)
        if isinstance(found, Damaged):
            found.name = self.name
        return found


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """A part with its value, an end, or a Trouble."""

    kind: Literal["part", "end", "trouble"]
    value: msgspec.Raw = msgspec.Raw(b"\xc0")

    def of(self, type_: type[T]) -> T:
        """The value."""
        return msgspec.msgpack.decode(self.value, type=type_, strict=False)


def send(peer: socket.socket, message: Any) -> None:
    """Raises OSError."""
    try:
        raw = msgspec.msgpack.encode(message)
    except OverflowError:  # a time before 1677 in ns: no number of msgpack's, and told as text
        raw = msgspec.msgpack.encode(_worded(msgspec.to_builtins(message, builtin_types=(bytes,))))
    peer.sendall(struct.pack(">I", len(raw)))
    peer.sendall(raw)


def _worded(value: Any) -> Any:
    """Plain data, its numbers beyond 64 bits as text."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    if isinstance(value, dict):
        return {key: _worded(each) for key, each in value.items()}
    return [_worded(each) for each in value] if isinstance(value, list | tuple) else value


def answer(peer: socket.socket, kind: str, value: Any = None) -> None:
    """One Answer. Raises OSError."""
    send(peer, (kind, value))


def take(peer: socket.socket, type_: type[T]) -> T:
    """Raises ConnectionError where the peer has gone, TimeoutError between messages only."""
    (length,) = struct.unpack(">I", _exactly(peer, 4))
    if length > LONGEST:
        raise ConnectionError(f"a message of {length} bytes")
    try:
        return msgspec.msgpack.decode(_exactly(peer, length), type=type_)
    except msgspec.MsgspecError as error:
        raise ConnectionError(str(error)) from None


def _exactly(peer: socket.socket, count: int) -> bytearray:
    buffer = bytearray(count)
    view, got = memoryview(buffer), 0
    while got < count:
        try:
            part = peer.recv_into(view[got:])
        except TimeoutError:
            if count == 4 and not got:
                raise
            continue  # half a message: its rest is on the way
        if not part:
            raise ConnectionResetError("the other side has gone")
        got += part
    return buffer
