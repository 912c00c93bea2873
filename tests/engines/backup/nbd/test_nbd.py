"""The NBD server before real clients and broken points."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engines.backup import nbd_wire as wire
from engines.backup.nbd.server import NbdServer, serving
from engines.backup.repository.byte_source import open_point
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.nbd.peer import peer, run, uri

BLOCKS = {0: 1, 1: 2, 5: 3, 64: 4, 300: 5}
SIZE = 300 * MIB + 4608  # a block's beginning, and a whole number of sectors: qemu-img counts in those


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
