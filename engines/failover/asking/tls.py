"""TLS as browsers judge it: whom to trust, and why a certificate is not believed, in words that say what to mend."""

from __future__ import annotations

import re
import ssl
import time
from pathlib import Path
from typing import Any

from engines.job.errors import BadParam

PROTOCOLS = ["h2", "http/1.1"]  # what browsers offer over TCP
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA"
"""Of TLS 1.2 what browsers offer: no finite-field Diffie-Hellman, but still the key exchange of old servers."""
TIMES = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
WEAK = (66, 67, 68)  # X509_V_ERR_EE_KEY_TOO_SMALL, CA_KEY_TOO_SMALL, CA_MD_TOO_WEAK
CERTIFICATE_REQUEST = 13  # RFC 8446 4: a message of the handshake
NEW_SESSION_TICKET = 4  # the same: with TLS 1.3 a server sends it once it has let one in
NO_COMMON_WAY = "SSLV3_ALERT_HANDSHAKE_FAILURE"  # what TLS 1.2 says where it misses a client's certificate, too
WANTED = re.compile("alert certificate required|peer did not return a certificate")
NOT_TAKEN = re.compile("alert (unknown ca|bad certificate|certificate (unknown|expired|revoked)|access denied|decrypt)")
NO_ISSUER = (20, 21)  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE


class Handshake:
    """The machine's trust store (SSL_CERT_FILE, if set) and `ca_file`; `client_cert` is who one is. Raises BadParam.

    context: what to shake hands with. older: the same without HTTP/2.
    """

    def __init__(self, ca_file: str = "", insecure: bool = False, client_cert: str = "") -> None:
        self.ca_file, self.insecure, self.client_cert = ca_file, insecure, client_cert
        self.context = self._made(PROTOCOLS)
        self.older = self._made(PROTOCOLS[1:])  # made now: the files may be gone in the middle of a watch

    def _made(self, protocols: list[str]) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.hostname_checks_common_name = False  # no browser looks at the common name since 2017
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a store may hold an intermediate without its root
        context.set_alpn_protocols(protocols)
        context.set_ciphers(CIPHERS)
        if self.ca_file:
            try:
                context.load_verify_locations(self.ca_file)
            except (OSError, ssl.SSLError) as error:
                why = error.strerror or error
                raise BadParam("ca_file", self.ca_file, f"a file of PEM certificates ({why})") from None
        if self.client_cert:
            self._be_somebody(context)
        if self.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def _be_somebody(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self.client_cert, password=lambda: "")  # else OpenSSL asks at the terminal
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", "") or error
            allowed = "a PEM file with a certificate and its key, without a passphrase"
            raise BadParam("client_cert", self.client_cert, f"{allowed} ({why})") from None


def unjudged(messages: list[int] | None = None) -> ssl.SSLContext:
    """For a second look at what was not believed; `messages` of the handshake are put into the list."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if messages is not None:
        context._msg_callback = lambda *said: messages.append(int(said[4]))  # type: ignore[attr-defined]
    return context


def sent(connection: Any) -> list[bytes]:
    """The certificates that the server sent, leaf first, as DER."""
    chain = getattr(connection, "get_unverified_chain", None) or connection._sslobj.get_unverified_chain
    return [one if isinstance(one, bytes) else one.public_bytes(2) for one in chain() or ()]


def reason(error: ssl.SSLCertVerificationError, name: str, chain: list[bytes]) -> str:
    """Why a certificate is not believed, with what is missing where something is."""
    from cryptography import x509

    said = error.verify_message.lower()
    try:
        found = [x509.load_der_x509_certificate(one) for one in chain[:16]]
        if error.verify_code in NO_ISSUER and found:
            return _without_issuer(found)
        if error.verify_code == 62 and found:
            return _mismatch(found[0], name, said)
        if error.verify_code in TIMES and found:
            return _out_of_time(found, said)
        if error.verify_code in WEAK and found:
            return f"{said}: {_weak(found)}, which browsers refuse"
    except (ValueError, x509.UnsupportedGeneralNameType):
        return said
    return said


def _without_issuer(found: list[Any]) -> str:
    top, path = found[0], [found[0]]
    while above := next((one for one in found if one.subject == top.issuer and one not in path), None):
        top = above
        path.append(above)
    issuer = _common(top.issuer)
    if len(path) == 1:
        return (
            f"the intermediate certificate is missing: {issuer!r} issued it, which the server does not send and this"
            " machine does not know; send the full chain (some browsers fetch it, other clients fail)"
        )
    return f"its issuer {issuer!r}, above the {len(path)} certificates that are sent, is not trusted here"


def _mismatch(leaf: Any, name: str, said: str) -> str:
    from cryptography import x509

    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return f"hostname mismatch: it names no host but in its common name, which browsers do not read ({name})"
    listed = names.get_values_for_type(x509.DNSName)
    listed += [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
    return f"{said.rstrip('.')}; it is for {', '.join(listed[:4])}{more}" if listed else said


def _out_of_time(found: list[Any], said: str) -> str:
    """Which of the certificates is, and since or until when."""
    import datetime

    now = datetime.datetime.now(datetime.UTC)
    for at, one in enumerate(found):
        which = "" if at == 0 else f", of the issuer {_common(one.subject)!r} that the server sends"
        if one.not_valid_after_utc < now:
            return f"{said} (on {one.not_valid_after_utc:%Y-%m-%d}{which})"
        if one.not_valid_before_utc > now:
            return f"{said} (until {one.not_valid_before_utc:%Y-%m-%d}{which}); is this machine's clock right?"
    return said


def _weak(found: list[Any]) -> str:
    """What is too weak in a chain: signatures, or short keys."""
    hashes = {one.signature_hash_algorithm.name.upper() for one in found if one.signature_hash_algorithm}
    if old := hashes & {"SHA1", "MD5", "MD2"}:
        return f"signed with {' and '.join(sorted(old))}"
    sizes = [getattr(one.public_key(), "key_size", 0) for one in found]
    return f"a key of {min(sizes)} bits"


def _common(name: Any) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value)[:80] if found else name.rfc4514_string()[:80]


def days_left(der: bytes) -> int | None:
    """Whole days until a certificate ends; None where it cannot be read."""
    from cryptography import x509

    try:
        ends = x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
    except ValueError:
        return None
    return int((ends - time.time()) // 86400)


def readable(ca_file: str) -> None:
    """Raise BadParam where a file of certificates is not there."""
    if ca_file and not Path(ca_file).is_file():
        raise BadParam("ca_file", ca_file, "a file of PEM certificates")
