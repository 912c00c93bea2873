"""Certificates that a cluster lets in no more: a list signed by its authority, to which each connection is held."""

from __future__ import annotations

import datetime
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engines.host.files import partials, write_whole
from engines.job.errors import Refused

DENIED = "denied.pem"  # a certificate revocation list (RFC 5280), in the authority's folder and beside each cert.pem
ISSUED = "issued"  # of the authority: a line a certificate, its number and whose it is
LINE = re.compile(r"([0-9a-f]{1,40}) (\S+)")


def issued(folder: Path, name: str, number: int) -> None:
    """Note that a certificate was made, so that it can be denied when its file is gone. Raises OSError."""
    path = folder / ISSUED
    before = path.read_text() if path.exists() else ""
    _write(path, f"{before}{number:x} {name}\n".encode(), 0o600)


def deny(folder: Path, name: str, signer: Any) -> int:
    """Deny every certificate that `name` was ever given; how many are new. signer: the authority's private key.

    The list is written in the authority's folder and in that of each member below it. Raises Refused, OSError,
    ValueError.
    """
    numbers = _numbers(folder, name)
    if not numbers:
        why = f"the authority in {folder} has made no certificate for {name}"
        raise Refused(why, "see whom it made one for: its folders; where that is lost, make a new authority")
    before = _read(folder / DENIED)
    known = {entry.serial_number: entry.revocation_date_utc for entry in before or ()}
    now = datetime.datetime.now(datetime.UTC)
    made = _signed(folder, {**dict.fromkeys(numbers, now), **known}, _count(before) + 1, signer)
    _write(folder / DENIED, made, 0o644)
    for place in members(folder):
        spread(folder, place)
    return len(numbers - known.keys())


def members(folder: Path) -> list[Path]:
    """The folders of members that lie in the authority's."""
    return sorted(each.parent for each in folder.glob("*/cert.pem") if not each.parent.name.startswith("."))


def spread(folder: Path, place: Path) -> None:
    """Put the authority's list, where it has one, beside a member's papers; it is no secret. Raises OSError."""
    if (folder / DENIED).exists():
        _write(place / DENIED, (folder / DENIED).read_bytes(), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all; what killed ones left goes, since one at a time writes here."""
    for left in partials(path):
        left.unlink(missing_ok=True)
    write_whole(path, content, mode)


def unfit(folder: Path) -> str:
    """Why the list beside a member's papers holds nobody off; empty where it does, and where there is none.

    Raises OSError, ValueError, TypeError where a paper cannot be read.
    """
    from cryptography import x509

    if (found := _read(folder / DENIED)) is None:
        return ""
    above = x509.load_pem_x509_certificates((folder / "ca.pem").read_bytes())
    above += x509.load_pem_x509_certificates((folder / "cert.pem").read_bytes())[1:]
    if not any(found.issuer == each.subject and found.is_signature_valid(each.public_key()) for each in above):
        return f"{DENIED} is of another authority than ca.pem"
    ends = found.next_update_utc
    return f"{DENIED} ended {ends:%Y-%m-%d}" if ends and ends < datetime.datetime.now(datetime.UTC) else ""


def count(folder: Path) -> int:
    """How many are denied. Raises OSError, ValueError."""
    return len(list(_read(folder / DENIED) or ()))


def hold_to(context: ssl.SSLContext, folder: Path) -> None:
    """Have a handshake fail with whoever shows a denied certificate. Raises OSError where the list is damaged."""
    if (folder / DENIED).exists():
        context.load_verify_locations(folder / DENIED)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _numbers(folder: Path, name: str) -> set[int]:
    from cryptography import x509

    lines = (folder / ISSUED).read_text().splitlines() if (folder / ISSUED).exists() else []
    found = {int(match[1], 16) for line in lines if (match := LINE.fullmatch(line)) and match[2] == name}
    paper = folder / name / "cert.pem"  # made before there was a list of those
    if paper.exists():
        found.add(x509.load_pem_x509_certificate(paper.read_bytes()).serial_number)
    return found


def _read(path: Path) -> Any:
    from cryptography import x509

    return x509.load_pem_x509_crl(path.read_bytes()) if path.exists() else None


def _count(before: Any) -> int:
    from cryptography import x509

    return before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number if before else 0


def _signed(folder: Path, denied: dict[int, datetime.datetime], number: int, signer: Any) -> bytes:
    """It counts from the day before, since clocks differ, for as long as the authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1))
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    for each in _entries(denied):
        built = built.add_revoked_certificate(each)
    pem: bytes = built.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)
    return pem


def _entries(denied: dict[int, datetime.datetime]) -> Iterable[Any]:
    from cryptography import x509

    for number, since in denied.items():
        yield x509.RevokedCertificateBuilder().serial_number(number).revocation_date(since).build()
