"""A line to one BMC: cut when its time is up, and to the very machine that was meant, before a byte is sent."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from engines.job.errors import Failed

BY_HAND = (
    "a board of the X9 age has no Redfish: way smb uses its own pages; by hand: put the ISO on an SMB (Windows) "
    "share, open the BMC's web interface, Virtual Media > CD-ROM Image, enter share host, path, user and password, "
    "Save, Mount; then reset the host yourself and choose the ATEN virtual CD in the boot menu (F11); unmount when done"
)

AGE = re.compile(r"PROTOCOL|HANDSHAKE_FAILURE|CIPHER|TOO_SMALL|SIGNATURE|sigalg")
"""In the reasons of a handshake that an old TLS fails at: version, cipher, small key, or a signature, for which
Python has no name but OpenSSL's own words.
"""


class Unanswered(Failed):
    """No answer of use came: nothing listens, it speaks something else, or it is not the machine it should be."""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """How a BMC is reached. `timeout` in seconds bounds one request whole; `fingerprint` is 64 hex digits or empty."""

    host: str
    port: int
    https: bool = True
    ca_file: str = ""
    fingerprint: str = ""
    timeout: float = 30.0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.https else 'http'}://{host}:{self.port}"


@contextmanager
def line_to(door: Door) -> Iterator[http.client.HTTPConnection]:
    """A connection that is cut when its time is up, however slowly the other end drips. Raises Unanswered."""
    late = threading.Event()
    line = http.client.HTTPConnection(door.host, door.port)
    context = _context(door)
    try:
        line.sock = socket.create_connection((door.host, door.port), door.timeout)
        if context is not None:
            line.sock = context.wrap_socket(line.sock, server_hostname=door.host, do_handshake_on_connect=False)
        watch = threading.Timer(door.timeout, _cut, (line.sock, late))
        watch.daemon = True
        watch.start()
        try:
            _prove(door, line.sock)
            yield line
        finally:
            watch.cancel()
    except TimeoutError:
        raise _silent(door) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _silent(door) if late.is_set() else _unanswered(door, error) from None
    finally:
        line.close()


def _silent(door: Door) -> Unanswered:
    return Unanswered(
        f"{door} did not answer in full within {door.timeout:g} s",
        "check address and network; a slow BMC: give a larger timeout",
    )


def _cut(line: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):  # already gone
        socket.socket.shutdown(line, socket.SHUT_RDWR)  # SSLSocket's own would change state under the reader


def _context(door: Door) -> ssl.SSLContext | None:
    if not door.https:
        return None
    try:
        context = ssl.create_default_context(cafile=door.ca_file or None)
    except OSError as error:  # ssl.SSLError, of a file that holds no certificate, is one
        raise Unanswered(f"ca_file {door.ca_file}: {error.strerror or error}", "name a PEM file") from None
    if door.fingerprint:
        _any_age(context)  # the pin, checked before a byte is sent, takes the place of the rest
    return context


def _any_age(context: ssl.SSLContext) -> None:
    """Let it meet any certificate and any TLS: boards of the X9 age know TLS 1.0 and short keys only."""
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")


def _prove(door: Door, line: socket.socket) -> None:
    if not isinstance(line, ssl.SSLSocket):
        return
    try:
        line.do_handshake()
    except ssl.SSLCertVerificationError as error:
        seen = offered(door)
        raise Unanswered(
            f"{door} shows a certificate that is not trusted ({error.verify_message})",
            f"compare sha256:{seen} with the one on the BMC's own page, then give fingerprint; or give ca_file",
        ) from None
    if door.fingerprint and not hmac.compare_digest(_digest(line), door.fingerprint):
        raise Unanswered(
            f"{door} shows certificate sha256:{_digest(line)}, not the one that fingerprint names",
            "find out why: another machine may be answering; nothing was sent to it",
        )


def _digest(line: ssl.SSLSocket) -> str:
    return hashlib.sha256(line.getpeercert(binary_form=True) or b"").hexdigest()


def offered(door: Door) -> str:
    """SHA-256, in hex, of the certificate shown at `door`; nothing is sent. Empty where it cannot be had."""
    context = ssl.create_default_context()
    _any_age(context)
    try:
        with (
            socket.create_connection((door.host, door.port), door.timeout) as raw,
            context.wrap_socket(raw, server_hostname=door.host, do_handshake_on_connect=False) as line,
        ):
            watch = threading.Timer(door.timeout, _cut, (line, threading.Event()))
            watch.daemon = True
            watch.start()
            try:
                line.do_handshake()
                return _digest(line)
            finally:
                watch.cancel()
    except OSError:
        return ""


def _unanswered(door: Door, error: Exception) -> Unanswered:
    if isinstance(error, ConnectionRefusedError):
        return Unanswered(f"nothing listens at {door} (connection refused)", f"check address and port; {BY_HAND}")
    if isinstance(error, ssl.SSLError):
        why = error.reason or error.args[-1]
        seen = offered(door) if not door.fingerprint and AGE.search(str(why)) else ""
        helps = f"a BMC this old: update its firmware; or {BY_HAND}"
        if seen:  # it answers to who takes any age, which a pin does
            helps = f"it speaks an old TLS only, which a fingerprint lets in: compare sha256:{seen} with its own page"
        return Unanswered(f"{door} fails at TLS ({why})", helps)
    if isinstance(error, OSError):
        return Unanswered(f"{door} cannot be reached ({error.strerror or error})", "check address and network")
    return Unanswered(f"{door} answers, but not in HTTP ({type(error).__name__})", f"check the port; {BY_HAND}")


def shown(text: str, longest: int = 160) -> str:
    """What a BMC said, fit for one line: printable and short."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: longest + 1])
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."
