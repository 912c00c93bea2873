"""DNS answers of every kind, from real servers on loopback and from hypothesis: a named state, never a traceback."""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.failover.asking import exchange, probe
from engines.failover.asking.dns_answer import decode
from engines.failover.asking.probe import Probed
from engines.failover.asking.site import SiteParams, host_name
from engines.failover.lab.nameserver import answer, question
from engines.job.params import convert
from tests.engines.failover.stage import Reply, Stage
from tests.ports import free_port

NAME = "shop.test"


def probed(stage: Stage, reply: Reply, timeout: int = 30) -> Probed:
    at = stage.odd_names(reply)
    return probe.answer(convert(SiteParams, {"name": NAME, "resolver": [at], "scheme": "http", "timeout": timeout}))


def respond(query: bytes, *records: str, rcode: int = 0) -> bytes:
    asked = dns.message.from_wire(query)
    said = dns.message.make_response(asked)
    said.set_rcode(rcode)
    for record in records:
        name, ttl, kind, value = record.split()
        said.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, value))
    return said.to_wire()


def loop(query: bytes) -> bytes:
    return respond(query, "shop.test. 60 CNAME other.test.", "other.test. 60 CNAME shop.test.")


def self_loop(query: bytes) -> bytes:
    return respond(query, "shop.test. 60 CNAME shop.test.")


def long_chain(query: bytes) -> bytes:
    names = ["shop.test.", *(f"n{at}.test." for at in range(40))]
    return respond(query, *(f"{a} 60 CNAME {b}" for a, b in itertools.pairwise(names)))


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (lambda query: respond(query, rcode=3), "no such name"),
        (lambda query: respond(query), "no record"),
        (lambda query: respond(query, rcode=2), "SERVFAIL"),
        (lambda query: respond(query, rcode=5), "REFUSED"),
        (loop, "CNAME loop"),
        (self_loop, "CNAME loop"),
        (long_chain, "CNAME loop"),
        (lambda query: None, "timeout"),
        (lambda query: query[:2] + b"\x81\x80\x00\x01\x00\x09\x00\x00\x00\x00junk", "malformed"),
        (lambda query: answer(query, NAME, ["127.0.0.2"], 60)[:-2], "malformed"),
        (lambda query: respond(query, "elsewhere.test. 60 A 127.0.0.9"), "no record"),
    ],
    ids=[
        "nxdomain",
        "no A",
        "servfail",
        "refused",
        "loop",
        "self loop",
        "chain",
        "silence",
        "junk",
        "cut",
        "off topic",
    ],
)
def test_an_answer_without_an_address_has_a_name_within_the_time_out(stage: Stage, reply: Reply, state: str) -> None:
    found = probed(stage, reply, timeout=2 if state == "timeout" else 30)
    assert found.survives is False
    wanted = "no A record" if state == "no record" else state
    assert found.records.state == wanted
    assert wanted in found.verdict
    assert probe.table(found)


def test_an_answer_cut_for_udp_with_no_tcp_behind_it_has_a_name(stage: Stage) -> None:
    def truncated(query: bytes) -> bytes:
        said = bytearray(respond(query))
        said[2] |= 0x02
        return bytes(said)

    assert probed(stage, truncated).records.state == "unreachable"


def test_a_server_that_answers_other_questions_without_an_end_is_heard_no_further(stage: Stage) -> None:
    """Each that is there is read at once, so that a flood of them would leave no time to look at the time."""
    port = free_port()

    async def serve() -> None:
        class Flood(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                for _ in range(exchange.GUESSES):
                    self.transport.sendto(b"no" + data[2:], addr)
                self.transport.sendto(answer(data, NAME, ["127.0.0.2"], 60), addr)

        await asyncio.get_running_loop().create_datagram_endpoint(Flood, local_addr=("127.0.0.1", port))

    stage.do(serve())
    at = f"127.0.0.1:{port}"
    found = probe.answer(convert(SiteParams, {"name": NAME, "resolver": [at], "scheme": "http", "timeout": 30}))
    assert found.records.state == "malformed"


def test_a_ttl_of_zero_is_told(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2"])
    at = stage.names(NAME, ["127.0.0.2"], ttl=0)[1]
    found = probe.answer(convert(SiteParams, {"name": NAME, "resolver": [at], "scheme": "http", "port": port}))
    assert any("TTL 0" in note for note in found.notes)


def test_a_last_dot_and_an_international_name_are_understood(stage: Stage) -> None:
    assert host_name("Shop.Test.") == NAME
    assert host_name("bücher.example") == "xn--bcher-kva.example"
    at = stage.names("xn--bcher-kva.test", ["127.0.0.2"])[1]
    found = probe.answer(convert(SiteParams, {"name": "BÜCHER.test.", "resolver": [at], "timeout": 30}))
    assert found.records.addresses == ("127.0.0.2",)


def test_aliases_are_followed_and_told(stage: Stage) -> None:
    def aliased(query: bytes) -> bytes:
        if question(query)[1] != 1:
            return respond(query)
        return respond(query, "shop.test. 300 CNAME lb.test.", "lb.test. 20 A 127.0.0.2")

    found = probed(stage, aliased)
    assert found.records.addresses == ("127.0.0.2",)
    assert found.records.ttl == 20
    assert "by way of lb.test" in probe.table(found)


def zone(query: bytes) -> bytes:
    """A resolver that knows the zone's two servers."""
    name, kind, _ = question(query)
    if kind == 6:
        return soa(query)
    if kind == 2:
        return respond(query, "test. 60 NS ns.test.", "test. 60 NS ns2.test.")
    address = {"ns.test": "127.77.0.1", "ns2.test": "127.77.0.2", "shop.test": "127.0.0.2"}.get(name)
    return respond(query, f"{name}. 60 A {address}") if kind == 1 and address else respond(query)


def test_authoritative_servers_are_found_and_asked(stage: Stage) -> None:
    """One answers, with an address that the resolver has not heard of yet; the other is not there."""
    stage.names(NAME, ["127.0.0.2", "127.0.0.3"], host="127.77.0.1", port=53)
    found = probed(stage, zone)
    asked = {view.server: view for view in found.records.views if view.role == "authoritative"}
    assert set(asked) == {"127.77.0.1", "127.77.0.2"}
    assert asked["127.77.0.1"].answer("A").order == ("127.0.0.2", "127.0.0.3")
    assert asked["127.77.0.1"].answer("A").authoritative
    assert asked["127.77.0.2"].answer("A").state in ("timeout", "unreachable")
    assert [light.address for light in found.lights] == ["127.0.0.2", "127.0.0.3"]
    assert any(note.startswith("servers disagree") for note in found.notes)


def soa(query: bytes) -> bytes:
    said = dns.message.make_response(dns.message.from_wire(query))
    said.authority.append(dns.rrset.from_text("test.", 60, "IN", "SOA", "ns.test. root.test. 1 2 3 4 5"))
    return said.to_wire()


@given(st.binary(max_size=600))
def test_no_datagram_whatever_raises(wire: bytes) -> None:
    assert decode(wire, NAME, "A").state


@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 300))
def test_no_damaged_answer_raises(at: int, byte: int, length: int) -> None:
    query = dns.message.make_query(NAME, "A").to_wire()
    good = bytearray(respond(query, "shop.test. 60 CNAME lb.test.", "lb.test. 20 A 127.0.0.2"))
    good[at % len(good)] = byte
    assert decode(bytes(good[: max(1, len(good) - length)]), NAME, "A").state


@given(st.binary(min_size=12, max_size=100))
def test_the_labs_nameserver_answers_any_query_with_a_message(query: bytes) -> None:
    said = answer(query, NAME, ["127.0.0.2"], 60)
    assert said[:2] == query[:2]
    assert struct.unpack_from("!H", said, 2)[0] & 0x8000


def test_the_labs_nameserver_keeps_the_order_it_was_given() -> None:
    addresses = ["203.0.113.9", "198.51.100.1", "192.0.2.200"]
    for _ in range(20):
        said = dns.message.from_wire(answer(dns.message.make_query(NAME, "A").to_wire(), NAME, addresses, 60))
        assert [record.to_text() for record in said.answer[0]] == addresses
        assert said.flags & dns.flags.AA


def test_a_server_that_gives_its_records_in_parts_is_asked_until_all_are_known(stage: Stage) -> None:
    turn = itertools.count()

    def part(query: bytes) -> bytes:
        if question(query)[1] != 1:
            return respond(query)
        return respond(query, f"shop.test. 60 A 127.0.0.{2 + next(turn) % 3}")

    found = probed(stage, part)
    assert {light.address for light in found.lights} == {"127.0.0.2", "127.0.0.3", "127.0.0.4"}
    assert found.records.order == "rotating"


@pytest.mark.parametrize("count", [600, 5000])
def test_no_answer_costs_more_than_its_bytes(count: int) -> None:
    """Names that point into one long name: each record takes as long as a hundred labels."""
    long = b"\x01a" * 126 + b"\x00" + struct.pack("!HH", 1, 1)
    records = b"".join(
        struct.pack("!HHHIHH", 0xC00C, 5, 1, 60, 2, 0xC000 | (12 + 2 * (at % 100))) for at in range(count)
    )
    wire = struct.pack("!HHHHHH", 1, 0x8180, 1, count, 0, 0) + long + records
    began = time.process_time()
    state = decode(wire, NAME, "A").state
    assert time.process_time() - began < 60.0
    assert state == ("no record" if count <= 1024 else "malformed")


def test_a_site_with_more_records_than_are_read_is_malformed_within_the_time_out(stage: Stage) -> None:
    at = stage.names(NAME, [f"127.{a}.{b}.1" for a in range(20) for b in range(60)])[1]
    found = probe.answer(convert(SiteParams, {"name": NAME, "resolver": [at], "scheme": "http", "timeout": 60}))
    assert found.survives is False
    assert found.records.state == "malformed"
