"""What DNS says of a site: every resolver and every authoritative server by itself, all at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from engines.failover.asking import services
from engines.failover.asking.dns_answer import Answer, read
from engines.failover.asking.exchange import TooMany, exchange
from engines.failover.asking.site import Server

if TYPE_CHECKING:
    import dns.message

ASKS = (
    6  # questions to one server; an order that rotates stays the same through 6 of them with 1 in 32 for two addresses
)
AAAA_FAILS = "some clients wait for it, or take the name for gone"
BOGUS = "it answers where it need not check DNSSEC: the zone's signatures do not hold"
NAMESERVERS = 8  # authoritative servers asked at most


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What one server says. `order` is fixed, rotating or single, empty where it gives no address.

    offers: by kind (A, AAAA), the different sets of addresses that single answers held; a visitor has one of them.
    asked: the name that was asked for, where it is another (an alias' target, at the servers of its own zone).
    """

    server: str
    role: str
    order: str
    answers: tuple[Answer, ...]
    offers: dict[str, tuple[tuple[str, ...], ...]] = {}
    asked: str = ""

    def addresses(self) -> tuple[str, ...]:
        """A, then AAAA, as they came."""
        return tuple(one for answer in self.answers if answer.kind in ("A", "AAAA") for one in answer.order)

    def answer(self, kind: str) -> Answer:
        """The answer of one kind."""
        return next(answer for answer in self.answers if answer.kind == kind)

    def hinted(self) -> tuple[str, ...]:
        """Addresses that HTTPS records hint at or lead to, which browsers that read them may use beside A and AAAA."""
        found = next((answer.services for answer in self.answers if answer.kind == "HTTPS"), ())
        return tuple(dict.fromkeys(address for one in found for address in (*one.hints, *one.leads)))

    def speaks(self) -> bool:
        """Whether visitors are told something by it: not where it is silent, lame, or knows the alias only."""
        first = self.answer("A")
        if self.addresses():
            return True
        if self.role == "resolver":
            return first.state in ("no such name", "no record", "SERVFAIL", "CNAME loop")
        return first.authoritative and not first.aliases and first.state in ("no such name", "no record")


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """All views together. `state` is ok, or why there is no address; `order` is what the first resolver shows."""

    name: str
    state: str
    addresses: tuple[str, ...]
    order: str
    ttl: int | None
    views: tuple[View, ...]
    notes: tuple[str, ...] = ()


async def ask(server: Server, name: str, kind: str, timeout: float, *, recurse: bool = True) -> Answer:
    """One question; whatever goes wrong becomes the answer's state within `timeout` seconds."""
    import dns.exception

    began = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            message, over_tcp = await _exchange(server, name, kind, timeout, recurse=recurse)
            found = read(message, name, kind, over_tcp=over_tcp)
    except TimeoutError:
        return Answer(kind=kind, state="timeout", why=f"no answer within {timeout:.0f} s")
    except (dns.exception.DNSException, ValueError, EOFError) as error:
        return Answer(kind=kind, state="malformed", why=type(error).__name__)
    except OSError as error:
        return Answer(kind=kind, state="unreachable", why=error.strerror or type(error).__name__)
    left = min(timeout / 4, timeout - (time.monotonic() - began))
    if found.state == "SERVFAIL" and recurse and await _unsigned(server, name, kind, left):
        return msgspec.structs.replace(found, why=BOGUS)
    return found


async def _unsigned(server: Server, name: str, kind: str, timeout: float) -> bool:
    """Whether a resolver answers once it is not to check signatures (RFC 4035 3.2.2), and fails again where it is."""
    import dns.exception
    import dns.rcode

    async def says(*, checked: bool) -> dns.rcode.Rcode:
        message, _ = await _once(server, name, kind, timeout / 2, recurse=True, edns=True, checked=checked)
        return message.rcode()

    with suppress(dns.exception.DNSException, ValueError, EOFError, OSError):
        async with asyncio.timeout(timeout):
            if await says(checked=False) == dns.rcode.NOERROR:
                return await says(checked=True) == dns.rcode.SERVFAIL
    return False


async def _exchange(
    server: Server, name: str, kind: str, timeout: float, *, recurse: bool
) -> tuple[dns.message.Message, bool]:
    """With EDNS first; without it where a server answers nonsense to that, refuses it, or says nothing."""
    import dns.exception
    import dns.rcode

    try:
        message, over_tcp = await _once(server, name, kind, timeout / 2, recurse=recurse, edns=True)
        if message.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return message, over_tcp
    except TooMany:
        raise
    except (dns.exception.DNSException, ValueError, EOFError, TimeoutError):
        message = None
    try:
        return await _once(server, name, kind, timeout / 2, recurse=recurse, edns=False)
    except (dns.exception.DNSException, TimeoutError):
        if message is None:
            raise
        return message, over_tcp


async def _once(
    server: Server, name: str, kind: str, timeout: float, *, recurse: bool, edns: bool, checked: bool = True
) -> tuple[dns.message.Message, bool]:
    import dns.flags
    import dns.message

    query = dns.message.make_query(name, kind, want_dnssec=edns, use_edns=edns)
    if not recurse:
        query.flags &= ~dns.flags.RD
    if not checked:
        query.flags |= dns.flags.CD
    return await exchange(server, query, timeout)


async def view(server: Server, name: str, timeout: float, role: str, *, port: int = 443) -> View:
    """Everything one server says, addresses asked for often enough to see whether their order turns."""
    recurse = role == "resolver"
    wanted = [("A", name)] * ASKS + [("AAAA", name)] * ASKS
    wanted += [("HTTPS", name if port in (80, 443) else f"_{port}._https.{name}")]  # RFC 9460 2.3
    answers = await asyncio.gather(*(ask(server, host, kind, timeout, recurse=recurse) for kind, host in wanted))
    four, six, others = answers[:ASKS], answers[ASKS : 2 * ASKS], answers[2 * ASKS :]
    return View(
        server=str(server),
        role=role,
        order=_order(four) or _order(six),
        answers=(_together(four), _together(six), await _led(server, others[0], timeout, recurse=recurse, port=port)),
        offers={"A": _offers(four), "AAAA": _offers(six)},
    )


async def _led(server: Server, https: Answer, timeout: float, *, recurse: bool, port: int) -> Answer:
    """HTTPS records with the addresses of their targets (RFC 9460 3): of those on the port that is looked at."""
    targets = [one.target for one in https.services if one.target and one.port in (None, port)]
    wanted = [(host, kind) for host in dict.fromkeys(targets) for kind in ("A", "AAAA")]
    answers = await asyncio.gather(*(ask(server, host, kind, timeout, recurse=recurse) for host, kind in wanted))
    given = {host: [one for (at, _), answer in zip(wanted, answers, strict=True) if at == host for one in answer.order]
             for host in targets}  # fmt: skip
    return msgspec.structs.replace(
        https,
        services=tuple(
            msgspec.structs.replace(one, leads=tuple(given[one.target])) if one.target in given else one
            for one in https.services
        ),
    )


def _together(answers: Sequence[Answer]) -> Answer:
    """One of several answers, with the addresses of all: some servers give a part of their records at a time."""
    best = next((answer for answer in answers if answer.state == "ok"), answers[0])
    return msgspec.structs.replace(
        best, order=tuple(dict.fromkeys(address for answer in answers for address in answer.order))
    )


def _offers(answers: Sequence[Answer]) -> tuple[tuple[str, ...], ...]:
    return tuple(dict.fromkeys(tuple(sorted(answer.order)) for answer in answers if answer.state == "ok"))


def _order(answers: Sequence[Answer]) -> str:
    orders = {answer.order for answer in answers if answer.state == "ok"}
    if not orders:
        return ""
    if all(len(order) == 1 for order in orders):
        return "single" if len(orders) == 1 else "rotating"
    return "fixed" if len(orders) == 1 else "rotating"


async def authoritative(resolver: Server, name: str, timeout: float, *, port: int = 443) -> tuple[list[View], str]:
    """The views of the zone's own servers, found through `resolver`; and a note where they were not."""
    deadline = time.monotonic() + timeout
    try:
        async with asyncio.timeout(timeout):
            found, owner = await _nameservers(resolver, name, timeout)
    except TimeoutError:
        return [], f"the authoritative servers were not found within {timeout:.0f} s"
    if not found:
        return [], f"{resolver} names no authoritative servers for {name}: they were not asked"
    left = max(1.0, deadline - time.monotonic())
    asked = (view(server, owner, left, "authoritative", port=port) for server in found[:NAMESERVERS])
    views = await asyncio.gather(*asked)
    if owner == name:
        return list(views), ""
    return [msgspec.structs.replace(one, asked=owner) for one in views], ""


async def _nameservers(resolver: Server, name: str, timeout: float) -> tuple[list[Server], str]:
    """SOA gives the zone, NS its servers, A and AAAA their addresses; of an alias, all of its target.

    The second value is the name that these servers know.
    """
    import dns.exception
    import dns.rdatatype

    try:
        message, _ = await _exchange(resolver, name, "SOA", timeout, recurse=True)
        owner = (read(message, name, "SOA").aliases or (name,))[-1]
        zone = next(
            (rrset.name for rrset in [*message.answer, *message.authority] if rrset.rdtype == dns.rdatatype.SOA), None
        )
        if zone is None:
            return [], owner
        listed = await ask(resolver, zone.to_text(), "NS", timeout)
    except (dns.exception.DNSException, ValueError, EOFError, OSError):
        return [], name
    hosts = [host.removesuffix(".") for host in listed.order[:NAMESERVERS]]
    asked = [ask(resolver, host, kind, timeout) for host in hosts for kind in ("A", "AAAA")]
    answers = await asyncio.gather(*asked, return_exceptions=False)
    known = [address for kind in ("A", "AAAA") for one in answers if one.kind == kind for address in one.order]
    return [Server(address) for address in dict.fromkeys(known)], owner


def gather(name: str, views: Sequence[View], notes: Sequence[str] = ()) -> Records:
    """The views put together: every address anybody gave, and where they disagree."""
    resolvers = [one for one in views if one.role == "resolver"]
    giving = next((one for one in resolvers if one.addresses()), None) or next(
        (one for one in views if one.addresses()), None
    )
    state = "ok" if giving else _why_none(resolvers or views)
    addresses = tuple(dict.fromkeys(address for one in views for address in one.addresses()))
    said = [*notes, *_disagreements(views), *_odd(views)]
    first = giving.answer("A") if giving else None
    if first is not None and first.ttl is None and giving is not None:
        first = giving.answer("AAAA")
    return Records(
        name=name,
        state=state,
        addresses=addresses,
        order=giving.order if giving else "",
        ttl=first.ttl if first else None,
        views=tuple(views),
        notes=tuple(dict.fromkeys(said)),
    )


def _why_none(views: Sequence[View]) -> str:
    """The worst of what was said of A: an error says more than `no record`."""
    states = [one.answer("A").state for one in views]
    return next((state for state in states if state not in ("no record", "ok")), "no A record")


def _disagreements(views: Sequence[View]) -> list[str]:
    sets = {one.server: frozenset(one.answer("A").order) for one in views if one.answer("A").state == "ok"}
    if len(set(sets.values())) < 2:
        return []
    return [
        "servers disagree: " + "; ".join(f"{name} gives {', '.join(sorted(found))}" for name, found in sets.items())
    ]


def _odd(views: Sequence[View]) -> list[str]:
    notes = []
    for one in views:
        first = one.answer("A")
        if first.ttl == 0:
            notes.append(f"{one.server}: TTL 0, every visit asks again")
        if first.over_tcp:
            notes.append(f"{one.server}: the answer is too long for UDP and came over TCP")
        https = next((answer.services for answer in one.answers if answer.kind == "HTTPS"), ())
        notes += services.notes(https, one.addresses(), one.server)
        if first.state not in ("ok", "no record"):
            notes.append(f"{one.server}: {first.state}" + (f" ({first.why})" if first.why else ""))
        second = one.answer("AAAA")
        if first.state == "ok" and second.state not in ("ok", "no record"):
            notes.append(f"{one.server}: {second.state} for AAAA, where A has addresses: {AAAA_FAILS}")
        if one.role == "authoritative" and first.state == "no record" and not first.authoritative and not first.aliases:
            notes.append(f"{one.server}: named for the zone, and does not know it (lame)")
    return notes
