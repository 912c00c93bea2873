"""What a page says: charsets as browsers take them, titles, and no page that costs more than its bytes."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.failover.asking import http1, http2, page
from engines.failover.asking.http1 import Reply, Wrong
from engines.failover.asking.packed import BODY


@pytest.mark.parametrize(
    ("body", "content_type", "title"),
    [
        ("<title>Bücher</title>".encode(), "text/html", "Bücher"),
        ("<title>Bücher</title>".encode("latin-1"), "text/html; charset=ISO-8859-1", "Bücher"),
        ("<title>10 €</title>".encode("cp1252"), "text/html; charset=latin1", "10 €"),
        ("<title>Магазин</title>".encode("cp1251"), 'text/html; charset="windows-1251"', "Магазин"),
        ("<title>Магазин</title>".encode("koi8-r"), "text/html;charset=KOI8-R", "Магазин"),
        ("<meta charset='shift_jis'><title>店</title>".encode("cp932"), "text/html", "店"),
        (
            "<meta http-equiv=Content-Type content='text/html; charset=gb2312'><title>商店</title>".encode("gb18030"),
            "",
            "商店",
        ),
        (b"\xff\xfe" + "<title>shop</title>".encode("utf-16-le"), "text/html; charset=utf-8", "shop"),
        ("<title>Bücher</title>".encode("latin-1"), "text/html", "Bücher"),
        (b"<title>a &amp; b\n  c</title>", "", "a & b c"),
        (b"<!-- <title>old</title> --><TITLE lang=en>new</TITLE>", "", "new"),
        (b"<titlebar>no</titlebar><title>yes</title>", "", "yes"),
        (b"<p>none</p>", "", ""),
        ("<title>Bücher</title>".encode(), "text/html; charset=punycode", "Bücher"),
        (b"<title>shop</title>", "text/html; charset=zlib", "shop"),
    ],
)
def test_a_title_is_read_as_browsers_read_it(body: bytes, content_type: str, title: str) -> None:
    assert Reply(http1.Head(200, {"content-type": content_type}), body).title() == title


@pytest.mark.parametrize(
    "piece",
    [
        b"<title>",
        b"<title",
        b"<title x",
        b"<title></titl",
        b"<!--",
        b"<!-- -->",
        b"<",
        b"<meta ",
        b"<meta charset=",
        b"&#",
        b"<title/",
        b" ",
        b"\xff",
        b"</title",
    ],
)
@pytest.mark.parametrize("content_type", ["", "text/html; charset=punycode", "text/html; charset=utf-7"])
def test_no_page_costs_more_than_its_bytes(piece: bytes, content_type: str) -> None:
    body = (piece * (BODY // len(piece) + 1))[:BODY]
    began = time.process_time()
    Reply(http1.Head(200, {"content-type": content_type}), body).title()
    Reply(http1.Head(200, {"content-type": content_type}), b"<title>" + body).title()
    assert time.process_time() - began < 10.0  # s; a search that starts anew at each tag takes minutes


def test_a_page_of_titles_without_an_end_is_looked_through_once() -> None:
    began = time.process_time()
    assert page.sent_on("<title>" * 1_000_000) == ""
    assert time.process_time() - began < 15.0  # s; 30 where each looks for its end anew


def test_a_title_ends_at_its_own_end_or_where_no_more_is_looked_at() -> None:
    assert page.title("<title></title><title>b</title>") == ""
    assert page.title("<title>a<title>b</title><title>c</title>") == "a<title>b"
    assert page.title("<title>" + "x" * 20_000 + "</title>") == "x" * page.LONGEST


@given(st.binary(max_size=400), st.text(max_size=60))
def test_no_page_raises(body: bytes, content_type: str) -> None:
    reply = Reply(http1.Head(200, {"content-type": content_type}), body)
    assert len(reply.title()) <= 80
    assert page.text(body, content_type) == reply.text()


def fed(raw: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=http1.HEAD)
    reader.feed_data(raw)
    reader.feed_eof()
    return reader


async def whole(raw: bytes) -> Reply:
    reader = fed(raw)
    head = await http1.read_head(reader, await http1.first_byte(reader))
    return Reply(head, await http1.read_body(reader, head))


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        b"HTTP/1.0 200\r\nContent-Length: 2\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nhi",
        b"\r\n\nHTTP/1.1  200  fine\r\n\r\nhi",
        b"HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\n\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\n0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
        + bytes.fromhex("1f8b08000000000000ffcbc80400ac2a93d802000000"),
    ],
)
async def test_sloppy_servers_are_understood_as_browsers_do(raw: bytes) -> None:
    reply = await whole(raw)
    assert (reply.head.status, reply.text()) == (200, "hi")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18), "HTTP/2 without TLS"),
        (b"HTTP/1.1 200 OK\r\nX: y", "closed within the header"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000, "over 64 KiB"),
        (b"\n" * 100_000, "over 64 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", "Content-Length is '2, 3'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n0\r\n\r\n", "a chunk without its size"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "another protocol"),
    ],
)
async def test_what_is_no_answer_has_a_name(raw: bytes, words: str) -> None:
    with pytest.raises(Wrong) as wrong:
        await whole(raw)
    assert words in wrong.value.why


async def test_a_body_in_chunks_of_one_byte_is_read_no_further_than_it_is_worth() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 300_000
    began = time.process_time()
    reply = await whole(raw)
    assert len(reply.body) > 10_000
    assert time.process_time() - began < 30.0


async def test_a_packed_body_is_no_larger_unpacked_than_another() -> None:
    import gzip

    bomb = gzip.compress(bytes(20 << 20))
    assert len(bomb) < BODY
    reply = await whole(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + bomb)
    assert len(reply.body) == BODY


class Nobody(asyncio.Transport):
    """Takes what is written, and lets it go."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return False


async def over_http_2(raw: bytes) -> Reply:
    reader = fed(raw)
    protocol = asyncio.StreamReaderProtocol(reader)
    writer = asyncio.StreamWriter(Nobody(), protocol, reader, asyncio.get_running_loop())
    return await http2.exchange(reader, writer, "shop.test", "/", "crashcart", (), lambda: None)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


frames = st.builds(frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 4), st.binary(max_size=40))
hello = frame(4, 0, 0, b"") + frame(1, 4, 1, b"\x88")  # SETTINGS, and HEADERS that say :status 200


@given(st.booleans(), st.lists(frames, max_size=12), st.binary(max_size=20))
def test_no_frames_raise_anything_but_their_name(greeted: bool, sent: list[bytes], rest: bytes) -> None:
    try:
        reply = asyncio.run(over_http_2((hello if greeted else b"") + b"".join(sent) + rest))
    except Wrong as wrong:
        assert wrong.state in ("malformed", "closed", "reset")
    else:
        assert 100 <= reply.head.status < 1000


async def test_an_answer_over_http_2_ends_where_it_is_long_enough() -> None:
    data = b"".join(frame(0, 0, 1, bytes(16384)) for _ in range(40))
    assert len((await over_http_2(hello + data)).body) == BODY


@pytest.mark.parametrize("piece", [frame(4, 0, 0, b""), frame(6, 0, 0, bytes(8)), frame(0, 0, 1, b"")])
async def test_frames_without_an_answer_have_an_end(piece: bytes) -> None:
    began = time.process_time()
    with pytest.raises(Wrong):
        await over_http_2(hello + piece * (600_000 // len(piece)))
    assert time.process_time() - began < 60.0


async def test_headers_that_unpack_without_end_are_refused() -> None:
    block = b"\x88" + b"\x40\x01a\x7f\x00" + b"a" * 127 + b"\xbe" * 16000  # one entry, named again and again
    with pytest.raises(Wrong) as wrong:
        await over_http_2(frame(4, 0, 0, b"") + frame(1, 4, 1, block[:16384]))
    assert wrong.value.state == "malformed"
