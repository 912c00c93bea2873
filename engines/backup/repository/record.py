"""One stored thing: a block, a map or a point as header and payload, checked whenever it is read."""

from __future__ import annotations

import os
import struct
import threading
from dataclasses import dataclass
from typing import Any

from engines.backup.errors import Damaged
from engines.backup.repository.keys import NONCE, ZERO, Keys

BLOCK, MAP, POINT = 1, 2, 3
KINDS = {BLOCK: b"block", MAP: b"map", POINT: b"point"}
LONGEST = {BLOCK: 1024 * 1024, MAP: 512 * 32, POINT: 64 * 1024 * 1024}  # bytes of content
OVERHEAD = 4096  # bytes that a payload may be longer than its content
RAW, ZSTD = 0, 1
CIPHER = {"none": 0, "aes-256-gcm": 1, "chacha20-poly1305": 2}
MAGIC = b"ccr1"
HEADER = struct.Struct("<4sBBBBII32sQ")
SIZE = 64  # bytes of a header
WORTH = 0.94  # of the content: where compression saves less, reading it back costs more than it saves
PROBE = 16 * 1024  # bytes of each of four samples that tell whether compression is worth a try


@dataclass(frozen=True, slots=True)
class Header:
    """A record's header; see FORMAT.md."""

    kind: int
    codec: int
    cipher: int
    length: int
    stored: int
    id: bytes
    check: int

    def pack(self) -> bytes:
        """Its 64 bytes."""
        import xxhash

        front = HEADER.pack(MAGIC, self.kind, self.codec, self.cipher, 0, self.length, self.stored, self.id, self.check)
        return front + xxhash.xxh3_64_intdigest(front).to_bytes(8, "little")


def parse(raw: bytes | memoryview) -> Header | None:
    """The header of 64 bytes; None where they are none or it is out of bounds."""
    import xxhash

    if len(raw) < SIZE or xxhash.xxh3_64_intdigest(raw[:56]) != int.from_bytes(raw[56:64], "little"):
        return None
    magic, kind, codec, cipher, zero, length, stored, name, check = HEADER.unpack(raw[:56])
    fits = magic == MAGIC and kind in KINDS and codec in (RAW, ZSTD) and cipher in CIPHER.values() and zero == 0
    if not fits or length > LONGEST[kind] or stored > length + OVERHEAD:
        return None
    return Header(kind, codec, cipher, length, stored, name, check)


class Codec(threading.local):
    """Turns content into records and back; each thread has its own compressor."""

    def __init__(self, keys: Keys) -> None:
        import zstandard

        self.keys = keys
        self._cipher = CIPHER[keys.cipher]
        self._compressor = zstandard.ZstdCompressor(level=1, write_checksum=False)
        self._decompressor = zstandard.ZstdDecompressor()
        self._error = zstandard.ZstdError
        self._aead: Any = _aead(keys) if keys.data else None

    def id(self, kind: int, content: bytes | bytearray | memoryview) -> bytes:
        """The id that `content` has."""
        return self.keys.id(KINDS[kind], content)

    def encode(self, kind: int, name: bytes, content: bytes | bytearray | memoryview) -> tuple[bytes, Any, Header]:
        """Header bytes, payload and header of a record."""
        import xxhash

        codec, payload = self._compress(content)
        length = len(content)
        if self._aead is not None:
            front = HEADER.pack(MAGIC, kind, codec, self._cipher, 0, length, 0, name, 0)[:48]
            nonce = os.urandom(NONCE)
            payload = nonce + self._aead.encrypt(nonce, bytes(payload), front)
        check = xxhash.xxh3_64_intdigest(payload)
        header = Header(kind, codec, self._cipher, length, len(payload), name, check)
        return header.pack(), payload, header

    def _compress(self, content: bytes | bytearray | memoryview) -> tuple[int, Any]:
        view = memoryview(content)
        if len(view) > 8 * PROBE:
            step = (len(view) - PROBE) // 3
            samples = (view[at * step : at * step + PROBE] for at in range(4))
            if sum(len(self._compressor.compress(sample)) for sample in samples) > 4 * PROBE * WORTH:
                return RAW, view
        packed = self._compressor.compress(view)
        return (ZSTD, packed) if len(packed) <= len(view) * WORTH else (RAW, view)

    def decode(
        self,
        header: Header,
        payload: bytes | memoryview,
        where: str,
        into: memoryview | None = None,
        *,
        checked: bool = True,
    ) -> bytes | memoryview:
        """The content, proven to be what its id names; in `into` where that is given. Raises Damaged, naming `where`.

        into: of the content's own length; undefined after an error. It may hold the payload already.
        checked: find a flipped bit of the payload also where the content comes out right all the same.
        """
        if checked:
            self.check(header, payload, where)
        elif len(payload) != header.stored:
            raise Damaged(where, "the record's payload is cut short")
        if header.cipher != self._cipher:
            raise Damaged(where, "the record has another cipher than the repository")
        if self._aead is not None:
            payload = self._decrypt(header, payload, where)
        content = self._expand(header, payload, where, into)
        if self.id(header.kind, content) != header.id:
            raise Damaged(where, "the record's content is not what its id names")
        return content

    def check(self, header: Header, payload: bytes | memoryview, where: str) -> None:
        """Raise Damaged where the payload is not as it was stored."""
        import xxhash

        if len(payload) != header.stored or xxhash.xxh3_64_intdigest(payload) != header.check:
            raise Damaged(where, "the record's payload does not fit its check")

    def _decrypt(self, header: Header, payload: bytes | memoryview, where: str) -> bytes:
        from cryptography.exceptions import InvalidTag

        front = HEADER.pack(MAGIC, header.kind, header.codec, header.cipher, 0, header.length, 0, header.id, 0)[:48]
        try:
            plain: bytes = self._aead.decrypt(bytes(payload[:NONCE]), bytes(payload[NONCE:]), front)
        except (InvalidTag, ValueError):
            raise Damaged(where, "the record does not decrypt") from None
        return plain

    def _expand(
        self, header: Header, payload: bytes | memoryview, where: str, into: memoryview | None
    ) -> bytes | memoryview:
        if into is not None and len(into) != header.length:
            raise Damaged(where, "the record's content has another length than its place")
        if header.codec == ZSTD:
            return self._decompress(header, payload, where, into)
        if len(payload) != header.length:
            raise Damaged(where, "the record's content has another length than its header")
        if into is None:
            return payload
        if payload is not into:
            into[:] = payload
        return into

    def _decompress(
        self, header: Header, payload: bytes | memoryview, where: str, into: memoryview | None
    ) -> bytes | memoryview:
        import zstandard

        content: bytes | memoryview
        try:
            if zstandard.frame_content_size(payload) != header.length:
                raise Damaged(where, "the record's frame has another length than its header")
            if into is None:
                content = self._decompressor.decompress(payload, max_output_size=header.length)
            else:
                content = into[: self._decompressor.stream_reader(payload).readinto(into)]
        except self._error as error:
            raise Damaged(where, f"the record does not decompress ({error})") from None
        if len(content) != header.length:
            raise Damaged(where, "the record's content has another length than its header")
        return content


def _aead(keys: Keys) -> Any:
    from cryptography.hazmat.primitives.ciphers import aead

    return aead.AESGCM(keys.data) if keys.cipher == "aes-256-gcm" else aead.ChaCha20Poly1305(keys.data)


def is_zero(content: memoryview) -> bool:
    """Whether every byte is zero; by memcmp, since comparing views goes byte by byte."""
    return bytes(content) == _zeros(len(content))


_known_zeros = bytes(LONGEST[BLOCK])


def _zeros(length: int) -> bytes:
    return _known_zeros if length == len(_known_zeros) else bytes(length)


__all__ = ["BLOCK", "MAP", "POINT", "ZERO", "Codec", "Header", "is_zero", "parse"]
