"""Packs: append-only files of records that tell their own contents, sealed by a footer and a rename."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engines.backup.errors import Damaged
from engines.backup.repository import record
from engines.backup.repository.record import Header
from engines.backup.store.store import Appender, Store

MAGIC = b"CCPACK\x00\x01"
END = b"CCPEND\x00\x01"
FRONT = struct.Struct("<8s16s16s16s")
FRONT_SIZE = 64
ENTRY = struct.Struct("<32sIIIBBBB")
TRAILER = struct.Struct("<8sIIQQ")
TRAILER_SIZE = 40
LIKELY = 16 * 1024  # bytes that hold most footers: 340 records, in one question to a far store
MOST = 1 << 22  # entries of one pack; 4 GiB of the smallest useful records


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record lies: `offset` of its header in `pack` (16 bytes), payload and content length."""

    id: bytes
    pack: bytes
    offset: int
    stored: int
    length: int
    kind: int
    codec: int
    cipher: int

    @property
    def size(self) -> int:
        """Bytes of the whole record."""
        return record.SIZE + self.stored


def name(pack: bytes) -> str:
    """A sealed pack's file."""
    return f"packs/{pack.hex()}.pack"


def part_name(session: bytes, pack: bytes) -> str:
    """An open pack's file."""
    return f"packs/{session.hex()}.{pack.hex()}.part"


def front(repository: bytes, pack: bytes, session: bytes) -> bytes:
    """The 64 bytes that a pack begins with."""
    import xxhash

    packed = FRONT.pack(MAGIC, repository, pack, session)
    return packed + xxhash.xxh3_64_intdigest(packed).to_bytes(8, "little")


def owner(raw: bytes, where: str = "") -> bytes:
    """Which repository the pack with these first 64 bytes is of. Raises Damaged."""
    return _front(raw, where)[0]


def _front(raw: bytes, where: str) -> tuple[bytes, bytes, bytes]:
    import xxhash

    if len(raw) != FRONT_SIZE or xxhash.xxh3_64_intdigest(raw[:56]) != int.from_bytes(raw[56:], "little"):
        raise Damaged(where, "its first 64 bytes are not those of a pack")
    magic, belongs, pack, session = FRONT.unpack(raw[:56])
    if magic != MAGIC:
        raise Damaged(where, "its first 64 bytes are not those of a pack")
    return belongs, pack, session


def parse_front(raw: bytes, where: str, repository: bytes) -> tuple[bytes, bytes]:
    """(pack, session) of a pack's first 64 bytes. Raises Damaged."""
    belongs, pack, session = _front(raw, where)
    if belongs != repository:
        raise Damaged(where, "it belongs to another repository")
    return pack, session


class OpenPack:
    """A pack that is being written."""

    def __init__(
        self, pack: bytes, session: bytes, appender: Appender, places: list[RecordPlace] | None = None
    ) -> None:
        self.pack = pack
        self.places = places or []
        self._file = appender
        self._session = session

    @classmethod
    def begin(cls, store: Store, repository: bytes, pack: bytes, session: bytes) -> OpenPack:
        """Start an empty one."""
        appender = store.append(part_name(session, pack))
        appender.write([front(repository, pack, session)])
        return cls(pack, session, appender)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._file.offset

    def add(self, head: bytes, payload: Any, header: Header) -> RecordPlace:
        """Append one record."""
        offset = self._file.offset
        self._file.write([head, payload])
        place = RecordPlace(
            header.id, self.pack, offset, header.stored, header.length, header.kind, header.codec, header.cipher
        )
        self.places.append(place)
        return place

    def push(self) -> None:
        """Begin to make it durable."""
        self._file.push()

    def seal(self) -> None:
        """Write the footer and make it a durable pack."""
        self._file.write([footer(self.places, self._file.offset)])
        self._file.seal(name(self.pack))

    def abandon(self) -> None:
        """Let go; the records stay for whoever comes next."""
        self._file.abandon()


def footer(places: list[RecordPlace], offset: int) -> bytes:
    """Entries and trailer that end a pack whose records end at `offset`."""
    import xxhash

    entries = b"".join(ENTRY.pack(p.id, p.offset, p.stored, p.length, p.kind, p.codec, p.cipher, 0) for p in places)
    trailer = TRAILER.pack(END, len(places), 0, offset, xxhash.xxh3_64_intdigest(entries))
    return entries + trailer + xxhash.xxh3_64_intdigest(trailer).to_bytes(8, "little")


def read_footer(store: Store, pack: bytes, size: int) -> tuple[list[RecordPlace], int]:
    """The records that a sealed pack of `size` bytes says it has, and where they end. Raises Damaged."""
    import xxhash

    where = name(pack)
    tail = store.read(where, max(size - LIKELY, 0), LIKELY)
    trailer = tail[-TRAILER_SIZE:]
    if len(trailer) != TRAILER_SIZE or xxhash.xxh3_64_intdigest(trailer[:32]) != int.from_bytes(trailer[32:], "little"):
        raise Damaged(where, "its last 40 bytes are not those of a pack")
    magic, count, zero, end, check = TRAILER.unpack(trailer[:32])
    if magic != END or zero or count > MOST or end + count * ENTRY.size + TRAILER_SIZE != size:
        raise Damaged(where, "its footer does not fit its size")
    length = count * ENTRY.size
    known = len(tail) == min(size, LIKELY) and length + TRAILER_SIZE <= len(tail)
    entries = tail[-length - TRAILER_SIZE : -TRAILER_SIZE] if known else store.read(where, end, length)
    if len(entries) != length or xxhash.xxh3_64_intdigest(entries) != check:
        raise Damaged(where, "its footer does not fit its check")
    return list(_places(entries, pack, end, where)), end


def sealed(store: Store, pack: bytes, size: int) -> bool:
    """Whether a pack of `size` bytes ends with the trailer of one that is as long; by one small question.

    Raises FileNotFoundError.
    """
    import xxhash

    trailer = store.read(name(pack), max(size - TRAILER_SIZE, 0), TRAILER_SIZE)
    if len(trailer) != TRAILER_SIZE or xxhash.xxh3_64_intdigest(trailer[:32]) != int.from_bytes(trailer[32:], "little"):
        return False
    magic, count, _, end, _ = TRAILER.unpack(trailer[:32])
    return bool(magic == END and end + count * ENTRY.size + TRAILER_SIZE == size)


def _places(entries: bytes, pack: bytes, end: int, where: str) -> Iterator[RecordPlace]:
    at = FRONT_SIZE
    for name_, offset, stored, length, kind, codec, cipher, zero in ENTRY.iter_unpack(entries):
        if offset != at or kind not in record.KINDS or length > record.LONGEST[kind] or zero:
            raise Damaged(where, "its footer names a record that cannot be")
        at += record.SIZE + stored
        yield RecordPlace(name_, pack, offset, stored, length, kind, codec, cipher)
    if at != end:
        raise Damaged(where, "its footer does not name all that lies in it")


def walk(store: Store, file: str, pack: bytes, end: int) -> Iterator[tuple[RecordPlace, bytes]]:
    """Record by record with its payload, from the first to the first that is torn, at most to `end`."""
    import xxhash

    at = FRONT_SIZE
    while at + record.SIZE <= end:
        header = record.parse(store.read(file, at, record.SIZE))
        if header is None or at + record.SIZE + header.stored > end:
            return
        payload = store.read(file, at + record.SIZE, header.stored)
        if len(payload) != header.stored or xxhash.xxh3_64_intdigest(payload) != header.check:
            return
        yield (
            RecordPlace(header.id, pack, at, header.stored, header.length, header.kind, header.codec, header.cipher),
            payload,
        )
        at += record.SIZE + header.stored


def recover(store: Store, part: str, repository: bytes, session: bytes) -> list[RecordPlace]:
    """Seal what a killed writer left at `part`; the places that it holds, empty where nothing was whole.

    Raises FileNotFoundError where another took it first.
    """
    pack = bytes.fromhex(part.removesuffix(".part").rpartition(".")[2])
    mine = part_name(session, pack)
    store.rename(part, mine)
    size = store.size(mine)
    try:
        parse_front(store.read(mine, 0, FRONT_SIZE), mine, repository)
    except Damaged:
        store.delete(mine)
        return []
    places = [place for place, _ in walk(store, mine, pack, size)]
    if not places:
        store.delete(mine)
        return []
    last = places[-1]
    opened = OpenPack(pack, session, store.append(mine, last.offset + last.size), places)
    opened.seal()
    return places
