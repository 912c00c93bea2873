"""One address of a site by itself: does it accept, speak TLS, answer, and answer the right thing."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import ipaddress
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from engines.failover.asking import http1

BOGUS = "crashcart-probe.invalid"  # RFC 6761: no site has it
WORDS = {
    "ok": "answers",
    "drop": "no answer to SYN: dropped, or the host is off",
    "refused": "refuses the connection (RST, or ICMP port unreachable)",
    "icmp": "unreachable, says a router",
    "no-route": "this machine has no way to it: not judged",
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
}


class AddressCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One address. `state` is a key of WORDS; times in milliseconds from the start of each part.

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

    @property
    def host(self) -> str:
        """The Host header's value for the site."""
        return self.name if self.port == (443 if self.https else 80) else f"{self.name}:{self.port}"


class _Asking:
    """One request to one address; `phase` names what it waits for, so that a time-out has a name too."""

    def __init__(self, address: str, way: HttpRequest, host: str, context: ssl.SSLContext | None) -> None:
        self.address, self.way, self.host, self.context = address, way, host, context
        self.phase = "drop"
        self.connect: float | None = None
        self.tls: float | None = None
        self.first_byte: float | None = None
        self.certificate_days: int | None = None

    async def reply(self) -> http1.Reply:
        """Raises Wrong for every fault."""
        family = socket.AF_INET6 if ipaddress.ip_address(self.address).version == 6 else socket.AF_INET
        writer: asyncio.StreamWriter | None = None
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(self.way.timeout):
                connection.setblocking(False)
                began = time.monotonic()
                await asyncio.get_running_loop().sock_connect(connection, (self.address, self.way.port))
                self.connect = _ms(began)
                reader, writer = await asyncio.open_connection(sock=connection, limit=http1.HEAD)
                if self.context:
                    await self._secure(writer, self.context)
                return await self._exchange(reader, writer)
        except TimeoutError:
            raise http1.Wrong(self.phase, f"within {self.way.timeout:.0f} s") from None
        except OSError as error:
            raise self._named(error) from None
        finally:
            if writer is not None:
                writer.transport.abort()
            connection.close()

    async def _secure(self, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self.phase = "tls-hang"
        began = time.monotonic()
        try:
            await writer.start_tls(context, server_hostname=self.way.name)
        except ssl.SSLCertVerificationError as error:
            raise http1.Wrong("tls-cert", error.verify_message.lower()) from None
        except ssl.SSLError as error:
            raise http1.Wrong("tls-error", (error.reason or "handshake broken off").lower().replace("_", " ")) from None
        except ConnectionError as error:
            raise http1.Wrong("tls-error", f"{error.strerror or 'closed'} in the handshake") from None
        self.tls = _ms(began)
        ends = (writer.get_extra_info("peercert") or {}).get("notAfter")
        if ends:
            self.certificate_days = int((ssl.cert_time_to_seconds(ends) - time.time()) // 86400)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> http1.Reply:
        self.phase = "hang"
        began = time.monotonic()
        writer.write(http1.request(self.host, self.way.path))
        await writer.drain()
        first = await http1.first_byte(reader)
        self.first_byte = _ms(began)
        self.phase = "slow"
        head = await http1.read_head(reader, first)
        return http1.Reply(head, await http1.read_body(reader, head))

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
        return http1.Wrong(state, "" if state == "refused" else (error.strerror or "").lower())


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 1)


async def probe(address: str, way: HttpRequest, context: ssl.SSLContext | None, *, hint: bool = True) -> AddressCheck:
    """The light of one address, within the time-out; with `hint`, a second request asks for a name nobody has."""
    asking = _Asking(address, way, way.host, context)
    other = asyncio.create_task(_any(address, way, context)) if hint else None
    reply: http1.Reply | None = None
    state, why = "ok", ""
    try:
        reply = await asking.reply()
        state, why = _judged(reply, way)
    except http1.Wrong as wrong:
        state, why = wrong.state, wrong.why
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
        server=headers.get("server", "")[:80],
        title=reply.title() if reply else "",
        sha256=sha,
        any_host=same == (reply.head.status, sha) if same and reply else None,
    )


def _judged(reply: http1.Reply, way: HttpRequest) -> tuple[str, str]:
    if reply.head.status >= 500:
        return "5xx", str(reply.head.status)
    if way.expect and way.expect not in reply.text():
        led = reply.head.headers.get("location", "")[:200]
        return "other-content", f"status {reply.head.status}, " + (f"to {led}" if led else f"title {reply.title()!r}")
    return "ok", ""


async def _any(address: str, way: HttpRequest, context: ssl.SSLContext | None) -> tuple[int, str] | None:
    with suppress(http1.Wrong):
        reply = await _Asking(address, way, BOGUS, context).reply()
        return reply.head.status, hashlib.sha256(reply.body).hexdigest()
    return None


def trust(https: bool) -> ssl.SSLContext | None:
    """The machine's trust store (SSL_CERT_FILE, if set); None for plain HTTP."""
    return ssl.create_default_context() if https else None
