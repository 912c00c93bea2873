"""The papers of a cluster: its own authority, and a certificate for each of its members."""

from __future__ import annotations

import datetime
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engines.fleet.spread import denying
from engines.host import certificate
from engines.host.files import partials, sync_folder, write_whole
from engines.host.naming import exchange
from engines.job.errors import Refused

YEARS = 10  # of the authority
DAYS = 90  # of a member's certificate: one that leaks, and is denied nowhere, is good until it ends
AUTHORITY = ("ca.pem", "ca-key.pem")
PAPERS = ("ca.pem", "cert.pem", "key.pem")


def issue(folder: Path, name: str, days: int = DAYS) -> Path:
    """A certificate for `name` in a folder of that name, by the authority in `folder`, which is made if it lacks.

    The new folder has ca.pem, cert.pem and key.pem. days: how long it is good. Raises Refused.
    """
    place = folder / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(folder):
            if place.exists() or place.is_symlink():
                raise FileExistsError
            if not (folder / AUTHORITY[1]).exists():
                _found(folder)
            beside = _beside(place)
            _member(folder, beside, name, days)
            beside.rename(place)
            sync_folder(folder)
    except FileExistsError:
        raise Refused(f"{place} is there already", "give it another name, or have it made anew: --renew") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{folder}: {error}", "name a folder of yours that has room") from None
    return place


def renew(folder: Path, name: str, days: int = DAYS) -> Path:
    """Another key and certificate for a member that has them, in the same folder and by the same authority.

    All three files change at once: a kill leaves the old ones or the new ones. Raises Refused.
    """
    place = folder / name
    try:
        if not (place / "cert.pem").exists():
            raise Refused(f"{place} has no certificate", f"make the first: crashcart fleet certificate {name}")
        with _alone(folder):
            there = place.resolve()
            beside = _beside(there)
            _member(folder, beside, name, days)
            _as_owned(beside, there.stat())
            exchange(beside, there)
            sync_folder(there.parent)
            _clear(beside, there)
    except (OSError, ValueError) as error:
        raise Refused(f"{folder}: {error}", "name the folder of the authority, with ca.pem and ca-key.pem") from None
    return place


def deny(folder: Path, name: str) -> Path:
    """The list of those that are let in no more, with every certificate that a member was ever given.

    It lies in the folder of the authority and in those of the members there. Raises Refused.
    """
    try:
        if not folder.is_dir():
            raise FileNotFoundError("there is no such folder")
        with _alone(folder):
            denying.deny(folder, name, _signer(folder))
    except (OSError, ValueError) as error:
        raise Refused(f"{folder}: {error}", "name the folder of the authority, with ca.pem and ca-key.pem") from None
    return folder / denying.DENIED


def _signer(folder: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key((folder / AUTHORITY[1]).read_bytes(), None)


def _found(folder: Path) -> None:
    key = certificate.key()
    made = certificate.signed("crashcart fleet authority", key, None, key, YEARS * 365)
    write_whole(folder / AUTHORITY[0], _pem(made))
    write_whole(folder / AUTHORITY[1], _secret(key))  # the last: once it is there, both are


def _member(folder: Path, place: Path, name: str, days: int) -> None:
    from cryptography import x509

    authority = (folder / AUTHORITY[0]).read_bytes()
    key = certificate.key()
    above = x509.load_pem_x509_certificate(authority)
    made = certificate.signed(name, key, above, _signer(folder), days, client=True)
    denying.issued(folder, name, made.serial_number)
    write_whole(place / "key.pem", _secret(key))
    write_whole(place / "cert.pem", _pem(made))
    write_whole(place / "ca.pem", authority)
    denying.spread(folder, place)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time makes papers there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _beside(place: Path) -> Path:
    """An empty folder for what is to be `place`; what a kill left in it is seen to."""
    beside = place.with_name(f".{place.name}.new")
    if beside.is_dir():
        _clear(beside, place)
    beside.mkdir(mode=0o700)
    return beside


def _clear(beside: Path, place: Path) -> None:
    """Remove the papers that lie beside; what else a folder had goes on lying in it."""
    left = {one for name in (*PAPERS, denying.DENIED) for one in (beside / name, *partials(beside / name))}
    for each in list(beside.iterdir()):
        if each in left:
            each.unlink()
        else:
            each.rename(place / each.name)
    beside.rmdir()


def _as_owned(beside: Path, like: os.stat_result) -> None:
    """Whoever could read the old papers can read the new ones."""
    beside.chmod(stat.S_IMODE(like.st_mode))
    if os.geteuid() == 0:
        for each in (*beside.iterdir(), beside):
            os.chown(each, like.st_uid, like.st_gid)


def mixed(folder: Path) -> str:
    """What of the papers in a folder does not belong to the others; empty where all do.

    Raises OSError, ValueError, TypeError where one cannot be read.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    known, (cert, *between) = (
        x509.load_pem_x509_certificates((folder / name).read_bytes()) for name in ("ca.pem", "cert.pem")
    )
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    if key.public_key() != cert.public_key():
        return "it is the key of another certificate than cert.pem"
    for above in (*between, *known):  # a site's own authority may sign by an intermediate one, or be one of several
        with suppress(InvalidSignature, ValueError, TypeError):
            cert.verify_directly_issued_by(above)
            return ""
    return "cert.pem is of another authority than ca.pem"


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
