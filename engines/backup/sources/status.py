"""Asks an NBD server which ranges one of its meta contexts marks, such as those of a dirty bitmap.

Source: the NBD protocol, doc/proto.md: fixed newstyle negotiation, structured replies, NBD_CMD_BLOCK_STATUS.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from engines.backup.nbd_wire import DONE, OPTION_REPLY, STRUCTURED, Chunk, Cmd, Opt, Rep
from engines.backup.sources.wire import command, exactly, hello, option

MARKED = 1  # NBD_STATE_DIRTY, bit 0 of a dirty bitmap's flags
LONGEST = 1 << 30  # bytes asked about at a time
ROOM = 1 << 24  # bytes of one answer


class NoStatus(Exception):
    """The server does not tell; the words say why."""


def marked(path: Path, context: str, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of bytes that `context` marks, as (start, end). Raises NoStatus, OSError."""
    with hello(path) as peer:
        wanted = _agreed(peer, context)
        at = 0
        while at < size:
            command(peer, Cmd.BLOCK_STATUS, at, min(LONGEST, size - at))
            before = at
            for length, flags in _extents(peer, wanted):
                if flags & MARKED:
                    yield at, min(at + length, size)
                at += length
            if at == before:
                raise NoStatus("it answers nothing")


def _agreed(peer: socket.socket, context: str) -> int:
    """Negotiate; the number of the context."""
    _option(peer, Opt.STRUCTURED_REPLY, b"")
    name = context.encode()
    _, found = _option(peer, Opt.SET_META_CONTEXT, struct.pack(">III", 0, 1, len(name)) + name)
    if not found:
        raise NoStatus(f"it has no {context}")
    _option(peer, Opt.GO, struct.pack(">IH", 0, 0))
    return int.from_bytes(found[0][:4], "big")


def _option(peer: socket.socket, kind: Opt, content: bytes) -> tuple[list[bytes], list[bytes]]:
    """Ask for an option; the infos and the contexts that came with the answer."""
    option(peer, kind, content)
    infos: list[bytes] = []
    contexts: list[bytes] = []
    while True:
        magic, _, answer, length = struct.unpack(">QIII", exactly(peer, 20))
        if magic != OPTION_REPLY or length > ROOM:
            raise NoStatus("it speaks another protocol")
        said = exactly(peer, length)
        if answer == Rep.ACK:
            return infos, contexts
        if answer not in (Rep.INFO, Rep.META_CONTEXT):
            raise NoStatus(f"it answers option {kind} with {answer:#x} {said.decode('utf-8', 'replace')}".rstrip())
        (infos if answer == Rep.INFO else contexts).append(said)


def _extents(peer: socket.socket, wanted: int) -> Iterator[tuple[int, int]]:
    """(bytes, flags) of one answer."""
    while True:
        magic, flags, kind, _, length = struct.unpack(">IHHQI", exactly(peer, 20))
        if magic != STRUCTURED or length > ROOM:
            raise NoStatus("its answer is no structured one")
        said = exactly(peer, length)
        if kind == Chunk.STATUS and int.from_bytes(said[:4], "big") == wanted:
            yield from struct.iter_unpack(">II", said[4:])
        elif kind != Chunk.NONE:
            raise NoStatus(f"it answers with an error ({kind:#x})")
        if flags & DONE:
            return
