"""The talk before the first request: what is exported, how long it is, which replies the client understands."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from engines.backup import nbd_wire as wire
from engines.backup.nbd_wire import Hostile, Info, Malformed, Opt, Rep

MOST_OPTIONS = 64  # a client that asks for more is up to no good


@dataclass(frozen=True)
class NbdExport:
    """What is served: `name` besides the empty one, bytes, the size that reads should have."""

    name: bytes
    size: int
    preferred: int
    description: bytes = b""


@dataclass(frozen=True)
class Agreed:
    """What the client understands. context: it may ask for block status."""

    structured: bool = False
    context: bool = False


def take(peer: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes. Raises ConnectionError where the peer hangs up, TimeoutError."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        got = peer.recv_into(view)
        if not got:
            raise ConnectionResetError("the client hung up")
        view = view[got:]
    return bytes(buffer)


class Handshake:
    """One client's; `agree` runs it."""

    def __init__(self, peer: socket.socket, export: NbdExport) -> None:
        self._peer = peer
        self._export = export
        self._structured = False
        self._context_of: bytes | None = None

    def agree(self) -> Agreed | None:
        """Greet and answer until the client begins; None where it takes its leave. Raises Hostile, OSError."""
        self._peer.sendall(wire.GREETING + wire.OPTION + struct.pack(">H", wire.FIXED_NEWSTYLE | wire.NO_ZEROES))
        (flags,) = struct.unpack(">I", take(self._peer, 4))
        if flags & ~(wire.FIXED_NEWSTYLE | wire.NO_ZEROES):
            raise Hostile(f"unknown client flags {flags:#x}")
        for _ in range(MOST_OPTIONS):
            kind, length = wire.option(take(self._peer, wire.OPTION_FORM.size))
            if length > wire.LONGEST_OPTION:
                raise Hostile(f"an option of {length} bytes")
            data = take(self._peer, length)
            if kind == Opt.EXPORT_NAME:
                return self._old_way(data, padded=not flags & wire.NO_ZEROES)
            if kind == Opt.ABORT:
                self._reply(kind, Rep.ACK)
                return None
            if self._answered(kind, data):
                return self._agreed(data)
        raise Hostile("more options than there are")

    def _reply(self, kind: int, answer: Rep, data: bytes = b"") -> None:
        self._peer.sendall(wire.option_reply(kind, answer, data))

    def _answered(self, kind: int, data: bytes) -> bool:
        """Whether transmission begins."""
        try:
            match kind:
                case Opt.LIST:
                    self._list(data)
                case Opt.INFO | Opt.GO:
                    return self._info(kind, data) and kind == Opt.GO
                case Opt.STRUCTURED_REPLY:
                    if data:
                        raise Malformed
                    self._structured = True
                    self._reply(kind, Rep.ACK)
                case Opt.LIST_META_CONTEXT | Opt.SET_META_CONTEXT:
                    self._contexts(kind, data)
                case _:
                    self._reply(kind, Rep.ERR_UNSUP)
        except Malformed:
            self._reply(kind, Rep.ERR_INVALID)
        return False

    def _list(self, data: bytes) -> None:
        if data:
            raise Malformed
        name = self._export.name
        self._reply(Opt.LIST, Rep.SERVER, struct.pack(">I", len(name)) + name)
        self._reply(Opt.LIST, Rep.ACK)

    def _known(self, name: bytes) -> bool:
        return name in (b"", self._export.name)

    def _info(self, kind: int, data: bytes) -> bool:
        name, wanted = wire.info_request(data)
        if not self._known(name):
            self._reply(kind, Rep.ERR_UNKNOWN, b"there is no export of that name")
            return False
        export = self._export
        self._reply(kind, Rep.INFO, struct.pack(">HQH", Info.EXPORT, export.size, self._flags()))
        self._reply(kind, Rep.INFO, struct.pack(">HIII", Info.BLOCK_SIZE, 1, export.preferred, wire.LONGEST_READ))
        if Info.NAME in wanted:
            self._reply(kind, Rep.INFO, struct.pack(">H", Info.NAME) + export.name)
        if Info.DESCRIPTION in wanted and export.description:
            self._reply(kind, Rep.INFO, struct.pack(">H", Info.DESCRIPTION) + export.description)
        self._reply(kind, Rep.ACK)
        return True

    def _contexts(self, kind: int, data: bytes) -> None:
        name, queries = wire.context_request(data)
        if kind == Opt.SET_META_CONTEXT:
            self._context_of = None
            if not self._structured:
                raise Malformed
        if not self._known(name):
            self._reply(kind, Rep.ERR_UNKNOWN, b"there is no export of that name")
            return
        every = kind == Opt.LIST_META_CONTEXT and (not queries or b"base:" in queries)
        if every or wire.CONTEXT in queries:
            self._reply(kind, Rep.META_CONTEXT, struct.pack(">I", wire.CONTEXT_ID) + wire.CONTEXT)
            if kind == Opt.SET_META_CONTEXT:
                self._context_of = name
        self._reply(kind, Rep.ACK)

    def _agreed(self, go: bytes) -> Agreed:
        """A context holds for the export it was asked for only."""
        name, _ = wire.info_request(go)
        return Agreed(self._structured, self._context_of == name)

    def _old_way(self, name: bytes, *, padded: bool) -> Agreed | None:
        """EXPORT_NAME knows no refusal but to hang up."""
        if not self._known(name):
            return None
        self._peer.sendall(struct.pack(">QH", self._export.size, self._flags()) + bytes(124 if padded else 0))
        return Agreed(self._structured, self._context_of == name)

    def _flags(self) -> int:
        """Nobody writes, so any number of connections see the same."""
        known = wire.HAS_FLAGS | wire.IS_READ_ONLY | wire.MULTI_CONN
        return known | (wire.SENDS_DF if self._structured else 0)
