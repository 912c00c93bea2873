"""SYN timelines, ladders and HTTP heads: parsers that take anything."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.failover.asking import http1
from engines.failover.lab import ladder, syn_capture
from engines.job.errors import BadParam, Refused


def packet(flags: int, destination: bytes = bytes([203, 0, 113, 20]), port: int = 80) -> bytes:
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes([10, 199, 0, 1]), destination)
    return ip + struct.pack("!HHIIBBHHH", 40000, port, 0, 0, 0x50, flags, 0, 0, 0)


def test_a_syn_is_told_from_every_other_segment() -> None:
    assert syn_capture.parse(packet(0x02), 7.0) == syn_capture.Syn(7.0, "203.0.113.20", 80)
    assert syn_capture.parse(packet(0xC2), 7.0) == syn_capture.Syn(7.0, "203.0.113.20", 80)  # with ECN
    for flags in (0x12, 0x10, 0x04, 0x11, 0x18):
        assert syn_capture.parse(packet(flags), 7.0) is None


@given(st.binary(max_size=80))
def test_no_packet_raises(raw: bytes) -> None:
    found = syn_capture.parse(raw, 0.0)
    assert found is None or 0 <= found.port < 65536


def test_a_line_of_tcpdump_is_read() -> None:
    line = "1795340872.342 IP 10.199.0.1.41234 > 198.51.100.10.80: Flags [S], seq 1, win 64240, length 0"
    assert syn_capture.read_tcpdump(line) == syn_capture.Syn(1795340872.342, "198.51.100.10", 80)
    assert syn_capture.read_tcpdump("tcpdump: listening on near") is None


def test_the_gap_counts_from_first_syn_to_first_syn_since_the_load() -> None:
    syns = [
        syn_capture.Syn(1.0, "a", 80),
        syn_capture.Syn(5.0, "a", 80),
        syn_capture.Syn(5.2, "a", 80),
        syn_capture.Syn(5.3, "b", 80),
    ]
    assert syn_capture.gap(syns, "a", "b") == 4.3
    assert syn_capture.gap(syns, "a", "b", since=4.0) == 0.3
    assert syn_capture.gap(syns[:3], "a", "b") is None


def test_the_ladders_have_the_lengths_that_their_systems_are_known_by() -> None:
    lengths = {name: one.seconds for name, one in ladder.LADDERS.items()}
    assert lengths == {"linux": 131, "linux-old": 127, "windows": 21, "short": 3}


def sysctls(folder: Path, *, linear: bool) -> Path:
    (folder / ladder.RETRIES).write_text("6\n")
    if linear:
        (folder / ladder.LINEAR).write_text("4\n")
    return folder


def test_a_kernel_without_the_sysctl_refuses_what_needs_it_and_names_its_own(tmp_path: Path) -> None:
    old = sysctls(tmp_path, linear=False)
    for name in ("linux", "windows"):
        with pytest.raises(Refused) as refused:
            ladder.choose(name, old)
        assert "tcp_syn_linear_timeouts" in refused.value.why
        assert "linux-old (127 s)" in refused.value.what_helps
    own = ladder.choose("own", old)
    assert (own.name, own.seconds, own.settings) == ("linux-old", 127, {"tcp_syn_retries": 6})
    assert ladder.choose("short", old).seconds == 3


def test_a_kernel_with_the_sysctl_plays_every_ladder(tmp_path: Path) -> None:
    new = sysctls(tmp_path, linear=True)
    assert ladder.choose("own", new).name == "linux"
    assert ladder.choose("windows", new).settings == {"tcp_syn_retries": 3, "tcp_syn_linear_timeouts": 6}
    with pytest.raises(BadParam):
        ladder.choose("amiga", new)


@given(st.binary(max_size=300))
def test_no_http_head_raises_anything_but_its_name(raw: bytes) -> None:
    try:
        head = http1.parse(raw)
    except http1.Wrong as wrong:
        assert wrong.state == "malformed"
    else:
        assert 100 <= head.status < 600


@given(st.text(max_size=40))
def test_any_path_becomes_one_request_line(path: str) -> None:
    lines = http1.request("shop.test", "/" + path).split(b"\r\n")
    assert lines[0].startswith(b"GET /")
    assert lines[0].endswith(b" HTTP/1.1")
    assert len(lines) == 7
