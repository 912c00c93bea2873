"""TLS at each address: a certificate's days, and a name for each way it can be wrong."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engines.failover.asking import probe
from engines.failover.asking.probe import Probed
from engines.failover.asking.site import SiteParams
from engines.job.params import convert
from tests.engines.failover.stage import Stage

NAME = "shop.test"
NOW = datetime.datetime.now(datetime.UTC)


def certificate(folder: Path, name: str, days: int, trusted: bool = True) -> ssl.SSLContext:
    """A self-signed certificate that ends in `days`; a trusted one goes into the trust store at folder/trust.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=90))
        .not_valid_after(NOW + datetime.timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + secret)
    (folder / "trust.pem").write_bytes(pem if trusted else b"")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    await writer.drain()
    writer.close()


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


def probed(stage: Stage, port: int, timeout: int = 20) -> Probed:
    at = stage.names(NAME, ["127.0.0.2"])[1]
    return probe.answer(convert(SiteParams, {"name": NAME, "resolver": [at], "port": port, "timeout": timeout}))


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trust.pem"))
    return tmp_path


def test_a_good_certificate_is_told_with_its_days(stage: Stage, trust: Path) -> None:
    port = stage.web(hello, "127.0.0.2", context=certificate(trust, NAME, 41))
    (light,) = probed(stage, port).lights
    assert (light.state, light.certificate_days, light.status) == ("ok", 41, 200)
    assert light.tls is not None


def test_a_certificate_that_ends_soon_is_noted(stage: Stage, trust: Path) -> None:
    port = stage.web(hello, "127.0.0.2", context=certificate(trust, NAME, 5))
    assert any("ends in 5 days" in note for note in probed(stage, port).notes)


@pytest.mark.parametrize(
    ("name", "days", "trusted", "why"),
    [(NAME, -1, True, "expired"), ("other.test", 30, True, "mismatch"), (NAME, 30, False, "self")],
)
def test_a_wrong_certificate_has_its_reason(
    stage: Stage, trust: Path, name: str, days: int, trusted: bool, why: str
) -> None:
    context = certificate(trust, name, days, trusted)
    if not trusted:
        trust.joinpath("trust.pem").write_bytes((Path(ssl.get_default_verify_paths().openssl_cafile)).read_bytes())
    (light,) = probed(stage, stage.web(hello, "127.0.0.2", context=context)).lights
    assert light.state == "tls-cert"
    assert why in light.why


def test_tls_that_never_answers_and_a_server_without_tls_differ(stage: Stage, trust: Path) -> None:
    certificate(trust, NAME, 30)
    assert probed(stage, stage.web(mute, "127.0.0.2"), timeout=5).lights[0].state == "tls-hang"
    assert probed(stage, stage.web(plain, "127.0.0.2")).lights[0].state == "tls-error"
