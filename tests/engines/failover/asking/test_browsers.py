"""Sites are judged as browsers judge them: certificates and their chains, HTTP/2, names, odd DNS servers, headers."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from engines.failover.asking import probe
from engines.failover.asking.probe import Probed
from engines.failover.asking.site import SiteParams, host_name
from engines.job.errors import BadParam
from engines.job.params import convert
from tests.engines.failover.asking.test_tls import hello
from tests.engines.failover.stage import Stage

NAME = "shop.test"
NOW = datetime.datetime.now(datetime.UTC)


@dataclass
class Holder:
    """A certificate with its key."""

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    cert: x509.Certificate = field(init=False)

    @property
    def pem(self) -> bytes:
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def secret(self) -> bytes:
        kind = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def made(
    common: str, by: Holder | None = None, *, ca: bool = False, names: tuple[str, ...] = (), old: bool = False
) -> Holder:
    """A certificate signed by `by`, or by itself; an `old` one has an RSA key."""
    holder = Holder(rsa.generate_private_key(65537, 2048) if old else ec.generate_private_key(ec.SECP256R1()))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.cert.subject if by else subject)
        .public_key(holder.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=2))
        .not_valid_after(NOW + datetime.timedelta(days=60))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
    holder.cert = builder.sign((by or holder).key, hashes.SHA256())
    return holder


@pytest.fixture(scope="module")
def root() -> Holder:
    return made("Test Root", ca=True)


@pytest.fixture(scope="module")
def middle(root: Holder) -> Holder:
    return made("Test Issuing CA 1", root, ca=True)


def serving(folder: Path, leaf: Holder, *above: Holder, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    (folder / "server.pem").write_bytes(leaf.pem + b"".join(one.pem for one in above) + leaf.secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def asked(stage: Stage, port: int, **more: object) -> Probed:
    at = stage.names(NAME, ["127.0.0.2"])[1]
    return probe.answer(convert(SiteParams, {"name": NAME, "resolver": [at], "port": port, "timeout": 30} | more))


@pytest.fixture
def ca(tmp_path: Path, root: Holder) -> str:
    (tmp_path / "ca.pem").write_bytes(root.pem)
    return str(tmp_path / "ca.pem")


def test_a_full_chain_is_believed_with_a_ca_file_only(
    stage: Stage, tmp_path: Path, root: Holder, middle: Holder, ca: str
) -> None:
    port = stage.web(hello, "127.0.0.2", context=serving(tmp_path, made(NAME, middle, names=(NAME,)), middle))
    (light,) = asked(stage, port, ca_file=ca).lights
    assert (light.state, light.version) == ("ok", "1.1")
    (light,) = asked(stage, port).lights
    assert light.state == "tls-cert"
    assert "'Test Root'" in light.why
    (light,) = asked(stage, port, insecure=True).lights
    assert light.state == "ok"
    assert light.certificate_days is not None


def test_a_missing_intermediate_is_named_as_such(
    stage: Stage, tmp_path: Path, root: Holder, middle: Holder, ca: str
) -> None:
    port = stage.web(hello, "127.0.0.2", context=serving(tmp_path, made(NAME, middle, names=(NAME,))))
    (light,) = asked(stage, port, ca_file=ca).lights
    assert light.state == "tls-cert"
    assert "intermediate certificate is missing" in light.why
    assert "'Test Issuing CA 1'" in light.why


def test_an_intermediate_in_the_store_is_enough(stage: Stage, tmp_path: Path, middle: Holder) -> None:
    (tmp_path / "middle.pem").write_bytes(middle.pem)
    port = stage.web(hello, "127.0.0.2", context=serving(tmp_path, made(NAME, middle, names=(NAME,))))
    assert asked(stage, port, ca_file=str(tmp_path / "middle.pem")).lights[0].state == "ok"


@pytest.mark.parametrize(("cipher", "state"), [("AES128-SHA", "ok"), ("DHE-RSA-AES128-GCM-SHA256", "tls-error")])
def test_ciphers_are_those_of_browsers(
    stage: Stage, tmp_path: Path, root: Holder, ca: str, cipher: str, state: str
) -> None:
    context = serving(tmp_path, made(NAME, root, names=(NAME,), old=True))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    assert asked(stage, stage.web(hello, "127.0.0.2", context=context), ca_file=ca).lights[0].state == state


def test_a_common_name_alone_is_not_what_browsers_take(stage: Stage, tmp_path: Path, root: Holder, ca: str) -> None:
    port = stage.web(hello, "127.0.0.2", context=serving(tmp_path, made(NAME, root)))
    (light,) = asked(stage, port, ca_file=ca).lights
    assert light.state == "tls-cert"
    assert "common name" in light.why


def test_a_certificate_for_another_name_says_for_which(stage: Stage, tmp_path: Path, root: Holder, ca: str) -> None:
    leaf = made("x", root, names=("parked.example", "*.parked.example"))
    port = stage.web(hello, "127.0.0.2", context=serving(tmp_path, leaf))
    (light,) = asked(stage, port, ca_file=ca).lights
    assert "it is for parked.example, *.parked.example" in light.why


async def second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP/2 and nothing else."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    while wire := await reader.read(65536):
        for event in connection.receive_data(wire):
            if isinstance(event, h2.events.RequestReceived):
                given = dict(event.headers)
                body = f"<title>{given[':authority'].partition(':')[0]}</title>{given.get('x-probe')}".encode()
                head = [(":status", "200"), ("content-type", "text/html"), ("server", "two")]
                connection.send_headers(event.stream_id, head)
                connection.send_data(event.stream_id, body, end_stream=True)
        writer.write(connection.data_to_send())
        await writer.drain()


def test_a_server_that_speaks_http_2_only_is_understood(stage: Stage, tmp_path: Path, root: Holder, ca: str) -> None:
    context = serving(tmp_path, made(NAME, root, names=(NAME,)), alpn=("h2",))
    port = stage.web(second, "127.0.0.2", context=context)
    (light,) = asked(stage, port, ca_file=ca, header=["X-Probe: 7"], expect="7").lights
    assert (light.state, light.version, light.title, light.server) == ("ok", "2", NAME, "two"), light
    assert light.first_byte is not None


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(range(256)) * 4000)
    await writer.drain()
    writer.close()


def test_what_is_no_http_2_has_a_name(stage: Stage, tmp_path: Path, root: Holder, ca: str) -> None:
    context = serving(tmp_path, made(NAME, root, names=(NAME,)), alpn=("h2",))
    (light,) = asked(stage, stage.web(garbage, "127.0.0.2", context=context), ca_file=ca).lights
    assert light.state in ("malformed", "closed", "reset"), light


async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends / to /in, and shows there what it was asked."""
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"GET / "):
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /in?x=1\r\nContent-Length: 0\r\n\r\n")
    else:
        body = b"<title>in</title>" + head
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


def test_redirects_on_the_site_are_followed_at_the_same_address(stage: Stage) -> None:
    port = stage.web(mirror, "127.0.0.2")
    (light,) = asked(stage, port, scheme="http").lights
    assert (light.status, light.redirect) == (302, f"http://{NAME}:{port}/in?x=1")
    (light,) = asked(
        stage,
        port,
        scheme="http",
        follow=True,
        user_agent="Mozilla/5.0 (crashcart)",
        header=["Authorization: Basic eA=="],
        expect="Authorization: Basic eA==",
    ).lights
    assert (light.state, light.status, light.title) == ("ok", 200, "in")
    (light,) = asked(stage, port, scheme="http", follow=True, user_agent="Agent 7", expect="User-Agent: Agent 7").lights
    assert light.state == "ok"


@pytest.mark.parametrize("header", ["nothing", "a b: c", ": x", "X: a\r\nY: b"])
def test_what_is_no_header_is_refused(header: str) -> None:
    with pytest.raises(BadParam) as refused:
        probe.answer(convert(SiteParams, {"name": NAME, "resolver": ["127.0.0.1:1"], "header": [header]}))
    assert refused.value.name == "header"


def test_a_ca_file_that_holds_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing\n")
    for path in (tmp_path / "x.pem", tmp_path / "absent.pem"):
        with pytest.raises(BadParam) as refused:
            probe.answer(convert(SiteParams, {"name": NAME, "resolver": ["127.0.0.1:1"], "ca_file": str(path)}))
        assert refused.value.name == "ca_file"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("straße.de", "xn--strae-oqa.de"),
        ("STRASSE.de", "strasse.de"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("Bücher。example", "xn--bcher-kva.example"),
        ("☕.example", "xn--53h.example"),
        ("i❤.ws", "xn--i-7iq.ws"),
        ("r3---sn-a5.example", "r3---sn-a5.example"),
        ("xn--strae-oqa.de", "xn--strae-oqa.de"),
    ],
)
def test_international_names_are_asked_for_as_browsers_do(given: str, wanted: str) -> None:
    assert host_name(given) == wanted


@pytest.mark.parametrize("manner", ["old", "mute"])
def test_a_dns_server_that_knows_no_edns_is_asked_again_without(stage: Stage, manner: str) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    server, at = stage.names(NAME, ["127.0.0.2", "127.0.0.3"])
    setattr(server, manner, True)
    given = {"name": NAME, "resolver": [at], "scheme": "http", "port": port, "timeout": 4}
    found = probe.answer(convert(SiteParams, given))
    assert found.survives is True, found.verdict


def test_a_proxy_in_the_environment_is_named_without_its_password(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128/")
    _, port = stage.copies(["127.0.0.2"])
    notes = " ".join(asked(stage, port, scheme="http").notes)
    assert "HTTPS_PROXY names a proxy (proxy.example:3128)" in notes
    assert "secret" not in notes
