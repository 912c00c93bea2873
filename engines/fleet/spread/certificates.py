"""The papers of a cluster: its own authority, and a certificate for each of its members."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from engines.host.files import write_whole
from engines.job.errors import Refused

YEARS = 10  # of the authority
DAYS = 825  # of a member's certificate
AUTHORITY = ("ca.pem", "ca-key.pem")


def issue(folder: Path, name: str) -> Path:
    """A certificate for `name` in a folder of that name, by the authority in `folder`, which is made if it lacks.

    The new folder has ca.pem, cert.pem and key.pem. Raises Refused.
    """
    place = folder / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / AUTHORITY[1]).exists():
            _found(folder)
        place.mkdir(mode=0o700)
        _member(folder, place, name)
    except FileExistsError:
        raise Refused(f"{place} is there already", "give it another name, or move that folder away") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{folder}: {error}", "name a folder of yours that has room") from None
    return place


def _found(folder: Path) -> None:
    key = _key()
    made = _signed("crashcart fleet authority", key, None, key, YEARS * 365)
    write_whole(folder / AUTHORITY[1], _secret(key))
    write_whole(folder / AUTHORITY[0], _pem(made))


def _member(folder: Path, place: Path, name: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    authority = (folder / AUTHORITY[0]).read_bytes()
    signer = load_pem_private_key((folder / AUTHORITY[1]).read_bytes(), None)
    key = _key()
    made = _signed(name, key, x509.load_pem_x509_certificate(authority), signer, DAYS)
    write_whole(place / "key.pem", _secret(key))
    write_whole(place / "cert.pem", _pem(made))
    write_whole(place / "ca.pem", authority)


def expires(certificate: Path) -> datetime.datetime:
    """When a certificate ends to be one. Raises OSError, ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _secret(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization as forms

    made: bytes = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return made


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    made: bytes = certificate.public_bytes(Encoding.PEM)
    return made


def _signed(common: str, key: Any, above: Any, signer: Any, days: int) -> Any:
    """A certificate; without one above it, an authority's own."""
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
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=above is None, path_length=0 if above is None else None), critical=True)
    )
    if above is not None:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(common)]), critical=False)
        built = built.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return built.sign(signer, hashes.SHA256())
