"""Certificates of our own authority are believed by who reads them as strictly as RFC 5280 lets them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from engines.host import certificate

NAME = "web1.example"
PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and both.pem: a certificate for both ends, with its key."""
    folder = tmp_path_factory.mktemp("papers")
    root, leaf = certificate.key(), certificate.key()
    authority = certificate.signed("an authority", root, None, root, 3)
    member = certificate.signed(NAME, leaf, authority, root, 3, client=True)
    secret = leaf.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(authority.public_bytes(PEM))
    (folder / "both.pem").write_bytes(member.public_bytes(PEM) + secret)
    return folder


def strict(papers: Path, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # the defaults of Python 3.13
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(papers / "ca.pem")
    context.load_cert_chain(papers / "both.pem")
    return context


def test_both_ends_believe_each_other_when_they_are_strict(papers: Path) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = strict(papers, ssl.PROTOCOL_TLS_SERVER).wrap_bio(to_server, to_client, server_side=True)
    client = strict(papers, ssl.PROTOCOL_TLS_CLIENT).wrap_bio(to_client, to_server, server_hostname=NAME)
    waiting = [client, server]
    for _ in range(8):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting
    assert client.getpeercert() and server.getpeercert()
