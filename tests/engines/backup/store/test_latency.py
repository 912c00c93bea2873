"""Over a line where every answer takes 30 ms, reads are asked for side by side, and nothing twice."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.backup.repository.byte_source import unpinned
from engines.backup.repository.repository import Repository
from tests.engines.backup import lab
from tests.engines.backup.store.weed import Weed

MIB = 1 << 20
LATENCY = 0.03  # s
BLOCKS = 48


class Slow:
    """A line to a server on which each request takes LATENCY longer; `most` were under way at once."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = threading.Lock()
        self._waiting = 0
        self.most = 0
        self.requests = 0
        self.lists: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._up, args=(here, there), daemon=True).start()
            threading.Thread(target=self._down, args=(there, here), daemon=True).start()

    def _up(self, here: socket.socket, there: socket.socket) -> None:
        while part := _received(here):
            with self._lock:
                self._waiting += 1
                self.requests += 1
                if b"list-type=2" in (first := part.split(b"\r\n", 1)[0]):
                    self.lists.append(first.decode())
                self.most = max(self.most, self._waiting)
            time.sleep(LATENCY)
            with self._lock:
                self._waiting -= 1
            there.sendall(part)
        there.close()

    def _down(self, there: socket.socket, here: socket.socket) -> None:
        while part := _received(there):
            try:
                here.sendall(part)
            except OSError:
                return
        here.close()

    def close(self) -> None:
        self._listening.close()


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
    assert lab.content(repo, point) == source.read_bytes()
    assert slow.most >= 6, "a restore waits for one answer after the other"
    with Repository.open(repo) as repository, unpinned(repository, repository.resolve(point)) as opened:
        slow.most, before = 0, slow.requests
        assert opened.read(3, 20 * MIB) == source.read_bytes()[3 : 3 + 20 * MIB]
        assert slow.most >= 4, "a long read waits for one answer after the other"
        assert slow.requests - before <= 30
        content = b"".join(opened.read(at, MIB) for at in range(0, BLOCKS * MIB, MIB))
        assert content == source.read_bytes()
        assert slow.requests - before <= 2 * BLOCKS


def test_backup_restore_and_copy_list_the_packs_once(weed: Weed, slow: Slow, bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1, 3: 2}, 8 * MIB)
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{slow.port}")
    other = lab.init(tmp_path / "other")
    verbs: dict[str, dict[str, object]] = {
        "backup": {"source": str(source), "vm": "web1", "limit": "none"},
        "backup-restore": {"point": "web1/disk0@latest", "target": str(tmp_path / "back")},
        "backup-copy": {"to": other},
    }
    for task, given in verbs.items():
        slow.lists.clear()
        lab.done(task, repo=repo, **given)
        packs = [line for line in slow.lists if "packs" in line]
        assert len(packs) <= 1, f"{task}: {packs}"
