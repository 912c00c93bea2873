"""One address of a site by itself: does it accept, speak TLS, answer, and answer the right thing."""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec

from engines.failover.asking import cookies, http1
from engines.failover.asking.leads import leads, plainly
from engines.failover.asking.line import lacking, way_out
from engines.failover.asking.request import Asking, HttpRequest
from engines.failover.asking.tls import Handshake

FOLLOWED = 6  # requests
BOGUS = "crashcart-probe.invalid"  # RFC 6761: no site has it
WORDS = {
    "ok": "answers",
    "drop": "no answer to SYN: dropped, or the host is off",
    "refused": "refuses the connection (RST, or ICMP port unreachable)",
    "icmp": "unreachable, says a router",
    "no-route": "not judged from here: this machine has no way to it",
    "client-cert": "not judged from here: it asks for a client certificate",
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
UNJUDGED = ("no-route", "client-cert")
"""States that say nothing of whether the copy carries the site."""


class AddressCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One address. `state` is a key of WORDS; times in milliseconds from the start of each part.

    redirect: where a 3xx leads, or a page that sends on by itself (Refresh), as a whole URL; `location` is the
    header as sent. round: that leads back to what was asked for. version: of HTTP, 1.1 or 2.
    any_host: it gives the same page for a name that does not exist, so it may lack this site (a hint only).
    sha256: of the page's bytes. Where copies say something anew with each request, redirect and title hold "…" in
    its place, and sha256 is that of the text with it. alternatives: other ways in that it names (Alt-Svc), in words.
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
    alternatives: str = ""

    def said(self) -> str:
        """State in words."""
        return WORDS[self.state] + (f": {self.why}" if self.why else "")


async def probe(
    address: str, way: HttpRequest, trust: Handshake | None, *, hint: bool = True, pages: dict[str, str] | None = None
) -> AddressCheck:
    """The light of one address, within the time-out; with `hint`, a second request asks for a name nobody has.

    pages: gets the text of the page, by address.

    With `way.follow` each redirect to the same name is followed at the same address, each within the time-out, with
    the cookies that were set on the way.
    """
    named = any(name.lower() == "host" for name, _ in way.headers)  # then both requests would ask for the same
    other = asyncio.create_task(_any(address, way, trust)) if hint and not named else None
    for _ in range(FOLLOWED if way.follow else 1):
        asking = Asking(address, way, way.host, trust)
        reply: http1.Reply | None = None
        state, why = "ok", ""
        try:
            reply = await asking.reply()
            state, why = _judged(reply, way)
        except http1.Wrong as wrong:
            state, why = wrong.state, wrong.why
        led = leads(reply, way.url)
        lines = cookies.taken(reply.head.cookies, https=way.https) if way.follow and reply else ()
        keeping = cookies.kept(way.headers, lines) if lines else way.headers
        around = led != "" and led == plainly(way.url) and keeping == way.headers
        following = _followed(led, way) if way.follow and led and not around else None
        if following is None:
            break
        way = replace(following, headers=keeping, secure=cookies.for_https(way.secure, lines))
    else:
        around = True  # it leads on and on
    if state == "drop" and not way_out(address):
        state, why = "no-route", lacking(address)
    sha = hashlib.sha256(reply.body).hexdigest() if reply else ""
    if reply and pages is not None:
        pages[address] = reply.text()
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
        alternatives=_alternatives(headers.get("alt-svc", ""), way),
        redirect=led,
        round=around,
        version=reply.version if reply else "",
        server=headers.get("server", "")[:80],
        title=reply.title() if reply else "",
        sha256=sha,
        any_host=same == (reply.head.status, sha) if same and reply else None,
    )


def _alternatives(said: str, way: HttpRequest) -> str:
    """What Alt-Svc names beside the line that was asked: HTTP/3, another host or port."""
    named = re.findall(r'([\w%-]+)="([^"]{0,100}):(\d{1,5})"', said[:2000])
    others = [
        f"{'HTTP/3 (UDP)' if kind.startswith('h3') else kind} at {host or 'the same name'}, port {port}"
        for kind, host, port in named
        if kind.startswith("h3") or host not in ("", way.name) or int(port) != way.port
    ]
    return "; ".join(dict.fromkeys(others))[:300]


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
    if reply.spoilt():
        return "malformed", "its page is packed (gzip) and cannot be unpacked: browsers show an error"
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


async def _any(address: str, way: HttpRequest, trust: Handshake | None) -> tuple[int, str] | None:
    with suppress(http1.Wrong):
        reply = await Asking(address, way, BOGUS, trust).reply()
        return reply.head.status, hashlib.sha256(reply.body).hexdigest()
    return None
