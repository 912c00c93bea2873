"""Over a slow line reads are asked for side by side, and nothing twice."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.backup.repository import pack, record
from engines.backup.repository.byte_source import unpinned
from engines.backup.repository.repository import Repository
from engines.backup.store.s3.bucket import TRUSTED
from tests.engines.backup import lab
from tests.engines.backup.store.striking import VERBS
from tests.engines.backup.store.weed import Weed

MIB = 1 << 20
BLOCKS = 48
HELD = 60.0  # s that a block is held back at most: whoever asks for one after the other waits that long, and fails
RANGE = re.compile(rb"range: bytes=(\d+)-(\d+)", re.IGNORECASE)


class Slow:
    """A line to a server on which no block comes before `together` of them are asked for; `met` says that it was so."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._waiting = threading.Condition()
        self._held = 0
        self._together = 0
        self.requests = 0
        self.lines = 0
        self.lists: list[str] = []
        self.ranges: list[int] = []  # bytes that were asked for of packs
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def hold(self, together: int) -> None:
        """From now on, until so many blocks were asked for at one time."""
        self._held, self._together = 0, together

    @property
    def met(self) -> bool:
        return not self._together

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            self.lines += 1
            there = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._up, args=(here, there), daemon=True).start()
            threading.Thread(target=self._down, args=(there, here), daemon=True).start()

    def _up(self, here: socket.socket, there: socket.socket) -> None:
        while part := _received(here):
            self.requests += part.startswith(VERBS)
            if b"list-type=2" in (first := part.split(b"\r\n", 1)[0]):
                self.lists.append(first.decode())
            if b".pack" in first and (found := RANGE.search(part)):
                self.ranges.append(int(found[2]) - int(found[1]) + 1)
            if self._together and _long(part):
                self._hold()
            there.sendall(part)
        there.close()

    def _hold(self) -> None:
        with self._waiting:
            self._held += 1
            if self._held >= self._together:
                self._together = 0
                self._waiting.notify_all()
            self._waiting.wait_for(lambda: self.met, HELD)
            self._held -= 1

    def _down(self, there: socket.socket, here: socket.socket) -> None:
        while part := _received(there):
            try:
                here.sendall(part)
            except OSError:
                return
        here.close()

    def close(self) -> None:
        self._listening.close()


def _long(request: bytes) -> bool:
    """Whether it is for half a block or more."""
    found = RANGE.search(request)
    return b".pack" in request and bool(found) and int(found[2]) - int(found[1]) >= MIB // 2


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(1 << 18)
    except OSError:
        return b""


@pytest.fixture
def slow(weed: Weed) -> Iterator[Slow]:
    line = Slow(weed.port)
    yield line
    line.close()


def test_restore_and_reading_ask_for_many_blocks_at_a_time(weed: Weed, slow: Slow, bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(BLOCKS)}, BLOCKS * MIB)
    point = lab.backup(repo, source)
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{slow.port}")
    slow.hold(6)
    assert lab.content(repo, point) == source.read_bytes()
    assert slow.met, "a restore waits for one answer after the other"
    slow.hold(6)
    lab.done("backup-verify", repo=repo)
    assert slow.met, "verify waits for one answer after the other"
    with Repository.open(repo) as repository, unpinned(repository, repository.resolve(point)) as opened:
        slow.hold(4)
        before = slow.requests
        assert opened.read(3, 20 * MIB) == source.read_bytes()[3 : 3 + 20 * MIB]
        assert slow.met, "a long read waits for one answer after the other"
        assert slow.requests - before <= 30
        content = b"".join(opened.read(at, MIB) for at in range(0, BLOCKS * MIB, MIB))
        assert content == source.read_bytes()
        assert slow.requests - before <= 2 * BLOCKS


def test_neighbours_in_a_pack_are_asked_for_at_one_time_and_few_at_a_time(
    weed: Weed, slow: Slow, bucket: str, tmp_path: Path
) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = tmp_path / "disk"
    source.write_bytes(os.urandom(64 * MIB))
    with source.open("r+b") as stream:  # blocks that lie in two places, and a short one at the end
        for at in (10, 50):
            stream.seek(at * MIB)
            stream.write(lab.block(1))
        stream.truncate(64 * MIB - 1000)
    point = lab.backup(repo, source)
    wanted = source.read_bytes()
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{slow.port}")
    target = tmp_path / "target"
    slow.ranges.clear()
    lab.done("backup-restore", repo=repo, point=point, target=str(target))
    assert target.read_bytes() == wanted
    blocks = [length for length in slow.ranges if length > 100_000]
    assert len(blocks) <= 26, "64 blocks, one question each"
    assert max(blocks) <= 4 * MIB + 256, "what is held in memory has an end"
    changed = bytearray(wanted)
    changed[20 * MIB] ^= 1
    target.write_bytes(changed)
    slow.ranges.clear()
    found = lab.done("backup-restore", repo=repo, point=point, target=str(target), delta=True)
    assert target.read_bytes() == wanted and (found["written"], found["same"]) == (MIB, len(wanted) - MIB)
    assert sum(slow.ranges) < 2 * MIB, "what is right already is not fetched"
    slow.ranges.clear()
    lab.done("backup-verify", repo=repo)
    assert len([length for length in slow.ranges if length > 100_000]) <= 26


def test_a_damaged_record_among_neighbours_costs_its_own_block_alone(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(16)}, 16 * MIB)
    point = lab.backup(repo, source)
    with lab.opened(repo) as repository:
        name = repository.codec.id(record.BLOCK, lab.block(8))
        place = next(repository.index.find(name))
        file = pack.name(place.pack)
        raw = bytearray(repository.store.read(file))
        raw[place.offset + record.SIZE + 100] ^= 1
        repository.store.put(file, raw)
    target = tmp_path / "target"
    found = lab.done("backup-restore", repo=repo, point=point, target=str(target), salvage=True)
    assert found["holes"] == [[7 * MIB, 8 * MIB]]
    content = source.read_bytes()
    assert target.read_bytes() == content[: 7 * MIB] + bytes(MIB) + content[8 * MIB :]
    assert lab.verified(repo=repo)["bad"] == 1


def test_no_verb_lists_the_packs_twice(weed: Weed, slow: Slow, bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1, 3: 2}, 8 * MIB)
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{slow.port}")
    other = lab.init(tmp_path / "other")
    verbs: dict[str, dict[str, object]] = {
        "backup": {"source": str(source), "vm": "web1", "limit": "none"},
        "backup-restore": {"point": "web1/disk0@latest", "target": str(tmp_path / "back")},
        "backup-copy": {"to": other},
        "backup-verify": {},
        "backup-prune": {"keep_last": 1},
        "backup-gc": {},
    }
    for task, given in verbs.items():
        slow.lists.clear()
        lab.done(task, repo=repo, **given)
        packs = [line for line in slow.lists if "packs" in line]
        assert len(packs) <= 1, f"{task}: {packs}"


def test_an_unchanged_backup_asks_few_things_over_few_lines(
    weed: Weed, slow: Slow, bucket: str, tmp_path: Path
) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1, 3: 2}, 8 * MIB)
    for _ in range(6):  # their packs have an index file then, and it is here
        lab.backup(repo, source)
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{slow.port}")
    began = time.monotonic()
    lab.backup(repo, source)
    proven_anew = 4 * int((time.monotonic() - began) // TRUSTED)  # who is silent that long is asked once more
    assert slow.requests <= 36 + proven_anew
    assert slow.lines <= 8, "each look at the repository has lines of its own"
