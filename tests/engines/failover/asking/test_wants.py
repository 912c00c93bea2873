"""Servers that want something of their visitors, a certificate, HTTP/1.1, a cookie, and pages however packed."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import brotli
import h2.config
import h2.connection
import h2.events
import pytest
import zstandard

from engines.failover.asking import http1, packed, probe
from engines.failover.asking.http1 import Head
from engines.failover.asking.leads import leads
from engines.failover.asking.probe import Probed
from engines.failover.asking.request import Asking, HttpRequest
from engines.failover.asking.site import SiteParams
from engines.failover.asking.tls import Handshake
from engines.job.errors import BadParam
from engines.job.params import convert
from tests.engines.failover.asking.test_browsers import Holder, made, serving
from tests.engines.failover.asking.test_tls import hello
from tests.engines.failover.stage import Stage

NAME = "shop.test"
TWO = ["127.0.0.2", "127.0.0.3"]
PAGE = b"<title>a shop</title>" + b"x" * 400


def probed(stage: Stage, port: int, **more: object) -> Probed:
    given = {"name": NAME, "resolver": [stage.names(NAME, TWO)[1]], "port": port, "timeout": 30}
    return probe.answer(convert(SiteParams, given | more))


@pytest.mark.parametrize(
    ("how", "pack"),
    [
        ("br", brotli.compress),
        ("BR", brotli.compress),
        ("zstd", zstandard.compress),
        ("gzip, br", lambda body: brotli.compress(gzip.compress(body))),
        ("deflate,gzip", lambda body: gzip.compress(zlib.compress(body))),
        ("identity", bytes),
        ("br", bytes),
    ],
)
def test_a_page_is_read_however_it_is_packed(how: str, pack: Callable[[bytes], bytes]) -> None:
    head = Head(200, {"content-encoding": how})
    reply = http1.Reply(head, http1.unpacked(pack(PAGE), head))
    assert (reply.title(), reply.unread()) == ("a shop", "")


@pytest.mark.parametrize("how", ["compress", "gzip, sdch"])
def test_what_no_browser_takes_is_said_to_be_unread(how: str) -> None:
    head = Head(200, {"content-encoding": how})
    assert http1.Reply(head, http1.unpacked(b"\x1f\x9d\x90", head)).unread() == how


@pytest.mark.parametrize("how", list(packed.UNPACKERS))
def test_nothing_that_is_packed_becomes_larger_than_a_page(how: str) -> None:
    pack = {"br": brotli.compress, "zstd": zstandard.compress, "deflate": zlib.compress}.get(how, gzip.compress)
    assert len(packed.UNPACKERS[how](pack(bytes(2 << 20)))) == packed.BODY
    assert packed.UNPACKERS[how](b"no such thing") == b"no such thing"


@pytest.fixture(scope="module")
def root() -> Holder:
    return made("Test Root", ca=True)


@pytest.fixture
def site(tmp_path: Path, root: Holder) -> Callable[[ssl.TLSVersion], ssl.SSLContext]:
    """A server that lets nobody in without a certificate of the root's."""
    (tmp_path / "ca.pem").write_bytes(root.pem)
    for name, by in (("mine", root), ("other", None)):
        holder = made(name, by)
        (tmp_path / f"{name}.pem").write_bytes(holder.pem + holder.secret)

    def context(version: ssl.TLSVersion) -> ssl.SSLContext:
        found = serving(tmp_path, made("x", root, names=(NAME,)))
        found.verify_mode, found.maximum_version = ssl.CERT_REQUIRED, version
        found.load_verify_locations(tmp_path / "ca.pem")
        return found

    return context


@contextmanager
def strict(addresses: list[str], context: ssl.SSLContext) -> Iterator[int]:
    """A server whose TLS says why it refuses, on one port of each address."""
    listening = [socket.create_server((addresses[0], 0))]
    port = listening[0].getsockname()[1]
    listening += [socket.create_server((one, port)) for one in addresses[1:]]

    def serve(at: socket.socket) -> None:
        with suppress(OSError):
            while True:
                line = at.accept()[0]
                with suppress(OSError), line, context.wrap_socket(line, server_side=True) as secured:
                    if secured.recv(4096):
                        secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                        secured.unwrap()

    threads = [threading.Thread(target=serve, args=(one,), daemon=True) for one in listening]
    for thread in threads:
        thread.start()
    yield port
    for one, thread in zip(listening, threads, strict=True):
        one.shutdown(socket.SHUT_RDWR)
        one.close()
        thread.join(60)


@pytest.mark.parametrize("alerts", [True, False], ids=["says why", "closes"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_who_asks_for_a_certificate_is_not_called_dead_and_gets_the_one_that_is_named(
    stage: Stage,
    tmp_path: Path,
    site: Callable[[ssl.TLSVersion], ssl.SSLContext],
    version: ssl.TLSVersion,
    alerts: bool,
) -> None:
    with ExitStack() as ended:
        if alerts:
            port = ended.enter_context(strict(TWO, site(version)))
        else:
            port = stage.web(hello, TWO[0], context=site(version))
            stage.web(hello, TWO[1], port, context=site(version))
        given = {"ca_file": str(tmp_path / "ca.pem"), "expect": "hi"}
        found = probed(stage, port, **given)
        assert {light.state for light in found.lights} == {"client-cert"}, found.lights
        assert (found.survives, "--client-cert" in found.verdict) == (None, True)
        if alerts and version is ssl.TLSVersion.TLSv1_2:  # with 1.3 a reset may overtake what it says
            found = probed(stage, port, client_cert=str(tmp_path / "other.pem"), **given)
            assert {light.state for light in found.lights} == {"client-cert"}, found.lights
            assert "not taken" in found.verdict
        found = probed(stage, port, client_cert=str(tmp_path / "mine.pem"), **given)
        assert found.survives is True, found.lights


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize(
    ("asks", "ends"), [(True, True), (True, False), (False, True)], ids=["EOF", "reset", "at once"]
)
def test_a_server_that_would_take_a_certificate_and_breaks_off_is_broken(
    stage: Stage,
    tmp_path: Path,
    site: Callable[[ssl.TLSVersion], ssl.SSLContext],
    version: ssl.TLSVersion,
    asks: bool,
    ends: bool,
) -> None:
    async def crashed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asks:
            await reader.readuntil(b"\r\n\r\n")
        writer.close() if ends else writer.transport.abort()

    context = site(version)
    context.verify_mode = ssl.CERT_OPTIONAL
    port = stage.web(crashed, TWO[0], context=context)
    stage.web(hello, TWO[1], port, context=context)
    found = probed(stage, port, ca_file=str(tmp_path / "ca.pem"), expect="hi")
    assert found.lights[0].state in ("closed", "reset") and found.lights[1].state == "ok", found.lights
    assert found.survives is False


def test_where_the_second_look_hangs_the_first_is_told(
    stage: Stage, tmp_path: Path, site: Callable[[ssl.TLSVersion], ssl.SSLContext]
) -> None:
    context, count, again = site(ssl.TLSVersion.TLSv1_3), itertools.count(), threading.Event()
    context.verify_mode = ssl.CERT_OPTIONAL

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(count):
            again.set()
            await asyncio.Event().wait()  # no handshake for whoever comes again
        with suppress(OSError):
            await writer.start_tls(context)
            await reader.readuntil(b"\r\n\r\n")
        asking.way = replace(way, timeout=0.2)  # enough for a look that never ends
        writer.close()

    port = stage.web(once, TWO[0])
    way = HttpRequest(NAME, port, https=True, timeout=60.0)
    asking = Asking(TWO[0], way, NAME, Handshake(str(tmp_path / "ca.pem")))
    with pytest.raises(http1.Wrong) as wrong:
        asyncio.run(asking.reply())
    assert wrong.value.state in ("closed", "reset") and again.wait(60)


def test_files_that_go_while_a_watch_looks_do_not_end_it(
    tmp_path: Path, site: Callable[[ssl.TLSVersion], ssl.SSLContext]
) -> None:
    site(ssl.TLSVersion.TLSv1_3)
    trust = Handshake(str(tmp_path / "ca.pem"), client_cert=str(tmp_path / "mine.pem"))
    for file in tmp_path.glob("*.pem"):
        file.unlink()
    assert trust.older is not trust.context


def test_what_is_no_certificate_with_a_key_is_refused_without_asking_for_a_passphrase(
    tmp_path: Path, root: Holder
) -> None:
    from cryptography.hazmat.primitives import serialization

    kind, locked = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    key = root.key.private_bytes(serialization.Encoding.PEM, kind, locked)
    for content in (b"", root.pem, root.pem + key):
        (tmp_path / "given.pem").write_bytes(content)
        with pytest.raises(BadParam) as refused:
            Handshake(client_cert=str(tmp_path / "given.pem"))
        assert "without a passphrase" in str(refused.value)


@pytest.mark.parametrize("farewell", [True, False], ids=["GOAWAY", "RST_STREAM"])
def test_a_page_that_is_given_over_http_1_1_only_is_asked_for_again(
    stage: Stage, tmp_path: Path, root: Holder, farewell: bool
) -> None:
    async def either(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            return await hello(reader, writer)
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while wire := await reader.read(65536):
            for event in connection.receive_data(wire):
                if isinstance(event, h2.events.RequestReceived) and farewell:
                    connection.close_connection(13)
                elif isinstance(event, h2.events.RequestReceived):
                    connection.reset_stream(event.stream_id, 13)
            writer.write(connection.data_to_send())
            await writer.drain()
        return None

    (tmp_path / "ca.pem").write_bytes(root.pem)
    context = serving(tmp_path, made("x", root, names=(NAME,)), alpn=("h2", "http/1.1"))
    port = stage.web(either, TWO[0], context=context)
    stage.web(either, TWO[1], port, context=context)
    found = probed(stage, port, ca_file=str(tmp_path / "ca.pem"), expect="hi")
    assert (found.survives, found.lights[0].version) == (True, "1.1"), found.lights


@pytest.mark.parametrize(
    ("keeps", "follow", "survives"), [(True, True, True), (True, False, None), (False, True, None)]
)
def test_a_site_that_sets_a_cookie_and_sends_on_to_itself_is_followed(
    stage: Stage, keeps: bool, follow: bool, survives: bool | None
) -> None:
    count = itertools.count()

    async def gate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if keeps and b"Cookie: a=1; seen=yes\r\n" in asked:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
        else:
            name = b"seen=yes" if keeps else b"n%d=1" % next(count)
            lines = b"Set-Cookie: a=1\r\nSet-Cookie: " + name + b"; Path=/; HttpOnly\r\nLocation: /\r\n"
            writer.write(b"HTTP/1.1 302 Found\r\n" + lines + b"Content-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    port = stage.web(gate, TWO[0])
    stage.web(gate, TWO[1], port)
    found = probed(stage, port, scheme="http", follow=follow)
    assert found.survives is survives, found.verdict


def test_what_a_dns_filter_answers_is_no_copy_though_this_machine_serves_something(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.1", "127.0.0.3"])
    at = stage.names(NAME, ["0.0.0.0", "127.0.0.3"])[1]
    given = {"name": NAME, "resolver": [at], "port": port, "timeout": 30, "scheme": "http"}
    found = probe.answer(convert(SiteParams, given))
    assert [light.state for light in found.lights] == ["refused", "ok"]
    assert found.survives is False and any("nobody's address" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("https://bücher.test/", "https://xn--bcher-kva.test/", "https://xn--bcher-kva.test/"),
        ("https://BÜCHER.test./ä?q=ü", "//bücher.test/%c3%a4?q=%C3%BC", "https://xn--bcher-kva.test/%C3%A4?q=%C3%BC"),
        (r"\\shop.test\a", "/a ", "https://shop.test/a"),
        (r"/a?b=\c", r"a?b=\c", r"https://shop.test/a?b=\c"),
    ],
)
def test_two_spellings_of_where_a_redirect_leads_are_alike(one: str, other: str, wanted: str) -> None:
    for location in (one, other):
        head = Head(302, {"location": location.encode().decode("latin-1")})
        assert leads(http1.Reply(head, b""), "https://shop.test/") == wanted
