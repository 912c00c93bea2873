"""As much HTTP/1.1 as a probe needs, bounded in bytes and in work, with a name for everything a server can do wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from engines.failover.asking import page
from engines.failover.asking.packed import BODY, UNPACKERS

HEAD = 64 * 1024  # bytes; nginx and Apache send at most 8 to 32 KiB
PACKED = 3  # ways that a body may be packed, one over another
FRAMING = BODY  # bytes of chunk sizes: a body in chunks of one byte is read no further than this
STATUS = re.compile(rb"HTTP(?:/[0-9.]{1,3})? +([1-9]\d\d)(?:[ \t][^\r\n]*)?", re.IGNORECASE)
AGENT = "crashcart"
SETTINGS = b"\x04\x00\x00\x00\x00\x00"  # RFC 9113 4.1: type and flags of HTTP/2's first frame, after its length


class Wrong(Exception):
    """The server broke the rules: `state` is the fault class, `why` the words."""

    def __init__(self, state: str, why: str) -> None:
        super().__init__(why)
        self.state = state
        self.why = why


@dataclass(frozen=True)
class Head:
    """Status and headers, names in lower case; of several the first, but for every Content-Length. `cookies`: the same
    of Set-Cookie."""

    status: int
    headers: dict[str, str]
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """One reply; `body` is at most BODY bytes of it. `version` is 1.1 or 2."""

    head: Head
    body: bytes
    version: str = "1.1"
    _text: list[str] = field(default_factory=list, compare=False, repr=False)

    def text(self) -> str:
        """The body as text, decoded once."""
        if not self._text:
            self._text.append(page.text(self.body, self.head.headers.get("content-type", "")))
        return self._text[0]

    def title(self) -> str:
        """The page's title on one line; empty without one."""
        return page.title(self.text())

    def sent_on(self) -> str:
        """Where the page sends visitors by itself (Refresh, in the header or in a <meta>), as written."""
        return page.refreshed(self.head.headers.get("refresh", "")) or page.sent_on(self.text())

    def spoilt(self) -> bool:
        """Whether a page that came as gzip is still packed, as it cannot be unpacked. A redirect is read by nobody."""
        if self.head.status // 100 == 3 and "location" in self.head.headers:
            return False
        still = self.body.startswith(b"\x1f\x8b") and packing(self.head) != () and not self.unread()
        return still and UNPACKERS["gzip"](self.body) == self.body  # a .gz that was packed once more can be

    def unread(self) -> str:
        """How the body is packed, where that cannot be read here."""
        ways = packing(self.head)
        return ", ".join(ways) if self.body and not set(ways) <= set(UNPACKERS) else ""


def quoted(path: str) -> str:
    """A path as it goes over the wire."""
    from urllib.parse import quote

    return quote(path, safe="/?&=%:;,+@!$'()*~#[]-._").partition("#")[0]


def request(host: str, path: str, agent: str = AGENT, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A GET that asks for the connection to be closed. `path` in ASCII or to be quoted; `headers` go before ours."""
    given = {name.lower() for name, _ in headers}
    own = [("Host", host), ("User-Agent", agent), ("Accept", "*/*"), ("Connection", "close")]
    lines = [f"GET {quoted(path)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in own if name.lower() not in given]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def parse(raw: bytes) -> Head:
    """The head, without its empty line. Raises Wrong."""
    return _parsed(raw.replace(b"\r\n", b"\n").split(b"\n"))


def _parsed(lines: Sequence[bytes]) -> Head:
    first, *rest = lines
    found = STATUS.fullmatch(first)
    if not found:
        if first[3:9] == SETTINGS:
            raise Wrong("malformed", "speaks HTTP/2 without TLS, which no browser does")
        raise Wrong("malformed", f"no HTTP: {first[:40]!r}")
    pairs = [line.partition(b":") for line in _unfolded(rest)]
    return headed(int(found[1]), [(name, value) for name, colon, value in pairs if colon])


def headed(status: int, pairs: Iterable[tuple[bytes, bytes]]) -> Head:
    """A head from its lines."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").strip().lower(), raw_value.decode("latin-1").strip()
        if name == "content-length" and headers.get(name, value) != value:
            value = f"{headers.pop(name)}, {value}"
        headers.setdefault(name, value)
        cookies += [value] if name == "set-cookie" else []
    return Head(status, headers, tuple(cookies))


def _unfolded(lines: Sequence[bytes]) -> list[bytes]:
    """Header lines, with those that go on in the next one put together (RFC 9112 5.2)."""
    whole: list[list[bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and whole:
            whole[-1].append(line.strip())
        else:
            whole.append([line])
    return [b" ".join(parts) for parts in whole]


async def first_byte(reader: asyncio.StreamReader) -> bytes:
    """Wait for it. Raises Wrong, OSError."""
    found = await reader.read(1)
    if not found:
        raise Wrong("closed", "closed without an answer")
    return found


async def read_head(reader: asyncio.StreamReader, first: bytes = b"") -> Head:
    """The final head (1xx ones are passed over); `first` is what was read of it. Raises Wrong, OSError.

    Lines may end in LF alone, and empty lines may come first, as browsers allow.
    """
    spent = 0
    lines: list[bytes] = []
    while True:
        if first == b"\n":
            line, first = first, b""
        else:
            try:
                line, first = first + await reader.readuntil(b"\n"), b""
            except asyncio.LimitOverrunError:
                raise _too_long() from None
            except asyncio.IncompleteReadError as error:
                raise _cut(lines, first + error.partial, spent) from None
        spent += len(line)
        if spent > HEAD:
            raise _too_long()
        if bare := line.rstrip(b"\r\n"):
            lines.append(bare)
            if len(lines) == 1 and not STATUS.fullmatch(bare):
                _parsed(lines)  # no need to wait for more of what is no HTTP
        elif lines:
            head = _parsed(lines)
            if head.status == 101:
                raise Wrong("malformed", "it changes to another protocol (101), which nobody asked for")
            if head.status >= 200:
                return head
            lines = []


def _too_long() -> Wrong:
    return Wrong("malformed", f"the header is over {HEAD // 1024} KiB")


def _cut(lines: Sequence[bytes], rest: bytes, spent: int) -> Wrong:
    if not lines and rest:
        try:
            _parsed([rest.rstrip(b"\r\n")])
        except Wrong as wrong:
            return wrong
    return Wrong("malformed", f"closed within the header, after {spent + len(rest)} bytes")


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """The body up to BODY bytes, unpacked where it came packed. Raises Wrong, OSError."""
    return unpacked(await _body(reader, head), head)


async def _body(reader: asyncio.StreamReader, head: Head) -> bytes:
    if head.status in (204, 304):
        return b""
    if head.headers.get("transfer-encoding", "").lower().endswith("chunked"):
        return await _chunks(reader)
    length = _length(head)
    if length and not (length.isascii() and length.isdecimal()):
        raise Wrong("malformed", f"Content-Length is {length[:20]!r}")
    wanted = min(BODY, int(length[:12])) if length else BODY
    body = bytearray()
    while len(body) < wanted:
        piece = await reader.read(wanted - len(body))
        if not piece:
            break
        body += piece
    if length and len(body) < wanted:
        raise Wrong("closed", f"closed after {len(body)} of {length[:12]} bytes")
    return bytes(body)


def _length(head: Head) -> str:
    """Content-Length; once, where a proxy repeated the same (RFC 9110 8.6)."""
    values = {one.strip() for one in head.headers.get("content-length", "")[:200].split(",")}
    return values.pop() if len(values) == 1 else head.headers["content-length"]


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body, framing = bytearray(), 0
    try:
        while len(body) < BODY and framing < FRAMING:
            line = await reader.readuntil(b"\n")
            framing += len(line)
            said = line[:64].split(b";")[0].strip()
            size = int(said if said.isalnum() else b"x", 16)  # Python takes a sign and underscores, too
            if size == 0:
                break
            taken = min(size, BODY - len(body))
            body += await reader.readexactly(taken)
            if taken < size:
                break
            framing += len(await reader.readuntil(b"\n"))
    except ValueError:
        raise Wrong("malformed", "a chunk without its size") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise Wrong("closed", f"closed within a chunk, after {len(body)} bytes") from None
    return bytes(body)


def unpacked(body: bytes, head: Head) -> bytes:
    """A body that was sent packed though nobody asked for it: at most BODY bytes of what is in it."""
    for way in reversed(packing(head)[:PACKED]):
        if way not in UNPACKERS:
            return body
        body = UNPACKERS[way](body)
    return body


def packing(head: Head) -> tuple[str, ...]:
    """How the body is packed, as the server says, the last done last."""
    ways = [one.strip() for one in head.headers.get("content-encoding", "").lower().split(",")]
    return tuple(way for way in ways if way not in ("", "identity"))
