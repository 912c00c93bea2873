"""A line to a bucket that is cut before or after the answer: what is written is whole or not there."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from engines.backup.store.s3.store import S3Store, open_s3
from tests.engines.backup.store.weed import Weed

MIB = 1 << 20


class Cutting:
    """A line to a server. `before` and `after`: how many of the next requests are cut, unsent or unanswered."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.before = self.after = self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(here,), daemon=True).start()

    def _carry(self, here: socket.socket) -> None:
        """One connection: pieces of a request go up until none follows, then its answer comes down."""
        with here, socket.create_connection(("127.0.0.1", self._to)) as there:
            threading.Thread(target=self._down, args=(there, here), daemon=True).start()
            while part := _received(here):
                if self.before and part[:4] in (b"PUT ", b"POST"):
                    self.before -= 1
                    self.cuts += 1
                    _shut(here)
                    return
                there.sendall(part)

    def _down(self, there: socket.socket, here: socket.socket) -> None:
        while part := _received(there):
            if self.after and part.startswith(b"HTTP/1.1 "):
                self.after -= 1
                self.cuts += 1
                _shut(here)
                return
            try:
                here.sendall(part)
            except OSError:
                return

    def close(self) -> None:
        self._listening.close()


def _shut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(1 << 18)
    except OSError:
        return b""


@pytest.fixture
def line(weed: Weed) -> Iterator[Cutting]:
    made = Cutting(weed.port)
    yield made
    made.close()


@pytest.fixture
def store(weed: Weed, bucket: str, line: Cutting) -> S3Store:
    weed.allow(bucket, endpoint=f"http://127.0.0.1:{line.port}", patience=30)
    return open_s3(f"s3://{bucket}/r")


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_new_name_is_ours_though_the_answer_was_lost_and_anothers_where_it_was_taken(
    store: S3Store, line: Cutting, where: str, times: int
) -> None:
    setattr(line, where, times)
    store.put("points/a", b"ours", new=True)
    assert line.cuts == times
    assert store.read("points/a") == b"ours"
    setattr(line, where, times)
    with pytest.raises(FileExistsError):
        store.put("points/a", b"another's", new=True)
    assert store.read("points/a") == b"ours"


@pytest.mark.parametrize("where", ["before", "after"])
def test_what_is_put_renamed_and_uploaded_is_whole(store: S3Store, line: Cutting, where: str) -> None:
    content = os.urandom(20 * MIB)
    setattr(line, where, 1)
    store.put("sessions/a", b"one")
    setattr(line, where, 1)
    store.rename("sessions/a", "pruned/a")
    growing = store.append("packs/s.p.part")
    for at in range(0, len(content), MIB):
        if at == 10 * MIB:
            setattr(line, where, 1)
        growing.write([content[at : at + MIB]])
    setattr(line, where, 1)
    growing.seal("packs/p.pack")
    setattr(line, where, 0)
    assert store.read("pruned/a") == b"one" and store.read("packs/p.pack") == content
    assert sorted(store.names(".")) == ["packs/p.pack", "pruned/a"]
    assert line.cuts >= 3
