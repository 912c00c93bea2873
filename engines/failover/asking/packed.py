"""Bodies that come packed: each way that browsers take, bounded in what it gives."""

from __future__ import annotations

import zlib
from contextlib import suppress

BODY = 256 * 1024  # bytes of a page that are looked at


def _zlib(body: bytes) -> bytes:
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # some servers' deflate lacks zlib's header
        with suppress(zlib.error):
            return zlib.decompressobj(bits).decompress(body, BODY)
    return body


def _zstd(body: bytes) -> bytes:
    import zstandard

    with suppress(zstandard.ZstdError), zstandard.ZstdDecompressor().stream_reader(body) as stream:
        return stream.read(BODY)
    return body


def _brotli(body: bytes) -> bytes:
    import brotli

    with suppress(brotli.error):
        return bytes(brotli.Decompressor().process(body, output_buffer_limit=BODY))[:BODY]
    return body


UNPACKERS = {"gzip": _zlib, "x-gzip": _zlib, "deflate": _zlib, "zstd": _zstd, "br": _brotli}
"""By the name in Content-Encoding; what is not packed so is given back as it is."""
