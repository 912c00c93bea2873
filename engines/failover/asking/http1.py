"""As much HTTP/1.1 as a probe needs, bounded in bytes, with a name for everything a server can do wrong."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

HEAD = 64 * 1024  # bytes; nginx and Apache send at most 8 to 32 KiB
BODY = 256 * 1024
STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?")
TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


class Wrong(Exception):
    """The server broke the rules: `state` is the fault class, `why` the words."""

    def __init__(self, state: str, why: str) -> None:
        super().__init__(why)
        self.state = state
        self.why = why


@dataclass(frozen=True)
class Head:
    """Status and headers, names in lower case; of several the first."""

    status: int
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """One reply; `body` is at most BODY bytes of it."""

    head: Head
    body: bytes

    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def title(self) -> str:
        """The page's title on one line; empty without one."""
        found = TITLE.search(self.text())
        return " ".join(found[1].split())[:80] if found else ""


def request(host: str, path: str) -> bytes:
    """A GET that asks for the connection to be closed. `path` in ASCII or to be quoted."""
    from urllib.parse import quote

    safe = quote(path, safe="/?&=%:;,+@!$'()*~#[]-._")
    lines = [f"GET {safe} HTTP/1.1", f"Host: {host}", "User-Agent: crashcart", "Accept: */*", "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse(raw: bytes) -> Head:
    """The head, without its empty line. Raises Wrong."""
    first, *rest = raw.replace(b"\r\n", b"\n").split(b"\n")
    found = STATUS.fullmatch(first)
    if not found:
        raise Wrong("malformed", f"no HTTP: {first[:40]!r}")
    headers: dict[str, str] = {}
    for line in rest:
        name, colon, value = line.partition(b":")
        if colon:
            headers.setdefault(name.decode("latin-1").strip().lower(), value.decode("latin-1").strip())
    return Head(int(found[1]), headers)


async def first_byte(reader: asyncio.StreamReader) -> bytes:
    """Wait for it. Raises Wrong, OSError."""
    found = await reader.read(1)
    if not found:
        raise Wrong("closed", "closed without an answer")
    return found


async def read_head(reader: asyncio.StreamReader, first: bytes = b"") -> Head:
    """The final head (1xx ones are passed over); `first` is what was read of it. Raises Wrong, OSError."""
    while True:
        try:
            raw = first + await reader.readuntil(b"\r\n\r\n")
            first = b""
        except asyncio.LimitOverrunError:
            raise Wrong("malformed", f"the header is over {HEAD // 1024} KiB") from None
        except asyncio.IncompleteReadError as error:
            got = len(first) + len(error.partial)
            raise Wrong("malformed", f"closed within the header, after {got} bytes") from None
        head = parse(raw[:-4])
        if head.status >= 200 or head.status == 101:
            return head


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """The body up to BODY bytes. Raises Wrong, OSError."""
    if head.headers.get("transfer-encoding", "").lower().endswith("chunked"):
        return await _chunks(reader)
    length = head.headers.get("content-length", "")
    if length and not length.isdecimal():
        raise Wrong("malformed", f"Content-Length is {length[:20]!r}")
    if head.status in (204, 304):
        return b""
    wanted = min(BODY, int(length[:12])) if length else BODY
    body = b""
    while len(body) < wanted:
        piece = await reader.read(wanted - len(body))
        if not piece:
            break
        body += piece
    if length and len(body) < wanted:
        raise Wrong("closed", f"closed after {len(body)} of {length[:12]} bytes")
    return body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    try:
        while len(body) < BODY:
            size = int((await reader.readuntil(b"\n")).split(b";")[0].strip() or b"x", 16)
            if size <= 0:
                return body
            taken = min(size, BODY - len(body))
            body += await reader.readexactly(taken)
            if taken < size:
                return body
            await reader.readuntil(b"\n")
    except ValueError:
        raise Wrong("malformed", "a chunk without its size") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise Wrong("closed", f"closed within a chunk, after {len(body)} bytes") from None
    return body
