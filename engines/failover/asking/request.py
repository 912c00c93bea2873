"""One request to one address: how it is asked, and a name for whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import ssl
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from engines.failover.asking import cookies, http1, http2, tls
from engines.failover.asking.line import Line, lacking, way_out
from engines.failover.asking.site import SiteParams, headers, host_name, web_port

GLANCE = 0.05  # s between looks at what a handshake has brought
Seen = TypeVar("Seen")


@dataclass(frozen=True)
class HttpRequest:
    """How to ask: the name for SNI and Host, and what is expected. `secure` names cookies that go over HTTPS only."""

    name: str
    port: int
    https: bool
    path: str = "/"
    expect: str = ""
    timeout: float = 3.0
    agent: str = http1.AGENT
    headers: tuple[tuple[str, str], ...] = ()
    follow: bool = False
    secure: frozenset[str] = frozenset()

    @property
    def host(self) -> str:
        """The Host header's value for the site."""
        return self.name if self.port == (443 if self.https else 80) else f"{self.name}:{self.port}"

    @property
    def url(self) -> str:
        """What is asked for."""
        return f"{'https' if self.https else 'http'}://{self.host}{self.path}"

    @property
    def sent(self) -> tuple[tuple[str, str], ...]:
        """The headers that go out this way."""
        return self.headers if self.https else cookies.sent(self.headers, self.secure)


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


def trusted(params: SiteParams) -> tls.Handshake | None:
    """Whom the parameters trust; None where nothing goes over TLS. Raises BadParam."""
    if params.scheme != "https" and not params.follow:
        return None
    return tls.Handshake(params.ca_file, params.insecure, params.client_cert)


class Asking:
    """One request to one address; `phase` names what it waits for, so that a time-out has a name too."""

    def __init__(self, address: str, way: HttpRequest, host: str, trust: tls.Handshake | None) -> None:
        self.address, self.way, self.host = address, way, host
        self.trust = trust if way.https else None
        self.phase = "drop"
        self.connect: float | None = None
        self.tls: float | None = None
        self.first_byte: float | None = None
        self.certificate_days: int | None = None
        self._asked = 0.0
        self._version = ""

    async def reply(self) -> http1.Reply:
        """Raises Wrong for every fault."""
        if ipaddress.ip_address(self.address).is_unspecified:  # to connect there would reach this very machine
            raise http1.Wrong("refused", "it is nobody's address: so answers a DNS server that keeps the site away")
        try:
            return await self._by_either_version()
        except http1.Wrong as wrong:  # TLS 1.3 says that it misses a certificate, if at all, after the handshake
            late = self._version == "TLSv1.3" and self.first_byte is None and self._nobody()
            if wrong.state in ("closed", "reset") and late and await self._looked(self._is_let_in(), True) is False:
                raise self._of_tls("", asked=True) from None
            raise

    async def _by_either_version(self) -> http1.Reply:
        try:
            return await self._reply(self.trust.context if self.trust else None)
        except http2.NotHere:
            assert self.trust is not None
            self.phase = "drop"
            return await self._reply(self.trust.older)

    async def _reply(self, context: ssl.SSLContext | None) -> http1.Reply:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.way.timeout), Line(self.address, self.way.port) as (reader, writer):
                self.connect = _ms(began)
                if context:
                    await self._secure(writer, context)
                return await self._exchange(reader, writer)
        except TimeoutError:
            raise http1.Wrong(self.phase, f"within {self.way.timeout:.0f} s") from None
        except OSError as error:
            wrong = await self._of_handshake(error) if self.phase == "tls-hang" else self._named(error)
            raise wrong from None

    async def _secure(self, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self.phase = "tls-hang"
        began = time.monotonic()
        await writer.start_tls(context, server_hostname=self.way.name)
        self.tls = _ms(began)
        ssl_object = writer.get_extra_info("ssl_object")
        self._version = ssl_object.version() or ""
        if der := ssl_object.getpeercert(binary_form=True):
            self.certificate_days = tls.days_left(der)

    async def _of_handshake(self, error: OSError) -> http1.Wrong:
        """What broke it off, by a second connection where that tells more."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return http1.Wrong("tls-cert", tls.reason(error, self.way.name, await self._looked(self._chain(), [])))
        if isinstance(error, ssl.SSLError):
            asked = error.reason == tls.NO_COMMON_WAY and await self._looked(self._asks_who_one_is(), False)
            return self._of_tls(_reason(error), asked=asked)
        if isinstance(error, ConnectionError):
            why = f"{error.strerror or 'closed'} in the handshake"
            return self._of_tls(why, asked=await self._looked(self._asks_who_one_is(), False))
        return self._named(error)

    async def _looked(self, look: Awaitable[Seen], otherwise: Seen) -> Seen:
        """What a second look shows within a time-out of its own; else what is known without it."""
        with suppress(OSError, ValueError):  # a TimeoutError is an OSError
            async with asyncio.timeout(self.way.timeout):
                return await look
        return otherwise

    async def _chain(self) -> list[bytes]:
        """What the server sent, by a second connection that believes anything."""
        async with Line(self.address, self.way.port) as (_, writer):
            await writer.start_tls(tls.unjudged(), server_hostname=self.way.name)
            return tls.sent(writer.get_extra_info("ssl_object"))

    async def _asks_who_one_is(self) -> bool:
        """Whether the handshake, begun once more, asks for a certificate of ours."""
        asked: list[int] = []
        with suppress(OSError):
            async with Line(self.address, self.way.port) as (_, writer):
                await writer.start_tls(tls.unjudged(asked), server_hostname=self.way.name)
        return tls.CERTIFICATE_REQUEST in asked

    async def _is_let_in(self) -> bool:
        """Whether a server that asks for a certificate goes on without one: it waits for a request, or says so.

        One that lets nobody in without ends the connection before it was asked for anything, at best with an alert.
        """
        said: list[int] = []
        async with Line(self.address, self.way.port) as (reader, writer):
            await writer.start_tls(tls.unjudged(said), server_hostname=self.way.name)
            try:
                while tls.NEW_SESSION_TICKET not in said:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(GLANCE):
                            await reader.read(1)
                            break
            except OSError as error:
                if isinstance(error, ssl.SSLError) and tls.WANTED.search(_reason(error)):
                    return False
        return tls.CERTIFICATE_REQUEST not in said or tls.NEW_SESSION_TICKET in said

    def _of_tls(self, reason: str, *, asked: bool = False) -> http1.Wrong:
        if not self._nobody() and (asked or tls.NOT_TAKEN.search(reason)):
            return http1.Wrong("client-cert", f"the one that it was given is not taken ({reason})")
        if asked or tls.WANTED.search(reason):
            return http1.Wrong("client-cert", "give one with --client-cert FILE.pem")
        return http1.Wrong("tls-error", reason)

    def _nobody(self) -> bool:
        """Whether there is no certificate to show."""
        return self.trust is None or not self.trust.client_cert

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> http1.Reply:
        self.phase = "hang"
        self._asked = time.monotonic()
        way, secured = self.way, writer.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() == "h2":
            return await http2.exchange(reader, writer, self.host, way.path, way.agent, way.sent, self._begun)
        writer.write(http1.request(self.host, way.path, way.agent, way.sent))
        await writer.drain()
        first = await http1.first_byte(reader)
        self._begun()
        head = await http1.read_head(reader, first)
        return http1.Reply(head, await http1.read_body(reader, head))

    def _begun(self) -> None:
        self.first_byte = _ms(self._asked)
        self.phase = "slow"

    def _named(self, error: OSError) -> http1.Wrong:
        if isinstance(error, ssl.SSLError):
            return self._of_tls(_reason(error))
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


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "handshake broken off").lower().replace("_", " ")


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 1)
