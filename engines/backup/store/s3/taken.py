"""What a bucket's server sends is taken as far as it was asked for: one that gives more, or no end, fills no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore.store import S3Store as Client

PART = 8 * 1024 * 1024  # bytes taken at once
LONGEST = 256 * 1024 * 1024  # bytes of what is read as a whole


def part(client: Client, name: str, offset: int, length: int) -> memoryview:
    """Bytes of an object; a few more than `length` where the server sent more. Raises what obstore does."""
    import obstore

    sent = obstore.get(client, name, options={"range": (offset, offset + length)}).stream(min_chunk_size=length)
    found = memoryview(next(sent, b""))
    if len(found) == length and (more := next(sent, b"")):
        return memoryview(bytes(found) + bytes(more[:1]))
    return found


def whole(client: Client, name: str) -> bytearray:
    """All of an object; a few more bytes than LONGEST where it is longer. Raises what obstore does."""
    import obstore

    content = bytearray()
    for piece in obstore.get(client, name).stream(min_chunk_size=PART):
        content += piece
        if len(content) > LONGEST:
            break
    return content
