"""The probe, against real servers: the answer first, and a name for every fault."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.failover.asking import probe
from engines.failover.asking.probe import Probed
from engines.failover.asking.site import SiteParams
from engines.job.errors import BadParam
from engines.job.params import convert
from tests.engines.failover.stage import Stage

NAME = "shop.test"


def probed(resolver: str, port: int, **more: object) -> Probed:
    given = {"name": NAME, "resolver": resolver.split(), "scheme": "http", "port": port, "timeout": 20} | more
    return probe.answer(convert(SiteParams, given))


def states(found: Probed) -> dict[str, str]:
    return {light.address: light.state for light in found.lights}


def test_two_healthy_copies_survive_the_loss_of_either(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    found = probed(stage.names(NAME, ["127.0.0.2", "127.0.0.3"])[1], port)
    assert found.survives is True
    assert states(found) == {"127.0.0.2": "ok", "127.0.0.3": "ok"}
    assert found.records.order == "fixed"
    assert found.records.ttl == 60
    assert [light.title for light in found.lights] == ["a shop", "a shop"]
    assert probe.table(found).startswith(f"{NAME}: yes")


def test_one_address_is_no_failover(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2"])
    found = probed(stage.names(NAME, ["127.0.0.2"])[1], port)
    assert found.survives is False
    assert "only one address" in found.verdict


def test_a_second_copy_that_is_dark_cannot_take_over(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2"])
    found = probed(stage.names(NAME, ["127.0.0.2", "127.0.0.3"])[1], port)
    assert found.survives is False
    assert states(found) == {"127.0.0.2": "ok", "127.0.0.3": "refused"}
    assert "127.0.0.2 goes away" in found.verdict


def test_of_three_copies_one_may_be_dark(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    found = probed(stage.names(NAME, ["127.0.0.4", "127.0.0.2", "127.0.0.3"])[1], port)
    assert found.survives is True
    assert any("127.0.0.4" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("mode", "state"), [("close", "closed"), ("reset", "reset"), ("hang", "hang"), ("503", "5xx"), ("slow", "hang")]
)
def test_a_copy_that_misbehaves_has_a_named_fault_within_the_time_out(stage: Stage, mode: str, state: str) -> None:
    copies, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    copies[1].mode = mode
    found = probed(stage.names(NAME, ["127.0.0.2", "127.0.0.3"])[1], port, timeout=4 if state == "hang" else 30)
    assert states(found) == {"127.0.0.2": "ok", "127.0.0.3": state}
    assert found.survives is False
    assert found.seconds < 100


def test_a_copy_without_the_expected_text_cannot_take_over(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    found = probed(stage.names(NAME, ["127.0.0.2", "127.0.0.3"])[1], port, expect="this is copy A")
    assert states(found) == {"127.0.0.2": "ok", "127.0.0.3": "other-content"}


def test_a_rotating_order_is_told_from_a_fixed_one(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    server, at = stage.names(NAME, ["127.0.0.2", "127.0.0.3"])
    server.turning = True
    assert probed(at, port).records.order == "rotating"


def test_resolvers_that_disagree_are_told(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    one, other = stage.names(NAME, ["127.0.0.2"])[1], stage.names(NAME, ["127.0.0.3"])[1]
    found = probed(f"{one} {other}", port)
    assert any(note.startswith("servers disagree") for note in found.notes)
    assert set(states(found)) == {"127.0.0.2", "127.0.0.3"}


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        writer.write(b"X-%d: drop\r\n" % number)
        await writer.drain()
        await asyncio.sleep(0.2)  # it drips


async def huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * (10 << 20) + b"\r\n\r\nhello")
    await writer.drain()
    writer.close()


async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()
    writer.close()


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
    await writer.drain()
    writer.close()


async def bad_chunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("handler", "state"),
    [(drip, "slow"), (huge, "malformed"), (noise, "malformed"), (cut, "closed"), (bad_chunk, "malformed")],
)
def test_a_hostile_server_gets_a_name_and_no_more_than_the_time_out(stage: Stage, handler: object, state: str) -> None:
    port = stage.web(handler, "127.0.0.2")  # type: ignore[arg-type]  a parametrised handler
    found = probed(stage.names(NAME, ["127.0.0.2"])[1], port, timeout=3 if state == "slow" else 30)
    assert states(found) == {"127.0.0.2": state}
    assert found.seconds < 100  # the slow one goes on for 200 s


def test_a_healthy_name_takes_little_longer_than_its_slowest_answer(stage: Stage) -> None:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    at = stage.names(NAME, ["127.0.0.2", "127.0.0.3"])[1]
    found = probed(at, port, timeout=60)
    slowest = max((light.connect or 0) + (light.first_byte or 0) for light in found.lights) / 1000
    assert found.seconds - slowest < 50, "something waits for the time-out"


def test_two_hundred_addresses_are_asked_at_once(stage: Stage) -> None:
    addresses = [f"127.9.{number // 100}.{number % 100 + 1}" for number in range(200)]
    _, port = stage.copies(addresses)
    found = probed(stage.names(NAME, addresses)[1], port, timeout=20)
    assert len(found.lights) == 200
    assert set(states(found).values()) == {"ok"}
    assert any("came over TCP" in note for note in found.notes)
    assert found.survives is True


@pytest.mark.parametrize(
    ("fault", "state"),
    [("drop", "drop"), ("reject with tcp reset", "refused"), ("reject with icmp type host-unreachable", "icmp")],
)
def test_packet_faults_in_a_namespace_have_their_names(fault: str, state: str) -> None:
    script = Path(__file__).with_name("inside.py")
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "--fork",
            "--kill-child",
            sys.executable,
            "-m",
            "tests.engines.failover.asking.inside",
            fault,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=script.parents[4],
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["states"] == {"198.51.100.10": state, "203.0.113.20": "ok"}
    assert found["survives"] is False


@pytest.mark.parametrize(
    "name",
    ["https://shop.test/", "127.0.0.1", "::1", "a..b", "x" * 64 + ".test", "-a.test", "", ".", "a b.test", "ü" * 70],
)
def test_what_is_no_name_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadParam) as refused:
        probe.answer(convert(SiteParams, {"name": name, "resolver": ["127.0.0.1:1"]}))
    assert refused.value.name == "name"
    assert refused.value.what_helps


@pytest.mark.parametrize("resolver", ["nonsense", "127.0.0.1:99999", "[::1", "127.0.0.1:0"])
def test_what_is_no_resolver_is_refused_by_name(resolver: str) -> None:
    with pytest.raises(BadParam) as refused:
        probe.answer(convert(SiteParams, {"name": NAME, "resolver": [resolver]}))
    assert refused.value.name == "resolver"


def test_more_addresses_than_can_be_asked_are_said_to_be_left_out(stage: Stage) -> None:
    addresses = [f"127.8.{number // 200}.{number % 200 + 1}" for number in range(600)]
    found = probed(stage.names(NAME, addresses)[1], 9, timeout=20)
    assert len(found.lights) == probe.MOST
    assert any("200 more addresses were not asked" in note for note in found.notes)
    assert max(map(len, probe.table(found).splitlines())) < 400


async def endless_titles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b"<title" * (256 * 1024 // 6)
    writer.write(b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(body) + body)
    await writer.drain()
    writer.close()


def test_a_page_of_nothing_but_titles_holds_nobody_up(stage: Stage) -> None:
    port = stage.web(endless_titles, "127.0.0.2")
    began = time.process_time()
    found = probed(stage.names(NAME, ["127.0.0.2"])[1], port)
    assert states(found) == {"127.0.0.2": "ok"}
    assert time.process_time() - began < 30.0


async def painted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    page = b"<title>\x1b[31mred\x07</title>"
    writer.write(b"HTTP/1.1 302 Found\r\nServer: \x1b[2J\r\nLocation: /\x1b]0;owned\x07\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n" % len(page) + page)
    await writer.drain()
    writer.close()


def test_a_servers_words_cannot_steer_the_terminal(stage: Stage) -> None:
    found = probed(stage.names(NAME, ["127.0.0.2"])[1], stage.web(painted, "127.0.0.2"))
    words = probe.table(found)
    assert "owned" in words
    assert all(char.isprintable() or char == "\n" for char in words)
