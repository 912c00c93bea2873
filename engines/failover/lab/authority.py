"""The lab's own certificate authority: made for one measurement, trusted by its client alone, gone with it."""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from engines.host import certificate

DAYS = 3
JAVA = "changeit"  # the password that every Java trust store has


@dataclass(frozen=True)
class Paper:
    """What https needs, in one folder.

    ca: the authority, PEM. site: the site's chain and key, PEM. java: the authority as a Java trust store.
    pin: SHA-256 of the site's public key in base64, which is how Chromium is told to believe one certificate.
    """

    ca: Path
    site: Path
    java: Path
    pin: str

    def context(self) -> ssl.SSLContext:
        """For the site's servers: HTTP/2 to who asks for it, else HTTP/1.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.site)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


def issued(folder: Path, name: str) -> Paper:
    """An authority and a certificate for `name`, written into `folder`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12

    root, leaf = (certificate.key() for _ in range(2))
    authority = certificate.signed("crashcart lab authority", root, None, root, DAYS)
    site = certificate.signed(name, leaf, authority, root, DAYS)
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    secret = leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = leaf.public_key().public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(public).digest()).decode()
    paper = Paper(folder / "ca.pem", folder / "site.pem", folder / "trust.p12", pin)
    paper.ca.write_bytes(authority.public_bytes(pem))
    paper.site.write_bytes(site.public_bytes(pem) + secret)
    store = [pkcs12.PKCS12Certificate(authority, b"lab")]
    sealed = serialization.BestAvailableEncryption(JAVA.encode())
    paper.java.write_bytes(pkcs12.serialize_java_truststore(store, sealed))
    return paper
