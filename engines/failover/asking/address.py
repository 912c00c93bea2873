"""One address of a site by itself: does it accept, speak TLS, answer, and answer the right thing."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import msgspec

from engines.failover.asking import http1, http2, tls
from engines.failover.asking.leads import leads, plainly
from engines.failover.asking.line import Line, lacking, way_out
from engines.failover.asking.site import SiteParams, headers, host_name, web_port

FOLLOWED = 6  # requests
BOGUS = "crashcart-probe.invalid"  # RFC 6761: no site has it
WORDS = {
    "ok": "answers",
    "drop": "no answer to SYN: dropped, or the host is off",
    "refused": "refuses the connection (RST, or ICMP port unreachable)",
    "icmp": "unreachable, says a router",
    "no-route": "not judged from here: this machine has no way to it",
    "tls-hang": "accepts, but TLS never answers",
    "tls-cert": "certificate",
    "tls-error": "TLS fails",
    "closed": "accepts, then closes without a whole answer",
    "reset": "accepts, then resets",
    "hang": "accepts, then says nothing",
    "slow": "answers so slowly that the time-out passes",
    "malformed": "answers what is no HTTP",
    "5xx": "answers with a server error",
    "other-content": "answers, but without the expected text",
    "gone": "no longer in DNS",
}


class AddressCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One address. `state` is a key of WORDS; times in milliseconds from the start of each part.

    redirect: where a 3xx leads, or a page that sends on by itself (Refresh), as a whole URL; `location` is the
    header as sent. round: that leads back to what was asked for. version: of HTTP, 1.1 or 2.
    any_host: it gives the same page for a name that does not exist, so it may lack this site (a hint only).
    """

    address: str
    state: str
    why: str = ""
    connect: float | None = None
    tls: float | None = None
    first_byte: float | None = None
    certificate_days: int | None = None
    status: int | None = None
    location: str = ""
    redirect: str = ""
    round: bool = False
    version: str = ""
    server: str = ""
    title: str = ""
    sha256: str = ""
    any_host: bool | None = None

    def said(self) -> str:
        """State in words."""
        return WORDS[self.state] + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class HttpRequest:
    """How to ask: the name for SNI and Host, and what is expected."""

    name: str
    port: int
    https: bool
    path: str = "/"
    expect: str = ""
    timeout: float = 3.0
    agent: str = http1.AGENT
    headers: tuple[tuple[str, str], ...] = ()
    follow: bool = False

    @property
    def host(self) -> str:
        """The Host header's value for the site."""
        return self.name if self.port == (443 if self.https else 80) else f"{self.name}:{self.port}"

    @property
    def url(self) -> str:
        """What is asked for."""
        return f"{'https' if self.https else 'http'}://{self.host}{self.path}"


def asked_of(params: SiteParams) -> HttpRequest:
    """The request that parameters ask for. Raises BadParam."""
    return HttpRequest(
        name=host_name(params.name),
        port=web_port(params),
        https=params.scheme == "https",
        path=params.path,
        expect=params.expect,
        timeout=float(params.timeout),
        agent=params.user_agent or http1.AGENT,
        headers=headers(params.header),
        follow=params.follow,
    )


def trusted(params: SiteParams) -> ssl.SSLContext | None:
    """Whom the parameters trust; None where nothing goes over TLS. Raises BadParam."""
    return tls.trust(params.scheme == "https" or params.follow, params.ca_file, params.insecure)


class _Asking:
    """One request to one address; `phase` names what it waits for, so that a time-out has a name too."""

    def __init__(self, address: str, way: HttpRequest, host: str, context: ssl.SSLContext | None) -> None:
        self.address, self.way, self.host = address, way, host
        self.context = context if way.https else None
        self.phase = "drop"
        self.connect: float | None = None
        self.tls: float | None = None
        self.first_byte: float | None = None
        self.certificate_days: int | None = None
        self._asked = 0.0

    async def reply(self) -> http1.Reply:
        """Raises Wrong for every fault."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.way.timeout), Line(self.address, self.way.port) as (reader, writer):
                self.connect = _ms(began)
                if self.context:
                    await self._secure(writer, self.context)
                return await self._exchange(reader, writer)
        except TimeoutError:
            raise http1.Wrong(self.phase, f"within {self.way.timeout:.0f} s") from None
        except OSError as error:
            raise self._named(error) from None

    async def _secure(self, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self.phase = "tls-hang"
        began = time.monotonic()
        try:
            await writer.start_tls(context, server_hostname=self.way.name)
        except ssl.SSLCertVerificationError as error:
            raise http1.Wrong("tls-cert", tls.reason(error, self.way.name, await self._chain())) from None
        except ssl.SSLError as error:
            raise http1.Wrong("tls-error", (error.reason or "handshake broken off").lower().replace("_", " ")) from None
        except ConnectionError as error:
            raise http1.Wrong("tls-error", f"{error.strerror or 'closed'} in the handshake") from None
        self.tls = _ms(began)
        ssl_object = writer.get_extra_info("ssl_object")
        if der := ssl_object.getpeercert(binary_form=True):
            self.certificate_days = tls.days_left(der)

    async def _chain(self) -> list[bytes]:
        """What the server sent, by a second connection that believes anything; nothing where that fails."""
        with suppress(OSError, ValueError):
            async with Line(self.address, self.way.port) as (_, writer):
                await writer.start_tls(tls.unjudged(), server_hostname=self.way.name)
                return tls.sent(writer.get_extra_info("ssl_object"))
        return []

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> http1.Reply:
        self.phase = "hang"
        self._asked = time.monotonic()
        way, secured = self.way, writer.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() == "h2":
            return await http2.exchange(reader, writer, self.host, way.path, way.agent, way.headers, self._begun)
        writer.write(http1.request(self.host, way.path, way.agent, way.headers))
        await writer.drain()
        first = await http1.first_byte(reader)
        self._begun()
        head = await http1.read_head(reader, first)
        return http1.Reply(head, await http1.read_body(reader, head))

    def _begun(self) -> None:
        self.first_byte = _ms(self._asked)
        self.phase = "slow"

    def _named(self, error: OSError) -> http1.Wrong:
        if isinstance(error, ConnectionResetError | BrokenPipeError):
            return http1.Wrong("reset", "")
        if self.phase != "drop":
            return http1.Wrong("closed", error.strerror or type(error).__name__)
        states = {
            errno.ECONNREFUSED: "refused",
            errno.EHOSTUNREACH: "icmp",
            errno.ENETUNREACH: "no-route",
            errno.EACCES: "icmp",
            errno.EPERM: "no-route",
            errno.EADDRNOTAVAIL: "no-route",
            errno.EINVAL: "no-route",
            errno.EAFNOSUPPORT: "no-route",
            errno.ETIMEDOUT: "drop",
        }
        state = states.get(error.errno or 0, "drop")
        if state in ("icmp", "drop") and not way_out(self.address):
            state = "no-route"
        if state == "no-route":
            return http1.Wrong(state, lacking(self.address))
        return http1.Wrong(state, "" if state == "refused" else (error.strerror or "").lower())


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 1)


async def probe(address: str, way: HttpRequest, context: ssl.SSLContext | None, *, hint: bool = True) -> AddressCheck:
    """The light of one address, within the time-out; with `hint`, a second request asks for a name nobody has.

    With `way.follow` each redirect to the same name is followed at the same address, each within the time-out.
    """
    named = any(name.lower() == "host" for name, _ in way.headers)  # then both requests would ask for the same
    other = asyncio.create_task(_any(address, way, context)) if hint and not named else None
    for _ in range(FOLLOWED if way.follow else 1):
        asking = _Asking(address, way, way.host, context)
        reply: http1.Reply | None = None
        state, why = "ok", ""
        try:
            reply = await asking.reply()
            state, why = _judged(reply, way)
        except http1.Wrong as wrong:
            state, why = wrong.state, wrong.why
        led = leads(reply, way.url)
        around = led != "" and led == plainly(way.url)
        following = _followed(led, way) if way.follow and led and not around else None
        if following is None:
            break
        way = following
    else:
        around = True  # it leads on and on
    if state == "drop" and not way_out(address):
        state, why = "no-route", lacking(address)
    sha = hashlib.sha256(reply.body).hexdigest() if reply else ""
    same = await other if other else None
    headers = reply.head.headers if reply else {}
    return AddressCheck(
        address=address,
        state=state,
        why=why,
        connect=asking.connect,
        tls=asking.tls,
        first_byte=asking.first_byte,
        certificate_days=asking.certificate_days,
        status=reply.head.status if reply else None,
        location=headers.get("location", "")[:200],
        redirect=led,
        round=around,
        version=reply.version if reply else "",
        server=headers.get("server", "")[:80],
        title=reply.title() if reply else "",
        sha256=sha,
        any_host=same == (reply.head.status, sha) if same and reply else None,
    )


def _followed(led: str, way: HttpRequest) -> HttpRequest | None:
    """The next request at the same address; None where a redirect leads to another site."""
    try:
        whole = urlsplit(led)
        port = whole.port or {"http": 80, "https": 443}.get(whole.scheme, 0)
    except ValueError:
        return None
    if whole.hostname != way.name or whole.scheme not in ("http", "https"):
        return None
    path = (whole.path or "/") + (f"?{whole.query}" if whole.query else "")
    return replace(way, https=whole.scheme == "https", port=port, path=path)


def _judged(reply: http1.Reply, way: HttpRequest) -> tuple[str, str]:
    if reply.head.status >= 500:
        return "5xx", str(reply.head.status)
    if way.expect and way.expect not in reply.text():
        led = reply.head.headers.get("location", "")[:200]
        seen = f"to {led}" if led else f"title {reply.title()[:80]!r}"
        return "other-content", f"status {reply.head.status}, {seen}{_packed(reply)}"
    return "ok", _packed(reply).removeprefix(", ")


def _packed(reply: http1.Reply) -> str:
    """That a page came packed in a way that nobody asked for and that is not read here."""
    return (
        f", its page is packed ({reply.unread()[:20]}), which was not asked for, and not read" if reply.unread() else ""
    )


async def _any(address: str, way: HttpRequest, context: ssl.SSLContext | None) -> tuple[int, str] | None:
    with suppress(http1.Wrong):
        reply = await _Asking(address, way, BOGUS, context).reply()
        return reply.head.status, hashlib.sha256(reply.body).hexdigest()
    return None
