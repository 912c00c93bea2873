"""One BMC's Redfish service, asked in bounded time and size, over a verified line, and never beyond its own host.

Sources: DMTF DSP0266 (protocol), DSP0268 (ComputerSystem, VirtualMedia).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from engines.job.errors import Failed
from engines.job.params import Secret

LIMIT = 1024 * 1024  # bytes of one answer; the largest standard resource is some tens of KiB
ASKS_ETAG = re.compile(r"if-?match|e-?tag|precondition", re.IGNORECASE)
HOPS = 3  # redirects of one GET
PATH = re.compile(r"/redfish/[\x21-\x7e]{0,1000}")
BY_HAND = (
    "a board of the X9 age has no Redfish; by hand: put the ISO on an SMB (Windows) share, open the BMC's web "
    "interface, Virtual Media > CD-ROM Image, enter share host, path, user and password, Save, Mount; then reset "
    "the host yourself and choose the ATEN virtual CD in the boot menu (F11); unmount when done"
)

T = TypeVar("T")


class Unanswered(Failed):
    """No Redfish answer came: nothing listens, it does not speak it, or it is not the machine it should be."""


class Declined(Failed):
    """The BMC understood and said no. `status` is HTTP's; `said` its own reason, empty where it gave none."""

    def __init__(self, why: str, what_helps: str, status: int, said: str) -> None:
        super().__init__(why, what_helps)
        self.status = status
        self.said = said


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


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer: `etag` and `location` are empty where not given."""

    status: int
    body: bytes
    etag: str
    location: str


class Client:
    """Asks one BMC, with HTTP Basic login where a password is given: a session would itself be a change."""

    def __init__(self, door: Door, user: str = "", password: Secret | None = None) -> None:
        self.door = door
        self._hidden: tuple[str, ...] = ()
        self._login: dict[str, str] = {}
        if password is not None:
            pair = base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()
            self._login = {"Authorization": f"Basic {pair}"}
            self._hidden = tuple(text for text in (pair, password.reveal()) if len(text) > 3)

    def get(self, path: str, kind: type[T]) -> T:
        """The resource at `path`. Raises Unanswered or Failed."""
        answer = self.fetch(path)
        self.judge(answer, "GET", path)
        return self.decode(answer, path, kind)

    def send(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """POST or PATCH; repeated once with the resource's ETag where that is asked. Raises Declined, Failed."""
        answer = self._exchange(method, path, body)
        wants_etag = answer.status == 400 and ASKS_ETAG.search(self._said(answer))
        if answer.status in (412, 428) or wants_etag:
            answer = self._exchange(method, path, body, self.fetch(path).etag)
        self.judge(answer, method, path)
        return answer

    def fetch(self, path: str) -> Answer:
        """A GET's answer, whatever it is, behind redirects of this BMC's own. Raises Unanswered."""
        for _ in range(HOPS + 1):
            answer = self._exchange("GET", path)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            path = self.own(answer.location.removeprefix(str(self.door)), "a redirect")
        raise Unanswered(f"{self.door} redirects in a loop at {path}", "name the BMC itself, not a proxy before it")

    def own(self, path: str, what: str = "a link") -> str:
        """A path this BMC may be asked for, else Failed: a login must never follow a link to another host."""
        if not PATH.fullmatch(path):
            raise Unanswered(f"{self.door} answers with {what} that leaves /redfish: {shown(path)}", BY_HAND)
        return path

    def judge(self, answer: Answer, method: str, path: str) -> None:
        """Raise Failed for an answer that is no success."""
        if answer.status == 401:
            raise Failed(f"{self.door} refuses the user or the password", "give the BMC's own user and password")
        if answer.status == 404 and path.rstrip("/") == "/redfish/v1":
            raise Unanswered(f"{self.door} has no Redfish (404 at /redfish/v1/)", BY_HAND)
        if not 200 <= answer.status < 300:
            said = self._said(answer)
            raise Declined(
                f"{method} {path} is answered {answer.status}: {said or 'no reason given'}",
                "see the BMC's own log; a 403 often means a missing licence or too few rights of the user",
                answer.status,
                said,
            )

    def _said(self, answer: Answer) -> str:
        """The reason inside a Redfish error (DSP0266, 8.6), without anything secret."""
        try:
            error = msgspec.convert(self._tree(answer.body), _Wrapped).error
        except (ValueError, RecursionError):
            return ""
        said = [part.text for part in error.more if part.text] or [error.message or ""]
        return shown(" ".join(said), 300)

    def decode(self, answer: Answer, path: str, kind: type[T]) -> T:
        """An answer's JSON. Raises Unanswered."""
        try:
            return msgspec.convert(self._tree(answer.body), kind)
        except msgspec.ValidationError as error:
            raise Unanswered(f"{self.door}{path} is no Redfish answer: {shown(str(error))}", BY_HAND) from None
        except (ValueError, RecursionError):
            raise Unanswered(f"{self.door}{path} answers, but not with JSON", BY_HAND) from None

    def _tree(self, body: bytes) -> Any:
        return self._cleaned(msgspec.json.decode(body))

    def _cleaned(self, value: Any) -> Any:
        """The same tree with every echo of the login taken out, so that no plan, journal or report can hold it."""
        if isinstance(value, str):
            for secret in self._hidden:
                value = value.replace(secret, "<secret>")
        elif isinstance(value, list):
            return [self._cleaned(item) for item in value]
        elif isinstance(value, dict):
            return {key: item if key in LINKS else self._cleaned(item) for key, item in value.items()}
        return value

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None = None, etag: str = "") -> Answer:
        headers = {"Accept": "application/json", "OData-Version": "4.0", **self._login}
        payload = None if body is None else msgspec.json.encode(body)
        if payload is not None:
            headers["Content-Type"] = "application/json"
        if etag:
            headers["If-Match"] = etag
        path = self.own(path)
        with self._line() as line:
            line.request(method, path, payload, headers)
            response = line.getresponse()
            text = response.read(LIMIT + 1)
            if len(text) > LIMIT:
                raise Unanswered(f"{self.door}{path} answers with more than {LIMIT} bytes", BY_HAND)
            return Answer(response.status, text, response.getheader("ETag", ""), response.getheader("Location", ""))

    @contextmanager
    def _line(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that is cut when its time is up, however slowly the other end drips."""
        door, late = self.door, threading.Event()
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
            raise self._silent() from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silent() if late.is_set() else _unanswered(door, error) from None
        finally:
            line.close()

    def _silent(self) -> Unanswered:
        return Unanswered(
            f"{self.door} did not answer in full within {self.door.timeout:g} s",
            "check address and network; a slow BMC: give a larger timeout",
        )


LINKS = ("@odata.id", "target")


class _Said(msgspec.Struct):
    text: str | None = msgspec.field(name="Message", default=None)


class _Error(msgspec.Struct):
    message: str | None = None
    more: list[_Said] = msgspec.field(name="@Message.ExtendedInfo", default_factory=list)


class _Wrapped(msgspec.Struct):
    error: _Error


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
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the pin, checked before a byte is sent, takes its place
    return context


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
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
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
        return Unanswered(f"{door} fails at TLS ({why})", f"a BMC this old: update its firmware; or {BY_HAND}")
    if isinstance(error, OSError):
        return Unanswered(f"{door} cannot be reached ({error.strerror or error})", "check address and network")
    return Unanswered(f"{door} answers, but not in HTTP ({type(error).__name__})", f"check the port; {BY_HAND}")


def shown(text: str, longest: int = 160) -> str:
    """What a BMC said, fit for one line: printable and short."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: longest + 1])
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."


def until(look: Callable[[], T], good: Callable[[T], bool], sleep: Callable[[float], None], within: float) -> T:
    """What `look` says once it is `good`, or in the end, `within` seconds on; a failing look counts as not yet."""
    deadline = time.monotonic() + within
    while True:
        try:
            seen = look()
            if good(seen) or time.monotonic() > deadline:
                return seen
        except Failed:
            if time.monotonic() > deadline:
                raise
        sleep(0.3)  # s; a BMC is a small computer
