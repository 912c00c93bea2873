"""What one DNS answer says about a name, whatever nonsense the answer holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engines.failover.asking.exchange import bounded
from engines.failover.asking.services import Service, services

if TYPE_CHECKING:
    import dns.message
    import dns.name
    import dns.rrset

CHAIN = 16  # CNAMEs in a row; resolvers give up at 8 to 17


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One server's answer to one question.

    state: ok, no such name, no record, timeout, malformed, CNAME loop, unreachable, or the server's own code
    (SERVFAIL, REFUSED). ttl: the smallest on the way, in seconds. order: the addresses as they came.
    services: of HTTPS records, what they say.
    """

    kind: str
    state: str
    order: tuple[str, ...] = ()
    ttl: int | None = None
    aliases: tuple[str, ...] = ()
    authoritative: bool = False
    validated: bool = False
    signed: bool = False
    over_tcp: bool = False
    why: str = ""
    services: tuple[Service, ...] = ()


def read(message: dns.message.Message, name: str, kind: str, *, over_tcp: bool = False) -> Answer:
    """The answer in a parsed message. Never raises for what a message may hold."""
    import dns.flags
    import dns.name
    import dns.rcode
    import dns.rdatatype

    code = dns.rcode.to_text(message.rcode())
    authoritative, validated = (bool(message.flags & flag) for flag in (dns.flags.AA, dns.flags.AD))
    rrsets = [rrset for rrset in message.answer if rrset.rdclass == 1]
    owner, aliases, ttls = dns.name.from_text(name), [], []
    state, order = {"NOERROR": "no record", "NXDOMAIN": "no such name"}.get(code, code), ()
    found: tuple[Service, ...] = ()
    for _ in range(CHAIN):
        wanted = _rrset(rrsets, owner, dns.rdatatype.from_text(kind))
        alias = _rrset(rrsets, owner, dns.rdatatype.CNAME)
        if wanted is not None:
            ttls.append(wanted.ttl)
            state, order = "ok", tuple(record.to_text() for record in wanted)
            found = services(list(wanted)) if kind == "HTTPS" else ()
            break
        if alias is None:
            break
        ttls.append(alias.ttl)
        owner = next(iter(alias)).target
        aliases.append(owner.to_text(omit_final_dot=True))
        if aliases.count(aliases[-1]) > 1 or aliases[-1].lower() == name.lower():
            state = "CNAME loop"
            break
    else:
        state = "CNAME loop"
    return Answer(
        kind=kind,
        state=state,
        order=order,
        ttl=min(ttls) if ttls else None,
        aliases=tuple(aliases),
        authoritative=authoritative,
        validated=validated,
        signed=any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in message.answer),
        over_tcp=over_tcp,
        services=found,
    )


def _rrset(rrsets: list[dns.rrset.RRset], owner: dns.name.Name, kind: int) -> dns.rrset.RRset | None:
    return next((one for one in rrsets if one.rdtype == kind and one.name == owner and len(one)), None)


def decode(wire: bytes, name: str, kind: str) -> Answer:
    """The answer in a datagram; one that cannot be parsed is `malformed`."""
    import dns.exception
    import dns.message

    try:
        return read(dns.message.from_wire(bounded(wire), ignore_trailing=True), name, kind)
    except (dns.exception.DNSException, ValueError) as error:
        return Answer(kind=kind, state="malformed", why=type(error).__name__)
