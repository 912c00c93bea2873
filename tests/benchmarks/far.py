"""How near reads from a bucket come to what a far line allows: ls, get, mount and restore over 30 ms at 30 MB/s.

The model, by which a command is allowed so many seconds: what it takes on the same server without the line (start-up,
processor), CHAIN answers that can only be asked for one after the other (config, points, the point, index, packs, map;
for a path also superblock, inodes and folders), and the bytes that came down at the rate. The mark is twice that.
$CRASHCART_BENCH is the folder to work in.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks._image import MIB
from tests.benchmarks._measured import Bench
from tests.engines.backup.store.weed import Weed

LATENCY = 0.03  # s until a request goes on
RATE = 30e6  # bytes a second that come down, over all connections
CHAIN = {"restore": 6, "ls": 10, "get": 10, "mount": 10}
BUCKET = "far"
BIG = 96  # MiB of the file that is read; the disk has twice as much


class FarLine:
    """A line to a server that holds each request for LATENCY and lets RATE through; `down`: bytes so far."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = threading.Lock()
        self._free = 0.0
        self.down = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            here, _ = self._listening.accept()
            there = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._pass, args=(here, there, self._late), daemon=True).start()
            threading.Thread(target=self._pass, args=(there, here, self._slow), daemon=True).start()

    def _late(self, _: int) -> None:
        time.sleep(LATENCY)

    def _slow(self, count: int) -> None:
        with self._lock:
            self.down += count
            self._free = max(self._free, time.monotonic()) + count / RATE
            wait = self._free - time.monotonic()
        time.sleep(max(wait, 0.0))

    def _pass(self, from_: socket.socket, to: socket.socket, held: Callable[[int], None]) -> None:
        try:
            while part := from_.recv(1 << 17):
                held(len(part))
                to.sendall(part)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            return


def guest(folder: Path) -> Path:
    """An ext4 disk with a folder of small files, a big file, and as much noise again."""
    root = folder / "root"
    (root / "etc").mkdir(parents=True)
    for number in range(200):
        (root / "etc" / f"file{number}").write_text(f"{number}\n" * 50)
    for name in ("big", "more"):
        (root / name).write_bytes(os.urandom(BIG * MIB))
    image = folder / "image"
    argv = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(image), f"{3 * BIG}M"]
    subprocess.run(argv, check=True)
    return image


def mounted(bench: Bench, repo: str, point: str) -> float:
    """Seconds until the point is shown and its big file is read."""
    shown = bench.folder / "shown"
    shown.mkdir(exist_ok=True)
    began = time.monotonic()
    bench.ours("mount", point, shown, "--repo", repo, "--detach")
    try:
        bench.run("dd", f"if={next(shown.rglob('big'))}", "of=/dev/null", "bs=1M", "status=none")
        return time.monotonic() - began
    finally:
        subprocess.run(["umount", str(shown)], check=True)


def compared(bench: Bench, weed: Weed, line: FarLine) -> None:
    repo, point = f"s3://{BUCKET}/r", "web1/disk0@latest"
    bench.ours("init", repo)
    bench.ours("run", guest(bench.folder), "--repo", repo, "--vm", "web1", "--limit", "none")
    turn = 0

    def fresh() -> Path:
        nonlocal turn
        turn += 1
        (made := bench.out / f"taken{turn}").mkdir()
        return made

    ways: dict[str, Callable[[], float]] = {
        "restore": lambda: bench.ours("restore", point, fresh() / "disk", "--repo", repo).seconds,
        "ls": lambda: bench.ours("ls", f"{point}:/etc", "--repo", repo).seconds,
        "get": lambda: bench.ours("get", f"{point}:/big", fresh(), "--repo", repo).seconds,
        "mount": lambda: mounted(bench, repo, point),
    }
    print(f"{LATENCY * 1000:.0f} ms, {RATE / 1e6:.0f} MB/s; allowed: without the line + chain x latency + bytes / rate")
    for words, way in ways.items():
        weed.allow(BUCKET)
        way()  # what is kept here of the index is here, for both
        near = way()
        weed.allow(BUCKET, endpoint=f"http://127.0.0.1:{line.port}")
        before = line.down
        far = way()
        came = line.down - before
        allowed = near + CHAIN[words] * LATENCY + came / RATE
        print(f"  {words}: near {near:.2f} s, far {far:.2f} s for {came / MIB:.1f} MiB; allowed {allowed:.2f} s")
        bench.mark(f"{words}: taken / allowed", far / allowed, 2)


def main() -> int:
    with tempfile.TemporaryDirectory(dir=os.environ.get("CRASHCART_BENCH"), prefix="far-") as name:
        folder = Path(name)
        (folder / "weed").mkdir()
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        with Weed(folder / "weed") as weed:
            weed.bucket(BUCKET)
            weed.allow(BUCKET)
            bench = Bench(folder)
            compared(bench, weed, FarLine(weed.port))
    print("missed: " + ", ".join(bench.missed) if bench.missed else "all marks met")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
