"""Manners of servers and machines in the field that a browser copes with, and a probe therefore does."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import itertools
from pathlib import Path

import dns.flags
import dns.message
import h2.config
import h2.connection
import h2.events
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engines.failover.asking import probe, records
from engines.failover.asking.dns_answer import Answer
from engines.failover.asking.records import View
from engines.failover.asking.site import SiteParams, host_name, proxies, servers
from engines.failover.lab.nameserver import question
from engines.job.errors import BadParam
from engines.job.params import convert
from tests.engines.failover.asking.test_browsers import Holder, asked, serving
from tests.engines.failover.asking.test_dns import respond
from tests.engines.failover.asking.test_tls import hello
from tests.engines.failover.stage import Reply, Stage

NAME = "shop.test"
NOW = datetime.datetime.now(datetime.UTC)


def made(by: Holder | None, *names: str, ca: str = "", begins: int = -2, ends: int = 60) -> Holder:
    """A certificate for hosts and addresses, valid from and until so many days from now."""
    holder = Holder(ec.generate_private_key(ec.SECP256R1()))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ca or "x")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.cert.subject if by else subject)
        .public_key(holder.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=begins))
        .not_valid_after(NOW + datetime.timedelta(days=ends))
        .add_extension(x509.BasicConstraints(ca=bool(ca), path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
    holder.cert = builder.sign((by or holder).key, hashes.SHA256())
    return holder


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.mark.parametrize(
    ("name", "names", "wrong"),
    [
        ("a.shop.test", ("*.shop.test",), ""),
        ("a.b.shop.test", ("*.shop.test",), "it is for *.shop.test"),
        ("shop.test", ("*.test",), "it is for *.test"),
        ("shop.test", ("*.shop.test",), "it is for *.shop.test"),
        ("shop.example.test", ("s*.example.test",), "it is for s*.example.test"),
        ("my_shop.test", ("my_shop.test",), ""),
        ("shop.test", ("127.0.0.2",), "it is for 127.0.0.2"),
    ],
)
def test_a_certificate_is_for_the_names_that_browsers_take_it_for(
    stage: Stage, tmp_path: Path, name: str, names: tuple[str, ...], wrong: str
) -> None:
    root = made(None, ca="Test CA 1")
    (tmp_path / "ca.pem").write_bytes(root.pem)
    port = stage.web(hello, "127.0.0.2", context=serving(tmp_path, made(root, *names)))
    at = stage.names(name, ["127.0.0.2"])[1]
    given = {"name": name, "resolver": [at], "port": port, "timeout": 20, "ca_file": str(tmp_path / "ca.pem")}
    (light,) = probe.answer(convert(SiteParams, given)).lights
    assert light.state == ("tls-cert" if wrong else "ok")
    assert wrong in light.why


def test_a_certificate_out_of_time_says_which_and_when(stage: Stage, tmp_path: Path) -> None:
    root = made(None, ca="Test CA 1")
    middle = made(root, ca="Test CA 7", ends=-1)
    (tmp_path / "ca.pem").write_bytes(root.pem)
    for leaf, above, words in (
        (made(root, NAME, ends=-1), (), ("expired", f"{NOW - datetime.timedelta(days=1):%Y-%m-%d}")),
        (made(root, NAME, begins=3), (), ("not yet valid", f"{NOW + datetime.timedelta(days=3):%Y-%m-%d}", "clock")),
        (made(middle, NAME), (middle,), ("expired", "of the issuer 'Test CA 7'")),
    ):
        port = stage.web(hello, "127.0.0.2", context=serving(tmp_path, leaf, *above))
        (light,) = asked(stage, port, ca_file=str(tmp_path / "ca.pem"), timeout=20).lights
        assert light.state == "tls-cert"
        assert all(word in light.why for word in words), light.why


@pytest.mark.parametrize("early", [True, False])
def test_an_http_2_server_that_says_farewell_is_heard_out(stage: Stage, tmp_path: Path, early: bool) -> None:
    """RFC 9113 6.8: GOAWAY without an error lets the answers that are under way be finished."""

    async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while wire := await reader.read(65536):
            for event in connection.receive_data(wire):
                if isinstance(event, h2.events.RequestReceived):
                    last = 2**31 - 1 if early else event.stream_id
                    goaway = b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + bytes(4)
                    writer.write(goaway if early else b"")
                    connection.send_headers(event.stream_id, [(":status", "200")])
                    writer.write(connection.data_to_send() + (b"" if early else goaway))
                    connection.send_data(event.stream_id, b"<title>a shop</title>", end_stream=True)
            writer.write(connection.data_to_send())
            await writer.drain()

    root = made(None, ca="Test CA 1")
    (tmp_path / "ca.pem").write_bytes(root.pem)
    port = stage.web(farewell, "127.0.0.2", context=serving(tmp_path, made(root, NAME), alpn=("h2",)))
    (light,) = asked(stage, port, ca_file=str(tmp_path / "ca.pem"), timeout=20).lights
    assert (light.state, light.title, light.version) == ("ok", "a shop", "2"), light.why


def given(query: bytes) -> bytes:
    return respond(query, *(f"{NAME}. 60 A 127.0.0.{at}" for at in (2, 3)) if question(query)[1] == 1 else ())


def unless_edns(answer: Reply) -> Reply:
    return lambda query: answer(query) if dns.message.from_wire(query).edns >= 0 else given(query)


@pytest.mark.parametrize(
    "reply",
    [
        unless_edns(lambda query: query[:2] + b"\x81\x81" + bytes(8)),
        unless_edns(lambda query: respond(query, rcode=4)),
        unless_edns(lambda query: respond(query, rcode=5)),
        unless_edns(lambda query: respond(query, rcode=16)),
        lambda query: given(query) + bytes(3),
        lambda query: respond(query, rcode=2) if question(query)[1] in (28, 65) else given(query),
        lambda query: respond(query, rcode=3) if question(query)[1] in (28, 65) else given(query),
    ],
    ids=["bare FORMERR", "NOTIMP", "REFUSED", "BADVERS", "bytes behind", "SERVFAIL for AAAA", "NXDOMAIN for AAAA"],
)
def test_dns_servers_with_manners_of_their_own_are_understood(stage: Stage, reply: Reply) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    params = {"name": NAME, "resolver": [stage.odd_names(reply)], "scheme": "http", "port": port, "timeout": 20}
    found = probe.answer(convert(SiteParams, params))
    assert found.survives is True, found.verdict


def unless_checked(query: bytes) -> bytes:
    """A resolver that validates, and a zone whose signatures do not hold."""
    return given(query) if dns.message.from_wire(query).flags & dns.flags.CD else respond(query, rcode=2)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (unless_checked, "signatures do not hold"),
        (lambda query: respond(query, rcode=3) if question(query)[1] == 28 else given(query), "no such name for AAAA"),
        (lambda query: respond(query, rcode=2) if question(query)[1] == 28 else given(query), "SERVFAIL for AAAA"),
    ],
    ids=["bogus", "NXDOMAIN for AAAA", "SERVFAIL for AAAA"],
)
def test_what_dns_does_to_some_visitors_only_is_noted(stage: Stage, reply: Reply, words: str) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    params = {"name": NAME, "resolver": [stage.odd_names(reply)], "scheme": "http", "port": port, "timeout": 20}
    assert any(words in note for note in probe.answer(convert(SiteParams, params)).notes)


def test_a_server_that_is_named_for_the_zone_and_does_not_know_it_is_lame() -> None:
    answers = tuple(Answer(kind=kind, state="no record") for kind in ("A", "AAAA", "HTTPS"))
    found = records.gather(NAME, [View(server="192.0.2.1", role="authoritative", order="", answers=answers)])
    assert any("lame" in note for note in found.notes)


def test_a_failure_that_passes_is_no_wrong_signature(stage: Stage) -> None:
    """Both ways of asking fail, then all is well: only who fails again when signatures are checked again is bogus."""
    asked = itertools.count()
    at = stage.odd_names(lambda query: given(query) if next(asked) > 1 else respond(query, rcode=2))
    (server,) = servers((at,))
    found = asyncio.run(records.ask(server, NAME, "A", 60))
    assert (found.state, found.why) == ("SERVFAIL", "") and next(asked) == 4


SPOILT = b"\x1f\x8b" + b"x" * 10


@pytest.mark.parametrize(
    ("begin", "body", "state"),
    [
        (b"200 OK", SPOILT, "malformed"),
        (b"200 OK", gzip.compress(gzip.compress(b"a dump")), "ok"),
        (b"302 Found\r\nLocation: /shop", SPOILT, "ok"),
    ],
    ids=["spoilt", "a .gz packed once more", "a redirect's page"],
)
def test_a_page_that_cannot_be_unpacked_carries_no_site(stage: Stage, begin: bytes, body: bytes, state: str) -> None:
    async def spoilt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 %s\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % (begin, len(body))
        writer.write(head + body)
        await writer.drain()
        writer.close()

    port = stage.web(spoilt, "127.0.0.2")
    at = stage.names(NAME, ["127.0.0.2"])[1]
    params = {"name": NAME, "resolver": [at], "scheme": "http", "port": port, "timeout": 20}
    (light,) = probe.answer(convert(SiteParams, params)).lights
    assert light.state == state
    assert ("cannot be unpacked" in light.why) == (state == "malformed")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("XN--BCHER-KVA.example.", "xn--bcher-kva.example"),
        ("نامه\u200cای.com", "xn--mgba3gch31f060k.com"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("ｓｈｏｐ.test", "shop.test"),
        ("fa\u00df\u3002de", "xn--fa-hia.de"),
        ("my_shop.test", "my_shop.test"),
        ("שלום.test", "xn--9dbne9b.test"),
    ],
)
def test_names_that_browsers_take_are_taken(text: str, wanted: str) -> None:
    assert host_name(text) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shop.test:8443", "--port"),
        ("127.1", "for an address"),
        ("0x7f000001", "for an address"),
        ("１２７.０.０.１", "for an address"),
        ("a\u200db.test", "Joiner"),
        ("shop.test..", "correct"),
        ("-a.test", "correct"),
    ],
)
def test_names_that_browsers_refuse_are_refused_with_what_helps(text: str, words: str) -> None:
    with pytest.raises(BadParam) as refused:
        host_name(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"http_proxy": "http://[bad"}, "http_proxy"),
        ({"ALL_PROXY": "socks5://u:p@h:1"}, "(h:1)"),
        ({"HTTPS_PROXY": "proxy:3128", "NO_PROXY": "localhost,.test"}, ""),
        ({"https_proxy": "proxy:3128", "no_proxy": "*"}, ""),
        ({"https_proxy": "proxy:3128", "no_proxy": "other.test"}, "(proxy:3128)"),
    ],
)
def test_a_proxy_is_named_unless_clients_go_past_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notes = " ".join(proxies(NAME))
    assert words in notes
    assert bool(notes) == bool(words)
