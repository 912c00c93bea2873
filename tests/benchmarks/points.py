"""How lists, verify and gc grow with the points: 1,000 and 5,000 of them, each with a pack of its own, before any gc.

The marks: 5,000 points cost verify and gc at most 6 times what 1,000 cost, a list of 5,000 half a second more than one
of none, both in processor time, which other work on the machine stretches least; a list of 1,000 over sftp with 30 ms
of latency takes 5 s, as its processor time and its waits add up to on a machine of its own: what it waits for the line
is told by a second list over ten times the latency, however slow the machine is.

$CRASHCART_BENCH is the folder to work in.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import yaml

from engines.backup.repository import catalogue, record
from engines.backup.repository.point import Point
from engines.backup.repository.sessions import Presence
from engines.backup.repository.writer import Writer
from engines.backup.store.sftp import access
from tests.benchmarks._image import MIB
from tests.benchmarks._measured import Bench, Took
from tests.engines.backup import lab
from tests.engines.backup.store.sshd import Sshd

FEW, MANY = 1000, 5000
LATENCY = 0.03  # s until what was sent goes on
TRIES = 2
FIRST = 1_700_000_000  # Unix time of the first point; one an hour follows


def filled(repo: str, source: Path, count: int) -> None:
    """Points of 64 disks, each stored by a session's own writer as a night's backup is: one new block, one map."""
    point = lab.backup(repo, lab.disk(source, {0: 1}, 4 * MIB), vm="web0")
    with lab.opened(repo) as repository, Presence(repository.store, "write", "points for a benchmark") as presence:
        head = repository.point(repository.resolve(point)).head
        catalogue.look(repository, presence)
        for number in range(count - 1):
            writer = Writer(repository, presence)
            block = os.urandom(64) + bytes(MIB - 64)
            name = repository.codec.id(record.BLOCK, block)
            writer.store(record.BLOCK, name, block)
            content = name + bytes(96)
            map_ = repository.codec.id(record.MAP, content)
            writer.store(record.MAP, map_, content)
            at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(FIRST + number // 64 * 3600))
            made = msgspec.structs.replace(
                head, vm=f"vm{number % 64}", time=at, taken=at, parent="", session=presence.session.id
            )
            catalogue.commit(repository, writer, [Point(made, (map_,))])


class Late:
    """A line that delivers each piece LATENCY after it was sent, however many are on their way."""

    def __init__(self, port: int, latency: float = LATENCY) -> None:
        self._to = port
        self._latency = latency
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            here, _ = self._listening.accept()
            there = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._pass, args=(here, there, self._latency), daemon=True).start()
            threading.Thread(target=self._pass, args=(there, here, 0.0), daemon=True).start()

    def _pass(self, from_: socket.socket, to: socket.socket, late: float) -> None:
        pieces: list[tuple[float, bytes]] = []
        there = threading.Condition()

        def deliver() -> None:
            while True:
                with there:
                    there.wait_for(lambda: bool(pieces))
                    due, part = pieces.pop(0)
                time.sleep(max(due - time.monotonic(), 0.0))
                try:
                    if not part:
                        to.shutdown(socket.SHUT_RDWR)
                        return
                    to.sendall(part)
                except OSError:
                    return

        threading.Thread(target=deliver, daemon=True).start()
        while True:
            try:
                part = from_.recv(1 << 17)
            except OSError:
                part = b""
            with there:
                pieces.append((time.monotonic() + late, part))
                there.notify()
            if not part:
                return


def far(bench: Bench, repo: str) -> None:
    """A list over sftp, and how often it waits for an answer before it can ask on."""
    folder = bench.folder / "sshd"
    folder.mkdir()
    with Sshd(folder) as server:
        took = {times: min((_listed(bench, server, repo, times) for _ in range(TRIES)), key=_wall) for times in (1, 10)}
    near, distant = took[1], took[10]
    waits = max(distant.seconds - near.seconds, 0.0) / (9 * LATENCY)
    print(f"  list of {FEW} points over sftp: {near}; with {10 * LATENCY * 1000:.0f} ms: {distant}", flush=True)
    print(f"  that is {waits:.0f} times there and back", flush=True)
    alone = near.user + near.system + waits * LATENCY
    bench.mark(f"list of {FEW} over sftp with {LATENCY * 1000:.0f} ms, s of processor and waits", alone, 5)


def _listed(bench: Bench, server: Sshd, repo: str, times: int) -> Took:
    line = Late(server.port, times * LATENCY)
    path = access.access_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    place = server.place.rpartition(":")[0] + f":{line.port}"
    path.write_text(yaml.safe_dump({place: {"key_file": str(server.folder / "key"), "host_key": server.fingerprint}}))
    return bench.ours("list", "--repo", f"sftp://{place}{repo}")


def _wall(took: Took) -> float:
    return took.seconds


def main() -> int:
    with tempfile.TemporaryDirectory(dir=os.environ.get("CRASHCART_BENCH"), prefix="points-") as name:
        folder = Path(name)
        os.environ |= {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
        bench = Bench(folder)
        took: dict[str, list[float]] = {"list": [], "verify": [], "gc": []}
        none = lab.init(folder / "none")
        bench.ours("list", "--repo", none)  # compiles
        nothing = bench.ours("list", "--repo", none)
        print(f"  list of no points: {nothing}", flush=True)
        for count in (FEW, MANY):
            repo = lab.init(folder / f"repo{count}")
            filled(repo, folder / "disk", count)
            if count == FEW:
                far(bench, repo)
            for verb, seconds in took.items():
                one = bench.ours(verb, "--repo", repo)
                seconds.append(one.user + one.system)
                print(f"  {verb} of {count} points: {one}", flush=True)
        bench.mark(f"list of {MANY} beside one of none, s", took["list"][1] - nothing.user - nothing.system, 0.5)
        for verb in ("verify", "gc"):
            bench.mark(f"{verb}: {MANY} points / {FEW}", took[verb][1] / took[verb][0], 6)
    print("missed: " + ", ".join(bench.missed) if bench.missed else "all marks met")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
