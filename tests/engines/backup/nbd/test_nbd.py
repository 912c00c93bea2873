"""The NBD server before real clients, broken points and peers that do not keep to the protocol."""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backup import nbd_wire as wire
from engines.backup.nbd.server import MOST_CLIENTS, NbdServer, serving
from engines.backup.nbd.sparse import Sparse
from engines.backup.repository.byte_source import open_point
from engines.job.errors import Refused
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB

BLOCKS = {0: 1, 1: 2, 5: 3, 64: 4, 300: 5}
SIZE = 300 * MIB + 4608  # a block's beginning, and a whole number of sectors: qemu-img counts in those


class Disk:
    """A source in memory; reads of `bad` fail."""

    def __init__(self, content: bytes, bad: range = range(0)) -> None:
        self.content, self.bad, self.size = content, bad, len(content)

    def read(self, offset: int, length: int) -> bytes:
        if self.bad and offset < self.bad.stop and offset + length > self.bad.start:
            raise OSError(errno.EIO, "a scratch")
        return self.content[offset : offset + length]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("nbd")
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    image = lab.disk(folder / "disk", BLOCKS, SIZE)
    repo = lab.init(folder / "repo")
    lab.backup(repo, image)
    if before is not None:
        os.environ["XDG_STATE_HOME"] = before
    yield image, repo


@pytest.fixture
def served(staged: tuple[Path, str]) -> Iterator[tuple[Path, NbdServer]]:
    repository = lab.opened(staged[1])
    with open_point(repository, repository.names()[0]) as source, serving(source) as server:
        yield staged[0], server


def uri(server: NbdServer) -> str:
    return f"nbd+unix:///?socket={server.path}"


def run(*command: str | Path, ok: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is ok, (command, done.stdout, done.stderr)
    return done.stdout + done.stderr


# ── real clients ────────────────────────────────────────────────────────────────────────────────────


def test_qemu_and_libnbd_see_the_disk_with_its_holes(served: tuple[Path, NbdServer], tmp_path: Path) -> None:
    image, server = served
    assert f"({SIZE} bytes)" in run("qemu-img", "info", uri(server))
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri(server), image)
    mapped = msgspec.json.decode(run("qemu-img", "map", "--output=json", uri(server)))
    data = [(each["start"], each["length"]) for each in mapped if each["data"]]
    assert data == [(0, 2 * MIB), (5 * MIB, MIB), (64 * MIB, MIB), (300 * MIB, SIZE - 300 * MIB)]
    run("nbdcopy", uri(server), tmp_path / "copy")
    run("cmp", tmp_path / "copy", image)
    assert (tmp_path / "copy").stat().st_blocks * 512 < 8 * MIB
    told = run("nbdinfo", uri(server))
    for said in ("is_read_only: true", "can_multi_conn: true", "base:allocation", f"export-size: {SIZE}"):
        assert said in told
    assert "is_read_only: true" in run("nbdinfo", "--list", uri(server))
    assert server.faulty == 0


def test_reads_of_any_length_at_any_place_are_what_the_disk_has(served: tuple[Path, NbdServer]) -> None:
    image, server = served
    run(
        "qemu-io",
        "-r",
        "-f",
        "raw",
        "-c",
        "read 0 32M",
        "-c",
        f"read {300 * MIB} 4608",
        "-c",
        "read 5242879 3",
        uri(server),
    )
    content = image.read_bytes()
    rng = random.Random(7)
    with peer(server) as line:
        for _ in range(200):
            at = rng.choice((0, 5 * MIB - 500, 64 * MIB, 300 * MIB)) + rng.randrange(4000)
            length = min(rng.randrange(1, 3 * MIB), SIZE - at)
            assert line.read(at, length) == content[at : at + length]


def test_nothing_is_written(served: tuple[Path, NbdServer]) -> None:
    image, server = served
    assert "ermission denied" in run("qemu-io", "-f", "raw", "-c", "write 0 512", uri(server), ok=False)
    with peer(server) as line:
        line.send(wire.Cmd.WRITE, 0, 4096, b"x" * 4096)
        assert line.error() == errno.EPERM
        for kind in (wire.Cmd.TRIM, wire.Cmd.WRITE_ZEROES):
            line.send(kind, 0, 4096)
            assert line.error() == errno.EPERM
        assert line.read(0, 4096) == image.read_bytes()[:4096]


def test_bytes_that_cannot_be_vouched_for_are_an_error_and_are_recorded(tmp_path: Path) -> None:
    image = lab.disk(tmp_path / "disk", {0: 1, 1: 2, 2: 3}, 3 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, image)
    file = max(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    repository = lab.opened(repo)
    with open_point(repository, repository.names()[0]) as source, serving(source) as server:
        said = run(
            "qemu-io",
            "-r",
            "-f",
            "raw",
            "-c",
            "read 0 1M",
            "-c",
            "read 1M 1M",
            "-c",
            "read 2M 1M",
            uri(server),
            ok=False,
        )
        assert said.count("Input/output error") == 1
        assert server.faulty == 1
        assert ".pack" in server.faults[0].why


# ── a peer of our own ───────────────────────────────────────────────────────────────────────────────


class Line:
    """A client that says what it likes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30.0)
        self.socket.connect(str(path))
        self.flags = struct.unpack(">8s8sH", self.take(18))[2]

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.socket.recv(count - len(found))
            if not part:
                raise ConnectionResetError
            found += part
        return found

    def option(self, kind: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        self.socket.sendall(struct.pack(">8sII", wire.OPTION, kind, len(data)) + data)
        found = []
        while not found or (found[-1][0] != wire.Rep.ACK and found[-1][0] < 1 << 31):
            magic, option, answer, length = struct.unpack(">QIII", self.take(20))
            assert (magic, option) == (wire.OPTION_REPLY, kind)
            found.append((answer, self.take(length)))
        return found

    def begin(self) -> None:
        self.socket.sendall(struct.pack(">I", 3))
        assert self.option(wire.Opt.GO, struct.pack(">IH", 0, 0))[-1][0] == wire.Rep.ACK

    def send(
        self, kind: int, offset: int, length: int, data: bytes = b"", flags: int = 0, magic: int = wire.REQUEST
    ) -> None:
        self.socket.sendall(struct.pack(">IHHQQI", magic, flags, kind, 99, offset, length) + data)

    def error(self) -> int:
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        assert (magic, cookie) == (wire.SIMPLE, 99)
        return int(error)

    def read(self, offset: int, length: int) -> bytes:
        self.send(wire.Cmd.READ, offset, length)
        assert self.error() == 0
        return self.take(length)

    def gone(self) -> bool:
        """Whether the server has hung up."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@contextmanager
def peer(server: NbdServer, *, begun: bool = True) -> Iterator[Line]:
    line = Line(server.path)
    try:
        if begun:
            line.begin()
        yield line
    finally:
        line.socket.close()


@pytest.fixture
def small() -> Iterator[NbdServer]:
    with serving(Disk(random.Random(1).randbytes(3 * MIB), range(2 * MIB, 2 * MIB + 1)), name="web1") as server:
        yield server


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


# ── its life ────────────────────────────────────────────────────────────────────────────────────────


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
    extra.settimeout(30.0)
    extra.connect(str(small.path))
    assert extra.recv(1) == b""
    extra.close()
    for line in lines:
        line.socket.close()
    for _ in range(300):
        with suppress(OSError, struct.error), peer(small) as line:
            assert line.read(0, 1)
            return
        time.sleep(0.1)
    pytest.fail("no room came back")


def test_the_socket_is_the_owners_alone_and_goes_with_the_server() -> None:
    with serving(Disk(bytes(MIB))) as server:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
        path = server.path
    assert not path.parent.exists()


def test_a_dead_socket_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    place = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(place))
    dead.close()
    with NbdServer(Disk(bytes(MIB)), place) as first:
        assert "1 MiB" in run("qemu-img", "info", uri(first))
        with pytest.raises(Refused, match="somebody listens"):
            NbdServer(Disk(bytes(MIB)), place).start()
    assert not place.exists()
    place.write_text("a file")
    with pytest.raises(Refused, match="no socket"):
        NbdServer(Disk(bytes(MIB)), place).start()
    assert place.read_text() == "a file"
    with pytest.raises(Refused, match="longer"):
        NbdServer(Disk(bytes(MIB)), tmp_path / ("x" * 108)).start()
    with pytest.raises(Refused, match="no folder"):
        NbdServer(Disk(bytes(MIB)), tmp_path / "nowhere" / "s").start()


def test_an_idle_server_with_idle_clients_takes_no_cpu(small: NbdServer) -> None:
    with peer(small) as one, peer(small) as other:
        assert one.read(0, 1) and other.read(0, 1)
        names = {thread.native_id for thread in threading.enumerate() if thread.name.startswith("nbd ")}
        assert len(names) >= 3
        for _ in range(60):  # the last answers' threads lie down, at some time
            before = sum(switches(each) for each in names)
            time.sleep(1.0)
            if sum(switches(each) for each in names) == before:
                return
        pytest.fail("its threads are woken all the time")


def switches(thread: int | None) -> int:
    """How often the kernel has let a thread run."""
    lines = Path(f"/proc/self/task/{thread}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
