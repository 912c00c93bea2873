"""The papers of a cluster: its own authority, and a certificate for each of its members."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from engines.host import certificate
from engines.host.files import write_whole
from engines.job.errors import Refused

YEARS = 10  # of the authority
DAYS = 90  # of a member's certificate: there is no list of revoked ones, so one that leaks is good until it ends
AUTHORITY = ("ca.pem", "ca-key.pem")


def issue(folder: Path, name: str, days: int = DAYS) -> Path:
    """A certificate for `name` in a folder of that name, by the authority in `folder`, which is made if it lacks.

    The new folder has ca.pem, cert.pem and key.pem. days: how long it is good. Raises Refused.
    """
    place = folder / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / AUTHORITY[1]).exists():
            _found(folder)
        place.mkdir(mode=0o700)
        _member(folder, place, name, days)
    except FileExistsError:
        raise Refused(f"{place} is there already", "give it another name, or have it made anew: --renew") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{folder}: {error}", "name a folder of yours that has room") from None
    return place


def renew(folder: Path, name: str, days: int = DAYS) -> Path:
    """Another key and certificate for a member that has them, in the same folder and by the same authority.

    Raises Refused.
    """
    place = folder / name
    try:
        if not (place / "cert.pem").exists():
            raise Refused(f"{place} has no certificate", f"make the first: crashcart fleet certificate {name}")
        _member(folder, place, name, days)
    except (OSError, ValueError) as error:
        raise Refused(f"{folder}: {error}", "name the folder of the authority, with ca.pem and ca-key.pem") from None
    return place


def _found(folder: Path) -> None:
    key = certificate.key()
    made = certificate.signed("crashcart fleet authority", key, None, key, YEARS * 365)
    write_whole(folder / AUTHORITY[1], _secret(key))
    write_whole(folder / AUTHORITY[0], _pem(made))


def _member(folder: Path, place: Path, name: str, days: int) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    authority = (folder / AUTHORITY[0]).read_bytes()
    signer = load_pem_private_key((folder / AUTHORITY[1]).read_bytes(), None)
    key = certificate.key()
    made = certificate.signed(name, key, x509.load_pem_x509_certificate(authority), signer, days, client=True)
    write_whole(place / "key.pem", _secret(key))
    write_whole(place / "cert.pem", _pem(made))
    write_whole(place / "ca.pem", authority)


def lasts(path: Path) -> tuple[datetime.datetime, datetime.datetime]:
    """From when until when a certificate is one. Raises OSError, ValueError."""
    from cryptography import x509

    read = x509.load_pem_x509_certificate(path.read_bytes())
    return read.not_valid_before_utc, read.not_valid_after_utc


def _secret(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization as forms

    made: bytes = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return made


def _pem(made: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    pem: bytes = made.public_bytes(Encoding.PEM)
    return pem
