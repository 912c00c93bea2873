"""The NBD protocol's numbers and messages, packed and parsed, and nothing that waits for a peer.

Source: doc/proto.md of NetworkBlockDevice/nbd, fixed newstyle.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

GREETING = b"NBDMAGIC"
OPTION = b"IHAVEOPT"
OPTION_REPLY = 0x3E889045565A9
REQUEST, SIMPLE, STRUCTURED = 0x25609513, 0x67446698, 0x668E33EF

FIXED_NEWSTYLE, NO_ZEROES = 1, 2  # handshake flags, the same values on both sides
HAS_FLAGS, IS_READ_ONLY, SENDS_DF, MULTI_CONN = 1, 1 << 1, 1 << 7, 1 << 8  # transmission flags
DONE = 1  # flag: the last chunk of a structured reply
UNBROKEN, ONE_EXTENT = 1 << 2, 1 << 3  # flags: a read's answer in one chunk, a block status of one extent
HOLE, ZERO = 1, 2  # of base:allocation
CONTEXT, CONTEXT_ID = b"base:allocation", 1

LONGEST_READ = 32 << 20  # bytes; what the protocol lets every client count on
LONGEST_OPTION = 1 << 16  # bytes; names and queries are 4096 at most
LONGEST_NAME = 4096


class Opt(IntEnum):
    """What a client may ask for before it begins."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Rep(IntEnum):
    """What a server answers to that."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = 1 << 31 | 1
    ERR_INVALID = 1 << 31 | 3
    ERR_UNKNOWN = 1 << 31 | 6
    ERR_TOO_BIG = 1 << 31 | 9


class Info(IntEnum):
    """Kinds of facts about an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class Cmd(IntEnum):
    """What a client may ask for once it has begun."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class Chunk(IntEnum):
    """Parts of a structured reply."""

    NONE = 0
    DATA = 1
    HOLE = 2
    STATUS = 5
    ERROR = 1 << 15 | 1


class Hostile(Exception):
    """What came is not the protocol; the connection ends."""


class Malformed(Exception):
    """An option's data is not what the option takes; it is answered ERR_INVALID."""


@dataclass(frozen=True)
class Request:
    """One command; offset and length in bytes."""

    flags: int
    kind: int
    cookie: int
    offset: int
    length: int


REQUEST_FORM = struct.Struct(">IHHQQI")
OPTION_FORM = struct.Struct(">8sII")


def request(raw: bytes) -> Request:
    """28 bytes. Raises Hostile."""
    magic, flags, kind, cookie, offset, length = REQUEST_FORM.unpack(raw)
    if magic != REQUEST:
        raise Hostile(f"a request begins with {magic:#x}")
    return Request(flags, kind, cookie, offset, length)


def option(raw: bytes) -> tuple[int, int]:
    """16 bytes: the option's number and the length of its data. Raises Hostile."""
    magic, kind, length = OPTION_FORM.unpack(raw)
    if magic != OPTION:
        raise Hostile(f"an option begins with {magic!r}")
    return kind, length


def option_reply(kind: int, answer: int, data: bytes = b"") -> bytes:
    """One answer to an option."""
    return struct.pack(">QIII", OPTION_REPLY, kind, answer, len(data)) + data


def info_request(data: bytes) -> tuple[bytes, list[int]]:
    """The data of INFO and GO: the export's name and the facts wanted. Raises Malformed."""
    name, rest = _name(data)
    if len(rest) < 2:
        raise Malformed
    (count,) = struct.unpack_from(">H", rest)
    if len(rest) != 2 + 2 * count:
        raise Malformed
    return name, list(struct.unpack_from(f">{count}H", rest, 2))


def context_request(data: bytes) -> tuple[bytes, list[bytes]]:
    """The data of LIST_ and SET_META_CONTEXT: the export's name and the queries. Raises Malformed."""
    name, rest = _name(data)
    if len(rest) < 4:
        raise Malformed
    (count,), rest = struct.unpack_from(">I", rest), rest[4:]
    queries = []
    for _ in range(min(count, len(rest))):
        query, rest = _name(rest)
        queries.append(query)
    if rest or len(queries) != count:
        raise Malformed
    return name, queries


def _name(data: bytes) -> tuple[bytes, bytes]:
    """A counted string and what follows it."""
    if len(data) < 4:
        raise Malformed
    (length,) = struct.unpack_from(">I", data)
    if length > LONGEST_NAME or len(data) < 4 + length:
        raise Malformed
    return data[4 : 4 + length], data[4 + length :]


def simple(cookie: int, error: int = 0) -> bytes:
    """The head of a simple reply; a read's data follows where there is no error."""
    return struct.pack(">IIQ", SIMPLE, error, cookie)


def chunk(cookie: int, kind: Chunk, length: int, *, last: bool = True) -> bytes:
    """The head of one chunk of a structured reply; `length` bytes follow."""
    return struct.pack(">IHHQI", STRUCTURED, DONE if last else 0, kind, cookie, length)


def data_chunk(cookie: int, offset: int, length: int, *, last: bool) -> bytes:
    """The head of a chunk of `length` bytes of the disk, which follow."""
    return chunk(cookie, Chunk.DATA, 8 + length, last=last) + struct.pack(">Q", offset)


def hole_chunk(cookie: int, offset: int, length: int, *, last: bool) -> bytes:
    """A chunk that says that `length` bytes of the disk are zeros."""
    return chunk(cookie, Chunk.HOLE, 12, last=last) + struct.pack(">QI", offset, length)


def error_chunk(cookie: int, error: int, why: str) -> bytes:
    """A structured reply that says why there is no data."""
    said = why.encode("utf-8", "replace")[:LONGEST_NAME]
    return chunk(cookie, Chunk.ERROR, 6 + len(said)) + struct.pack(">IH", error, len(said)) + said


def status_chunk(cookie: int, extents: Iterable[tuple[int, bool]]) -> bytes:
    """A structured reply of (length in bytes, whether there is data)."""
    told = b"".join(struct.pack(">II", length, 0 if data else HOLE | ZERO) for length, data in extents)
    return chunk(cookie, Chunk.STATUS, 4 + len(told)) + struct.pack(">I", CONTEXT_ID) + told
