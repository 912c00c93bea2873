"""Copies that visitors would tell apart are never called yes, however they differ; those that are alike are."""

from __future__ import annotations

import asyncio
import itertools
import zlib
from functools import partial

import pytest

from engines.failover.asking import http1, page, probe
from engines.failover.asking.leads import leads
from engines.failover.asking.probe import Probed
from engines.failover.asking.site import SiteParams
from engines.failover.lab.nameserver import question
from engines.job.params import convert
from tests.engines.failover.asking.test_dns import respond
from tests.engines.failover.asking.test_verdict import https
from tests.engines.failover.stage import Handler, Stage

NAME = "shop.test"
TWO = ["127.0.0.2", "127.0.0.3"]
SHOP = b"<title>a shop</title>"
CLOSED = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n%s\r\n"


def said(body: bytes = SHOP, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def giving(raw: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    return handler


def probed(stage: Stage, first: bytes, second: bytes, **more: object) -> Probed:
    port = stage.web(giving(first), TWO[0])
    stage.web(giving(second), TWO[1], port)
    given = {"name": NAME, "resolver": [stage.names(NAME, TWO)[1]], "scheme": "http", "port": port, "timeout": 20}
    return probe.answer(convert(SiteParams, given | more))


def squeezed(body: bytes) -> bytes:
    """Deflate without zlib's header, as some servers send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (said(b'<meta http-equiv="refresh" content="0; url=https://parked.example/">' + SHOP), "to https://parked"),
        (said(b"<META content='5;URL=\"/sorry\"' HTTP-EQUIV=Refresh>" + SHOP), "/sorry"),
        (said(SHOP, b"Refresh: 0;url=https://parked.example/"), "to https://parked"),
        (said(b"<title>" + b"x" * 120 + b" B</title>"), "title"),
        (said(b""), "none"),
        (said(bytes(range(256)), b"Content-Encoding: br"), "none"),
    ],
)
def test_what_visitors_would_tell_apart_is_not_alike(stage: Stage, second: bytes, words: str) -> None:
    found = probed(stage, said(), second)
    assert found.survives is None
    assert words in found.verdict


def test_titles_that_differ_far_behind_are_shown_where_they_differ(stage: Stage) -> None:
    long = b"x" * 120
    found = probed(stage, said(b"<title>" + long + b" A</title>"), said(b"<title>" + long + b" B</title>"))
    assert "x A'" in found.verdict
    assert "x B'" in found.verdict


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (said(SHOP, b"Set-Cookie: id=1"), said(SHOP, b"Set-Cookie: id=2", b"Server: other")),
        (said(), said(squeezed(SHOP), b"Content-Encoding: deflate")),
        (said(), said(b'<meta charset="utf-16">' + SHOP)),
        (said(), said(b"<script>let t = '<title>no</title>'</script>" + SHOP)),
        (said(), said(b'<noscript><meta http-equiv=refresh content="0;url=/old"></noscript>' + SHOP)),
        (said(), said(b'<meta http-equiv="refresh" content="300">' + SHOP)),
        (said(), said(b'<!-- <meta http-equiv="refresh" content="0;url=/x"> -->' + SHOP)),
        (said(), said(b"", b"X: y").replace(b"Content-Length: 0", b"Content-Length: 21, 21") + SHOP),
        (said(), said().replace(b"HTTP/1.1", b"http/1.0")),
        (said(), said(SHOP, status=b"203 Non-Authoritative Information")),
        (
            CLOSED % (b"301 Moved", b"Location: https://x.test/%7ea%c3%bc\r\n"),
            CLOSED % (b"302 Found", b"Location:\r\n https://X.test:443/~a%C3%BC\r\n"),
        ),
    ],
)
def test_what_visitors_would_not_tell_apart_is_alike(stage: Stage, first: bytes, second: bytes) -> None:
    found = probed(stage, first, second)
    assert found.survives is True, found.verdict


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (CLOSED % (b"302 Found", b"Location: /\r\n"), "back to the same page"),
        (CLOSED % (b"301 Moved", b""), "without saying where to"),
        (said(status=b"403 Forbidden"), "403"),
        (said(status=b"429 Too Many Requests"), "429"),
    ],
)
def test_copies_that_give_no_page_prove_nothing(stage: Stage, answer: bytes, words: str, follow: bool) -> None:
    found = probed(stage, answer, answer, follow=follow)
    assert found.survives is None
    assert words in found.verdict
    assert "--path" in found.verdict


def test_other_ways_in_that_copies_name_are_told_as_not_tried(stage: Stage) -> None:
    line = b'Alt-Svc: h3=":443"; ma=86400, h2="alt.shop.test:8443"'
    found = probed(stage, said(SHOP, line), said(SHOP, line))
    (note,) = [note for note in found.notes if "not tried" in note]
    assert "HTTP/3 (UDP) at the same name, port 443; h2 at alt.shop.test, port 8443" in note
    assert found.survives is True
    found = probed(stage, said(SHOP, b"Alt-Svc: clear"), said(SHOP, b'Alt-Svc: \xff;;=,"":'))
    assert not any("not tried" in note for note in found.notes)


ODD = ("http://[x/", "//[::1", "http://a]b/", "http://shop.test:99999/")


@pytest.mark.parametrize("follow", [False, True])
def test_what_is_no_url_is_told_as_it_was_sent(stage: Stage, follow: bool) -> None:
    moved, refreshed = ODD[0].encode(), b'<meta http-equiv="refresh" content="0; url=//[::1">'
    found = probed(
        stage, CLOSED % (b"302 Found", b"Location: " + moved + b"\r\n"), said(refreshed + SHOP), follow=follow
    )
    assert [light.redirect for light in found.lights] == ["http://[x/", "//[::1"]
    assert found.survives is not True


@pytest.mark.parametrize("odd", ODD)
def test_a_redirect_or_refresh_to_what_is_no_url_leads_there(odd: str) -> None:
    for reply in (
        http1.Reply(http1.Head(302, {"location": odd}), b""),
        http1.Reply(http1.Head(200, {"refresh": f"0;url={odd}"}), b""),
        http1.Reply(http1.Head(200, {}), f"<meta http-equiv=refresh content='0;url={odd}'>".encode()),
    ):
        assert leads(reply, f"http://{NAME}/") == odd


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("0;url=/a", "/a"),
        ("0; URL = '/a'", "/a"),
        ("3,https://x.test/?a;b", "https://x.test/?a;b"),
        (".5 /a", "/a"),
        ("60", ""),
        ("", ""),
        ("url=/a", ""),
        ("0; url=", ""),
        ("0;url=''", ""),
        ("0 , url=/a", "/a"),
    ],
)
def test_where_refresh_leads(value: str, url: str) -> None:
    assert page.refreshed(value) == url


def a_records(addresses: tuple[str, ...], query: bytes) -> bytes:
    return respond(query, *(f"{NAME}. 60 A {one}" for one in addresses if question(query)[1] == 1))


def seen_by(stage: Stage, *views: tuple[str, ...], lame: str = "", parked: tuple[str, ...] = ()) -> Probed:
    """Each resolver gives addresses of its own; all of them but `lame` answer, `parked` with another site."""
    every = [one for one in dict.fromkeys(itertools.chain(*views)) if one != lame]
    copies, port = stage.copies(every)
    for copy, address in zip(copies, every, strict=True):
        copy.title = "parked" if address in parked else "a shop"
    at = [stage.odd_names(partial(a_records, view)) for view in views]
    return probe.answer(
        convert(SiteParams, {"name": NAME, "resolver": at, "scheme": "http", "port": port, "timeout": 20})
    )


def test_three_addresses_with_a_lame_one_carry_the_site_while_two_are_alike(stage: Stage) -> None:
    three = (*TWO, "127.0.0.4")
    found = seen_by(stage, three, lame="127.0.0.4")
    assert found.survives is True
    assert any("127.0.0.4 cannot carry the site" in reason for reason in found.reasons)
    assert seen_by(stage, three, parked=("127.0.0.4",)).survives is None


def test_views_that_show_different_sites_are_not_called_yes(stage: Stage) -> None:
    """GeoDNS: whoever asks the second resolver finds two copies that are alike, of something else."""
    views = (("127.0.0.2", "127.0.0.3"), ("127.0.0.4", "127.0.0.5"))
    assert seen_by(stage, *views).survives is True
    found = seen_by(stage, *views, parked=views[1])
    assert found.survives is None
    assert "different sites" in found.verdict
    assert "parked" in found.verdict


@pytest.mark.parametrize(
    ("value", "addresses", "survives"),
    [
        ("0 cdn.example.", ("127.0.0.2",), True),
        ("0 cdn.example.", ("127.0.0.9",), None),
        ("1 cdn.example. alpn=h2", ("127.0.0.2", "127.0.0.9"), None),
        ("1 cdn.example. port=8443", ("127.0.0.9",), True),
        ("0 cdn.example.", (), True),
    ],
)
def test_where_https_records_lead_is_looked_at(
    stage: Stage, value: str, addresses: tuple[str, ...], survives: bool | None
) -> None:
    """An alias with addresses is followed; one without, or on another port, is told."""

    def zone(query: bytes) -> bytes:
        name, kind, _ = question(query)
        if name != "cdn.example":
            return https(query, value)
        return respond(query, *(f"cdn.example. 60 A {one}" for one in addresses)) if kind == 1 else respond(query)

    _, port = stage.copies(TWO)
    given = {"name": NAME, "resolver": [stage.odd_names(zone)], "scheme": "http", "port": port, "timeout": 20}
    found = probe.answer(convert(SiteParams, given))
    assert found.survives is survives, found.verdict
    assert any("to cdn.example" in note for note in found.notes)
