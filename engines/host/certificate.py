"""X.509 certificates by an authority of our own, as RFC 5280 has them."""

from __future__ import annotations

import datetime
from typing import Any


def key() -> Any:
    """A private key on P-256."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def signed(common: str, key: Any, above: Any, signer: Any, days: int, *, client: bool = False) -> Any:
    """A server's certificate, for a client as well where `client`; an authority's own without one `above` it.

    `key` is whose it is and `signer` the authority's. It is valid from the day before, since clocks differ.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=above is None, path_length=0 if above is None else None), critical=True)
        .add_extension(_uses(ca=above is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if above is not None:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(common)]), critical=False)
        built = built.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return built.sign(signer, hashes.SHA256())


def _uses(*, ca: bool) -> Any:
    """To sign certificates, or to shake hands: a strict reader, as Python 3.13 is by itself, asks for it."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
