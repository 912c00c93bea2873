"""The verdict that a manager can act on: yes only for copies that are alike, and for the visitor who fares worst."""

from __future__ import annotations

import itertools

import dns.message
import dns.rrset
import pytest

from engines.failover.asking import probe
from engines.failover.asking.address import AddressCheck
from engines.failover.asking.dns_answer import Answer
from engines.failover.asking.probe import Probed
from engines.failover.asking.records import Records, View, gather
from engines.failover.asking.site import SiteParams
from engines.failover.asking.verdict import judge
from engines.failover.lab.copies import Copy
from engines.failover.lab.nameserver import question
from engines.job.params import convert
from tests.engines.failover.asking.test_dns import respond, soa
from tests.engines.failover.stage import Stage

NAME = "shop.test"
TWO = ["127.0.0.2", "127.0.0.3"]


def probed(resolver: str, port: int, **more: object) -> Probed:
    given = {"name": NAME, "resolver": resolver.split(), "scheme": "http", "port": port, "timeout": 20} | more
    return probe.answer(convert(SiteParams, given))


def missing(copy: Copy) -> None:
    copy.status, copy.title = "404 Not Found", "a shop"


def other_title(copy: Copy) -> None:
    copy.title = "Apache2 Debian Default Page: It works"


def elsewhere(copy: Copy) -> None:
    copy.status, copy.location = "302 Found", "https://parked.example/"


def forbidden(copy: Copy) -> None:
    copy.status = "403 Forbidden"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, ("127.0.0.2 200", "127.0.0.3 404")),
        (other_title, ("title", "'a shop'", "It works")),
        (elsewhere, ("status", "127.0.0.3 302")),
        (forbidden, ("127.0.0.3 403",)),
    ],
)
def test_copies_that_are_not_alike_are_never_called_yes(stage: Stage, spoil: object, words: tuple[str, ...]) -> None:
    copies, port = stage.copies(TWO)
    spoil(copies[1])  # type: ignore[operator]  a parametrised change
    found = probed(stage.names(NAME, TWO)[1], port)
    assert found.survives is None
    assert found.verdict.startswith("cannot be called yes: ")
    assert all(word in found.verdict for word in words), found.verdict
    assert probe.code(found) == probe.UNTOLD


def test_redirects_to_different_places_are_not_alike_and_to_the_same_place_are(stage: Stage) -> None:
    copies, port = stage.copies(TWO)
    for copy, location in zip(copies, ("https://www.shop.test/", "HTTPS://WWW.shop.test:443"), strict=True):
        copy.status, copy.location = "301 Moved Permanently", location
        copy.title = f"moved by {copy.letter}"
    at = stage.names(NAME, TWO)[1]
    assert probed(at, port).survives is True
    copies[1].location = "https://www.shop.test/sorry"
    found = probed(at, port)
    assert found.survives is None
    assert "redirect" in found.verdict
    assert "/sorry" in found.verdict


def test_with_an_expected_text_titles_may_differ(stage: Stage) -> None:
    copies, port = stage.copies(TWO)
    copies[1].title = "a shop (3)"
    at = stage.names(NAME, TWO)[1]
    assert probed(at, port).survives is None
    assert probed(at, port, expect="this is copy").survives is True


def test_a_page_that_no_copy_has_proves_nothing(stage: Stage) -> None:
    copies, port = stage.copies(TWO)
    for copy in copies:
        copy.status = "404 Not Found"
    found = probed(stage.names(NAME, TWO)[1], port)
    assert found.survives is None
    assert "--path" in found.verdict


def test_each_resolver_is_judged_by_itself(stage: Stage) -> None:
    """One knows both addresses, another is stale: its visitors have no other copy."""
    _, port = stage.copies(TWO)
    good, stale = stage.names(NAME, TWO)[1], stage.names(NAME, TWO[:1])[1]
    found = probed(f"{good} {stale}", port)
    assert found.survives is False
    assert stale in found.verdict
    assert good not in found.verdict
    assert {sight.survives for sight in found.sights} == {True, False}
    assert probe.code(found) == probe.NO


def test_a_resolver_that_says_there_is_no_such_name_is_no(stage: Stage) -> None:
    _, port = stage.copies(TWO)
    good, other = stage.names(NAME, TWO)[1], stage.names("other.test", TWO)[1]
    found = probed(f"{good} {other}", port)
    assert found.survives is False
    assert "no such name" in found.verdict
    assert other in found.verdict


@pytest.mark.parametrize(("rcode", "survives"), [(2, None), (3, False), (5, True)])
def test_a_resolver_that_fails_is_no_proof_of_no(stage: Stage, rcode: int, survives: bool | None) -> None:
    """SERVFAIL may be the resolver's own fault or a signature that does not hold; REFUSED is for strangers."""
    _, port = stage.copies(TWO)
    ill = stage.odd_names(lambda query: respond(query, rcode=rcode))
    assert probed(f"{stage.names(NAME, TWO)[1]} {ill}", port).survives is survives


def test_a_resolver_that_is_silent_changes_nothing(stage: Stage) -> None:
    _, port = stage.copies(TWO)
    found = probed(f"{stage.names(NAME, TWO)[1]} {stage.odd_names(lambda query: None)}", port, timeout=5)
    assert found.survives is True


def test_an_authoritative_server_with_other_records_is_judged(stage: Stage) -> None:
    _, port = stage.copies(TWO)
    stage.names(NAME, TWO[:1], host="127.77.0.3", port=53)

    def zone(query: bytes) -> bytes:
        name, kind, _ = question(query)
        records = {
            (NAME, 1): [f"{NAME}. 60 A {address}" for address in TWO],
            ("test", 2): ["test. 60 NS ns.test."],
            ("ns.test", 1): ["ns.test. 60 A 127.77.0.3"],
        }.get((name, kind), [])
        return soa(query) if kind == 6 else respond(query, *records)

    found = probed(stage.odd_names(zone), port)
    assert found.survives is False, found.records
    assert "127.77.0.3" in found.verdict


def test_one_address_per_answer_in_turn_is_no_failover_before_the_ttl(stage: Stage) -> None:
    _, port = stage.copies(TWO)
    server, at = stage.names(NAME, TWO, ttl=300)
    server.single = True
    found = probed(at, port)
    assert found.survives is False
    assert "TTL (300 s)" in found.verdict
    assert {light.state for light in found.lights} == {"ok"}


def test_addresses_given_in_parts_are_judged_part_by_part(stage: Stage) -> None:
    _, port = stage.copies(TWO)
    parts = itertools.cycle([TWO, ["127.0.0.3", "127.0.0.4"]])

    def some(query: bytes) -> bytes:
        if question(query)[1] != 1:
            return respond(query)
        return respond(query, *(f"{NAME}. 60 A {address}" for address in next(parts)))

    found = probed(stage.odd_names(some), port)
    assert found.survives is False
    assert "127.0.0.3 goes away" in found.verdict


def test_without_ipv6_of_its_own_it_is_not_judged_and_never_no(stage: Stage) -> None:
    _, port = stage.copies(TWO)
    found = probed(stage.names(NAME, [*TWO, "2001:db8::2"])[1], port)
    assert found.survives is None
    assert "not judged from here" in found.verdict
    assert "IPv6" in found.verdict
    assert "unreachable" not in probe.table(found)
    sights = {sight.visitors: sight.survives for sight in found.sights}
    assert sights == {"IPv4 only": True, "IPv6 only": None, "IPv4 and IPv6": True}


def test_visitors_with_ipv6_only_are_judged_where_this_machine_can(stage: Stage) -> None:
    port = stage.copies(["127.0.0.2", "127.0.0.3", "::1"])[1]
    found = probed(stage.names(NAME, [*TWO, "::1"])[1], port)
    assert found.survives is False
    assert "IPv6 only" in found.verdict
    assert "::1" in found.verdict


def test_one_address_of_each_family_carries_those_who_have_both(stage: Stage) -> None:
    port = stage.copies(["127.0.0.2", "::1"])[1]
    found = probed(stage.names(NAME, ["127.0.0.2", "::1"])[1], port)
    sights = {sight.visitors: sight.survives for sight in found.sights}
    assert sights == {"IPv4 only": False, "IPv6 only": False, "IPv4 and IPv6": True}
    assert found.survives is False


def known(*offers: tuple[str, ...]) -> Records:
    answers = tuple(Answer(kind=kind, state="ok", order=offers[0], ttl=60) for kind in ("A",))
    empty = Answer(kind="AAAA", state="no record")
    return gather(
        NAME,
        [View(server="s", role="resolver", order="fixed", answers=(*answers, empty), offers={"A": offers, "AAAA": ()})],
    )


def light(address: str, **more: object) -> AddressCheck:
    given: dict[str, object] = {"address": address, "state": "ok", "status": 200, "title": "a shop"}
    return AddressCheck(**(given | more))  # type: ignore[arg-type]  a test's own values


@pytest.mark.parametrize(
    ("other", "survives"),
    [
        ({}, True),
        ({"status": 204}, True),
        ({"status": 301, "redirect": "https://x/"}, None),
        ({"title": ""}, None),
        ({"state": "drop", "status": None}, False),
        ({"state": "no-route", "status": None}, None),
    ],
)
def test_what_is_alike(other: dict[str, object], survives: bool | None) -> None:
    assert judge(known(("a1", "a2")), [light("a1"), light("a2", **other)]).survives is survives


@pytest.mark.parametrize("status", [204, 205, 400, 406, 407, 418, 426, 451])
def test_an_answer_without_a_page_from_every_copy_proves_nothing(status: int) -> None:
    told = judge(known(("a1", "a2")), [light("a1", status=status), light("a2", status=status)])
    assert told.survives is None
    assert str(status) in told.words and "--path" in told.words


def test_a_login_that_every_copy_asks_for_is_the_site() -> None:
    assert judge(known(("a1", "a2")), [light("a1", status=401), light("a2", status=401)]).survives is True


def test_where_every_copy_sends_on_to_is_named_as_not_asked(stage: Stage) -> None:
    copies, port = stage.copies(TWO)
    for copy in copies:
        copy.status, copy.location = "301 Moved Permanently", "https://www.shop.test/"
    found = probed(stage.names(NAME, TWO)[1], port)
    told = "on to https://www.shop.test/, which was not asked; probe www.shop.test, too"
    assert any(told in note for note in found.notes), found.notes


def test_pages_without_a_title_are_alike_only_byte_for_byte() -> None:
    first = light("a1", title="", sha256="1" * 64)
    assert judge(known(("a1", "a2")), [first, light("a2", title="", sha256="1" * 64)]).survives is True
    told = judge(known(("a1", "a2")), [first, light("a2", title="", sha256="2" * 64)])
    assert told.survives is None
    assert "--expect" in told.words


def test_an_address_that_was_not_asked_is_not_called_dead() -> None:
    told = judge(known(("a1", "a2")), [light("a1")])
    assert told.survives is None
    assert "was not asked" in told.words


def https(query: bytes, *values: str) -> bytes:
    asked = dns.message.from_wire(query)
    said = dns.message.make_response(asked)
    kind = question(query)[1]
    if kind == 1:
        said.answer.append(dns.rrset.from_text(f"{NAME}.", 60, "IN", "A", *TWO))
    if kind == 65:
        said.answer.append(dns.rrset.from_text(asked.question[0].name.to_text(), 60, "IN", "HTTPS", *values))
    return said.to_wire()


@pytest.mark.parametrize(
    ("value", "survives", "words"),
    [
        ("1 . alpn=h2,h3", True, "HTTP/3"),
        ("1 . ipv4hint=127.0.0.2,127.0.0.3", True, "must change with A"),
        ("1 . ipv4hint=127.0.0.9", None, "hints at 127.0.0.9"),
        ("0 cdn.example.", True, "on to cdn.example"),
        ("1 other.example. port=8443", True, "to other.example, port 8443"),
    ],
)
def test_https_records_are_read(stage: Stage, value: str, survives: bool | None, words: str) -> None:
    _, port = stage.copies(TWO)
    found = probed(stage.odd_names(lambda query: https(query, value)), port)
    assert found.survives is survives, found.verdict
    assert words in " ".join(found.notes), found.notes


def test_how_long_until_a_change_is_seen_is_told_by_client(stage: Stage) -> None:
    _, port = stage.copies(TWO)
    found = probed(stage.names(NAME, TWO, ttl=3600)[1], port)
    told = "\n".join(found.seen_after)
    assert "up to 1 h 0 min (TTL 3600" in told
    assert "chromium 156, open: up to 1 h 1 min" in told
    assert "webkit 2.50, open: did not ask again" in told
    assert "lower the TTL to 60 and wait 1 h 0 min" in told
    assert told.splitlines()[0] in probe.table(found)
