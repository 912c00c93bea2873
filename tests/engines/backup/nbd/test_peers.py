"""The NBD server before peers that do not keep to the protocol."""

from __future__ import annotations

import errno
import random
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backup import nbd_wire as wire
from engines.backup.nbd.server import MOST_CLIENTS, NbdServer
from engines.backup.nbd.sparse import Sparse
from tests.engines.backup.lab import MIB
from tests.engines.backup.nbd.peer import Disk, Line, peer


def test_requests_that_do_not_fit_are_refused_and_the_line_stays(small: NbdServer) -> None:
    wrong = (
        (wire.Cmd.READ, 3 * MIB, 1),
        (wire.Cmd.READ, 3 * MIB - 1, 2),
        (wire.Cmd.READ, 1 << 63, 1),
        (wire.Cmd.READ, 0, 0xFFFFFFFF),
        (wire.Cmd.READ, 0, wire.LONGEST_READ + 1),
        (wire.Cmd.BLOCK_STATUS, 0, 512),
        (wire.Cmd.FLUSH, 0, 0),
        (77, 0, 0),
    )
    with peer(small) as line:
        for kind, offset, length in wrong:
            line.send(kind, offset, length)
            assert line.error() == errno.EINVAL
        line.send(wire.Cmd.READ, 2 * MIB - 10, 20)
        assert line.error() == errno.EIO
        assert line.read(0, 10) == random.Random(1).randbytes(3 * MIB)[:10]
    assert [fault.why for fault in small.faults] == [f"[Errno {errno.EIO}] a scratch"]


def test_options_that_are_unknown_or_malformed_are_refused_and_the_talk_goes_on(small: NbdServer) -> None:
    opt, rep = wire.Opt, wire.Rep
    wrong = (
        (5, b"", rep.ERR_UNSUP),
        (4711, b"x" * 100, rep.ERR_UNSUP),
        (opt.LIST, b"x", rep.ERR_INVALID),
        (opt.STRUCTURED_REPLY, b"x", rep.ERR_INVALID),
        (opt.GO, b"", rep.ERR_INVALID),
        (opt.GO, struct.pack(">I", 5) + b"web", rep.ERR_INVALID),
        (opt.GO, struct.pack(">IH", 0, 9), rep.ERR_INVALID),
        (opt.GO, struct.pack(">I3sH", 3, b"web", 0), rep.ERR_UNKNOWN),
        (opt.SET_META_CONTEXT, struct.pack(">II", 0, 0), rep.ERR_INVALID),  # before structured replies
        (opt.LIST_META_CONTEXT, struct.pack(">II", 0, 0xFFFFFFFF), rep.ERR_INVALID),
    )
    with peer(small, begun=False) as line:
        line.socket.sendall(struct.pack(">I", 3))
        for kind, data, answer in wrong:
            assert line.option(kind, data)[-1][0] == answer
        assert line.option(opt.LIST) == [(rep.SERVER, struct.pack(">I4s", 4, b"web1")), (rep.ACK, b"")]
        assert line.option(opt.GO, struct.pack(">I4sH", 4, b"web1", 0))[-1][0] == rep.ACK
        assert len(line.read(0, 100)) == 100


def test_the_old_way_to_begin_works_with_and_without_padding(small: NbdServer) -> None:
    for flags, padding in ((1, 124), (3, 0)):
        with peer(small, begun=False) as line:
            line.socket.sendall(struct.pack(">I8sII", flags, wire.OPTION, wire.Opt.EXPORT_NAME, 0))
            size, _ = struct.unpack(">QH", line.take(10))
            assert size == 3 * MIB
            assert line.take(padding) == bytes(padding)
            assert len(line.read(10, 20)) == 20


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([
    struct.pack(">I", 3), struct.pack(">8sII", wire.OPTION, 7, 6) + bytes(6), struct.pack(">8sII", wire.OPTION, 8, 0),
    struct.pack(">8sII", wire.OPTION, 3, 1 << 31), struct.pack(">IHHQQI", wire.REQUEST, 0, 0, 1, 0, 100),
    struct.pack(">IHHQQI", wire.REQUEST, 0, 1, 1, 0, 1 << 31), struct.pack(">IHHQQI", wire.REQUEST, 8, 7, 1, 0, 100),
])), max_size=12))  # fmt: skip
def test_whatever_a_peer_says_the_server_serves_the_next_one(said: list[bytes]) -> None:
    with fuzzed() as server:
        line = Line(server.path)
        with suppress(OSError):
            for part in said:
                line.socket.sendall(part)
            line.socket.shutdown(socket.SHUT_WR)
            while line.socket.recv(65536):
                continue
        line.socket.close()
        with peer(server) as sane:
            assert sane.read(0, 64) == bytes(range(64))


_fuzzed: list[NbdServer] = []


@contextmanager
def fuzzed() -> Iterator[NbdServer]:
    """One server for all examples."""
    if not _fuzzed:
        folder = Path(tempfile.mkdtemp(prefix="crashcart-test-nbd-"))
        _fuzzed.append(NbdServer(Disk(bytes(range(256)) * 16), folder / "s"))
        _fuzzed[0].start()
    yield _fuzzed[0]


@pytest.fixture(scope="module", autouse=True)
def end_fuzzed() -> Iterator[None]:
    yield
    while _fuzzed:
        server = _fuzzed.pop()
        server.close()
        server.path.parent.rmdir()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_named_refusal(raw: bytes) -> None:
    for parse in (wire.info_request, wire.context_request):
        with suppress(wire.Malformed):
            name, _ = parse(raw)
            assert raw[4:].startswith(name)
    if len(raw) >= 28:
        with suppress(wire.Hostile):
            wire.request(raw[:28])
    if len(raw) >= 16:
        with suppress(wire.Hostile):
            wire.option(raw[:16])


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=30), st.integers(0, 200), st.integers(1, 500)
)
def test_block_status_is_the_map_of_the_source(steps: list[tuple[int, int]], start: int, length: int) -> None:
    at, extents, wanted = 0, [], bytearray()
    for hole, data in steps:
        extents.append((at + hole, at + hole + data))
        wanted += bytes(hole) + b"\1" * data
        at += hole + data
    wanted += bytes(start + length)
    sparse = Sparse(len(wanted), iter(extents))
    for most in (1, 3, 1000):
        pieces = sparse.pieces(start, start + length, most)
        assert len(pieces) <= most
        assert (
            b"".join((b"\1" if data else b"\0") * count for count, data in pieces)
            == wanted[start : start + sum(count for count, _ in pieces)]
        )
        assert most < 1000 or sum(count for count, _ in pieces) == length


def test_hostile_peers_are_hung_up_on(small: NbdServer) -> None:
    with peer(small) as line:
        line.send(wire.Cmd.READ, 0, 1, magic=1)
        assert line.gone()
    with peer(small) as line:
        line.send(wire.Cmd.WRITE, 0, wire.LONGEST_READ + 1)
        assert line.gone()
    with peer(small, begun=False) as line:
        line.socket.sendall(struct.pack(">I", 0xFF))
        assert line.gone()
    with peer(small, begun=False) as line:
        line.socket.sendall(struct.pack(">I8sII", 3, wire.OPTION, 3, wire.LONGEST_OPTION + 1))
        assert line.gone()
    with peer(small, begun=False) as line:
        line.socket.sendall(struct.pack(">I", 3))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(1000):
                line.option(wire.Opt.LIST)
    assert len(small.turned_away) == 5


def test_more_clients_than_it_serves_are_turned_away_and_room_comes_back(small: NbdServer) -> None:
    lines = [Line(small.path) for _ in range(MOST_CLIENTS)]
    extra = socket.socket(socket.AF_UNIX)
    extra.settimeout(120.0)
    extra.connect(str(small.path))
    assert extra.recv(1) == b""
    extra.close()
    for line in lines:
        line.socket.close()
    for _ in range(1200):
        with suppress(OSError, struct.error), peer(small) as line:
            assert line.read(0, 1)
            return
        time.sleep(0.1)
    pytest.fail("no room came back")
