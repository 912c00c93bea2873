"""A line to an S3 server that strikes at a request that was counted to, and runs of engines behind it.

A clock would not do: see tests/engines/backup/strike.py.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

VERBS = (b"GET /", b"PUT /", b"POST ", b"HEAD ", b"DELET")


class Striking:
    """`requests`: how many went up since it was armed."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = threading.Lock()
        self._at = 0
        self._strike: Callable[[], None] = lambda: None
        self.requests = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def arm(self, at: int, strike: Callable[[], None]) -> None:
        """Have `strike` called before the request with that number, from 1, goes on; 0 for never."""
        with self._lock:
            self.requests, self._at, self._strike = 0, at, strike

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(here,), daemon=True).start()

    def _carry(self, here: socket.socket) -> None:
        with here:
            try:
                there = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            with there:
                threading.Thread(target=_pass, args=(there, here, lambda _: None), daemon=True).start()
                _pass(here, there, self._count)

    def _count(self, part: bytes) -> None:
        if not part.startswith(VERBS):
            return
        with self._lock:
            self.requests += 1
            strikes = self.requests == self._at
        if strikes:
            self._strike()

    def close(self) -> None:
        self._listening.close()


def _pass(from_: socket.socket, to: socket.socket, seen: Callable[[bytes], None]) -> None:
    try:
        while part := from_.recv(1 << 18):
            seen(part)
            to.sendall(part)
    except OSError:
        pass
    for line in (from_, to):
        try:
            line.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


def started(task: str, folder: Path, **params: object) -> subprocess.Popen[bytes]:
    """An engine in a process of its own, without the lock that keeps two runs of one target apart."""
    folder.mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "tests.engines.backup.store.striking", task, str(folder), json.dumps(params)]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=(folder / "said").open("wb"))


def struck(line: Striking, at: int, task: str, folder: Path, **params: object) -> bool:
    """The engine, killed as its `at`th request goes up; False where it had ended before. Raises where it failed."""
    work: list[subprocess.Popen[bytes]] = []
    begun = threading.Event()

    def strike() -> None:
        begun.wait(60)
        work[0].kill()
        work[0].wait()

    line.arm(at, strike)
    work.append(started(task, folder, **params))
    begun.set()
    status = work[0].wait()
    assert status in (0, -9), (folder / "said").read_text()[-2000:]
    return status == -9


if __name__ == "__main__":
    from tests.engines.backup.strike import driven

    driven(sys.argv[1], Path(sys.argv[2]), **json.loads(sys.argv[3]))
