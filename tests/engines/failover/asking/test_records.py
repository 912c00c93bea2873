"""One server's view of a name: what is asked, how often, and what is kept of answers that differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from engines.failover.asking import records
from engines.failover.asking.dns_answer import Answer
from engines.failover.asking.site import Server
from tests.engines.failover.stage import Stage

NAME = "shop.test"
Asked = list[dns.message.Message]


def server(stage: Stage, reply: Callable[[dns.message.Message, Asked], bytes | None]) -> tuple[Server, Asked]:
    """A nameserver on loopback, and what it has been asked so far, the present question last."""
    asked: Asked = []

    def one(query: bytes) -> bytes | None:
        asked.append(dns.message.from_wire(query))
        return reply(asked[-1], asked)

    host, _, port = stage.odd_names(one).rpartition(":")
    return Server(host, int(port)), asked


def said(query: dns.message.Message, *values: str, rcode: int = 0, ttl: int = 30) -> bytes:
    """An answer of the kind that was asked for."""
    response = dns.message.make_response(query)
    response.set_rcode(rcode)
    if values:
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        response.answer.append(dns.rrset.from_text_list(question.name, ttl, "IN", kind, list(values)))
    return response.to_wire()


def ask(at: Server, *, recurse: bool = True) -> Answer:
    return asyncio.run(records.ask(at, NAME, "A", 60.0, recurse=recurse))


def test_a_failure_stays_what_it_was_where_the_second_answer_is_none(stage: Stage) -> None:
    at, asked = server(
        stage, lambda query, _: said(query, rcode=2) if query.edns >= 0 else said(query)[:6] + b"\0\x09" * 3
    )
    assert ask(at, recurse=False).state == "SERVFAIL"
    assert [query.edns >= 0 for query in asked] == [True, False]


def test_a_zones_own_server_is_never_asked_to_leave_signatures_unchecked(stage: Stage) -> None:
    at, asked = server(stage, lambda query, _: said(query, rcode=2))
    assert ask(at, recurse=False).why == ""
    assert not any(query.flags & (dns.flags.CD | dns.flags.RD) for query in asked)
    ask(at)
    assert any(query.flags & dns.flags.CD for query in asked) and asked[-1].flags & dns.flags.RD


def test_an_answer_of_too_many_records_is_not_asked_for_again(stage: Stage) -> None:
    def many(query: dns.message.Message, _: Asked) -> bytes:
        wire = bytearray(said(query))
        wire[6:8] = b"\xff\xff"
        return bytes(wire)

    at, asked = server(stage, many)
    assert (ask(at).state, len(asked)) == ("malformed", 1)


def view(at: Server, port: int = 443) -> records.View:
    return asyncio.run(records.view(at, NAME, 60.0, "resolver", port=port))


def test_https_records_are_asked_for_by_port_and_their_targets_looked_up(stage: Stage) -> None:
    def reply(query: dns.message.Message, _: Asked) -> bytes:
        name, kind = query.question[0].name.to_text(), dns.rdatatype.to_text(query.question[0].rdtype)
        if kind == "HTTPS":
            return (
                said(query, "1 cdn.test. alpn=h2", "2 other.test. port=8443") if name == "shop.test." else said(query)
            )
        of_one = {"shop.test.": "127.0.0.2", "cdn.test.": "127.0.0.7", "other.test.": "127.0.0.8"}[name]
        return said(query, of_one) if kind == "A" else said(query)

    at, asked = server(stage, reply)
    assert [one.leads for one in view(at).answer("HTTPS").services] == [("127.0.0.7",), ()]
    assert view(at, 8443).answer("HTTPS").services == ()
    assert "_8443._https.shop.test." in [query.question[0].name.to_text() for query in asked]


def test_a_name_with_aaaa_alone_has_the_ttl_of_that(stage: Stage) -> None:
    at, _ = server(stage, lambda query, _: said(query, *(["::1"] if query.question[0].rdtype == 28 else []), ttl=77))
    found = records.gather(NAME, [view(at)])
    assert (found.state, found.ttl, found.addresses, found.order) == ("ok", 77, ("::1",), "single")


def test_of_answers_of_which_some_fail_those_that_hold_addresses_count(stage: Stage) -> None:
    def reply(query: dns.message.Message, asked: Asked) -> bytes:
        first = query.question[0].rdtype == 1 and len([one for one in asked if one.question[0].rdtype == 1]) <= 2
        return said(query, rcode=2) if first else said(query, *(["127.0.0.2"] if query.question[0].rdtype == 1 else []))

    at, _ = server(stage, reply)
    found = view(at)
    assert (found.answer("A").state, found.addresses(), found.offers["A"]) == ("ok", ("127.0.0.2",), (("127.0.0.2",),))


def test_a_resolver_that_knows_no_zone_leaves_a_note(stage: Stage) -> None:
    at, _ = server(stage, lambda query, _: said(query))
    views, note = asyncio.run(records.authoritative(at, NAME, 60.0))
    assert views == [] and f"names no authoritative servers for {NAME}" in note
