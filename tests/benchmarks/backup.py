"""How fast the backup engine is beside dd, cp, restic and borg: the same image, in turns, on the same machine.

An image of 8 GiB with 4.5 GiB of data, warm; `--limit none`. Marks are those of the task; figures are medians of paired
runs, since the speed of a shared machine drifts. $CRASHCART_BENCH is the folder to work in (25 GiB),
$CRASHCART_BENCH_GIB the image's size.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engines.backup.page_cache import resident

MIB = 1024 * 1024
GIB = int(os.environ.get("CRASHCART_BENCH_GIB", "8"))
ROUNDS = 5
CALM = {"RESTIC_PASSWORD": "x", "BORG_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}


@dataclass
class Took:
    """Wall seconds, peak anonymous and total resident memory in bytes."""

    seconds: float
    anon: int = 0
    rss: int = 0


@dataclass
class Bench:
    """A folder to work in, and the marks that were missed."""

    folder: Path
    missed: list[str] = field(default_factory=list)

    @property
    def image(self) -> Path:
        return self.folder / "image"

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def run(self, *argv: str | Path, out: Path | None = None, given: Path | None = None, env: bool = False) -> Took:
        """A command, timed; a failure ends the benchmark."""
        state = {"XDG_STATE_HOME": str(self.folder / "state"), "XDG_CACHE_HOME": str(self.folder / "cache")}
        state |= {"BORG_BASE_DIR": str(self.folder / "borg-home"), **CALM} if env else {}
        with (out or Path(os.devnull)).open("wb") as sink, (given or Path(os.devnull)).open("rb") as source:
            began = time.perf_counter()
            words = [str(word) for word in argv]
            child = subprocess.Popen(
                words, stdin=source, stdout=sink, stderr=subprocess.PIPE, env={**os.environ, **state}
            )
            peak = Took(0.0)
            watch = threading.Thread(target=_watch, args=(child.pid, peak), daemon=True)
            watch.start()
            said = child.communicate()[1]
            peak.seconds = time.perf_counter() - began
            watch.join()
        if child.returncode:
            raise SystemExit(f"{words} failed: {said.decode()[-500:]}")
        return peak

    def ours(self, *words: str | Path) -> Took:
        return self.run(sys.executable, "-m", "engines.cli", "backup", *words, "--json")

    def backup(self) -> Took:
        return self.ours("run", self.image, "--repo", self.repo, "--vm", "web1", "--limit", "none")

    def restic(self) -> Took:
        return self.run("restic", "-r", self.folder / "restic", "backup", "-q", "--stdin", given=self.image, env=True)

    def borg(self, name: str) -> Took:
        return self.run(
            "borg", "create", "--compression", "zstd,1", "--chunker-params", "fixed,4194304", "--sparse",
            "--files-cache", "disabled", f"{self.folder / 'borg'}::{name}", self.image, env=True,
        )  # fmt: skip

    def dd(self) -> Took:
        return self.run("dd", f"if={self.image}", "of=/dev/null", "bs=1M", "status=none")

    def mark(self, words: str, value: float, most: float) -> None:
        met = value <= most
        print(f"  {'ok  ' if met else 'MISS'} {words}: {value:.2f} (at most {most:.2f})", flush=True)
        if not met:
            self.missed.append(words)


def _watch(pid: int, peak: Took) -> None:
    """Sample a process's memory while it lives."""
    while True:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return
        found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "VmHWM"))}
        if not found:
            return
        peak.anon = max(peak.anon, int(found.get("RssAnon", 0)) * 1024)
        peak.rss = max(peak.rss, int(found.get("VmHWM", 0)) * 1024)
        time.sleep(0.01)


# ── the image ───────────────────────────────────────────────────────────────────────────────────────


def block(rng: random.Random, text: bytes) -> bytes:
    """Half of the blocks are noise, half are text with some noise: together they compress to about 60 %."""
    if rng.random() < 0.45:
        return rng.randbytes(MIB)
    at = rng.randrange(len(text) - MIB)
    body = bytearray(text[at : at + MIB])
    for offset in range(0, MIB, 4096):
        body[offset : offset + 24] = rng.randbytes(24)
    return bytes(body)


def prose(rng: random.Random) -> bytes:
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(3000)]
    return b" ".join(rng.choices(words, k=1_300_000))


def make_image(path: Path) -> list[int]:
    """Data in runs with holes between; the numbers of the blocks that have some."""
    rng = random.Random(7)
    text = prose(rng)
    wanted, total = GIB * 1024 * 9 // 16, GIB * 1024
    filled: list[int] = []
    at = 0
    with path.open("wb", buffering=0) as stream:
        stream.truncate(total * MIB)
        while len(filled) < wanted and at < total:
            run = min(rng.randint(32, 512), wanted - len(filled), total - at)
            for number in range(at, at + run):
                os.pwrite(stream.fileno(), block(rng, text), number * MIB)
                filled.append(number)
            at += run + rng.randint(10, max(11, (total - wanted) * 400 // total))
    return filled


def change(path: Path, filled: list[int], seed: int) -> int:
    """New content for 1 % of the data blocks; their size compressed as zstd level 1 does it."""
    import zstandard

    rng = random.Random(seed)
    text = prose(rng)
    small = 0
    with path.open("r+b", buffering=0) as stream:
        for number in rng.sample(filled, len(filled) // 100):
            body = block(rng, text)
            small += min(len(zstandard.ZstdCompressor(level=1).compress(body)), MIB)
            os.pwrite(stream.fileno(), body, number * MIB)
        os.fsync(stream.fileno())
    return small


def warm(path: Path) -> None:
    with path.open("rb", buffering=0) as stream:
        while stream.read(8 * MIB):
            continue


def disk_use(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def cold(folder: Path) -> None:
    """Have nothing of it in the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


# ── the rounds ──────────────────────────────────────────────────────────────────────────────────────


def first(bench: Bench) -> None:
    print("first backup")
    ratios: dict[str, list[float]] = {"restic": [], "borg": []}
    for attempt in range(2):
        for name in ("repo", "restic", "borg"):
            shutil.rmtree(bench.folder / name, ignore_errors=True)
        bench.ours("init", bench.repo)
        bench.run("restic", "-r", bench.folder / "restic", "init", env=True)
        bench.run("borg", "init", "--encryption", "none", bench.folder / "borg", env=True)
        took = bench.backup()
        peers = {"restic": bench.restic(), "borg": bench.borg("first")}
        for name, peer in peers.items():
            ratios[name].append(peer.seconds / took.seconds)
        told = ", ".join(f"{name} {peer.seconds:.1f} s" for name, peer in peers.items())
        print(f"  round {attempt + 1}: ours {took.seconds:.1f} s ({memory(took)}), {told}", flush=True)
        bench.mark("first: anonymous memory, MiB", took.anon / MIB, 96)
    bench.mark("first: ours / restic", 1 / statistics.median(ratios["restic"]), 1 / 2)
    bench.mark("first: ours / borg", 1 / statistics.median(ratios["borg"]), 1 / 1.4)


def unchanged(bench: Bench) -> None:
    print("unchanged")
    cold(bench.repo / "packs")
    packs = sorted((bench.repo / "packs").glob("*.pack"))
    pairs = [(bench.dd(), bench.backup()) for _ in range(ROUNDS)]
    seen = sum(_resident(path) for path in packs)
    report(pairs, "dd")
    over = statistics.median((ours.seconds - 0.15) / dd.seconds for dd, ours in pairs)
    bench.mark("unchanged: (ours - 0.15 s) / dd", over, 1.15)
    bench.mark("unchanged: % of pack bytes read", 100 * seen / sum(path.stat().st_size for path in packs), 1)
    bench.mark("unchanged: anonymous memory, MiB", max(ours.anon for _, ours in pairs) / MIB, 96)
    for name, peer, share in (("borg", lambda: bench.borg("again"), 8), ("restic", bench.restic, 15)):
        took, theirs = bench.backup(), peer()
        again = bench.backup()
        mine = (took.seconds + again.seconds) / 2
        print(
            f"  ours {mine:.2f} s, {name} {theirs.seconds:.2f} s: {theirs.seconds / mine:.1f} times as fast", flush=True
        )
        bench.mark(f"unchanged: ours / {name}", mine / theirs.seconds, 1 / share)


def _resident(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return resident(descriptor, 0, path.stat().st_size)
    finally:
        os.close(descriptor)


def changed(bench: Bench, filled: list[int]) -> None:
    print("1 % changed")
    pairs, growth = [], []
    for seed in range(3):
        small = change(bench.image, filled, 100 + seed)
        before = disk_use(bench.repo)
        pairs.append((bench.dd(), bench.backup()))
        growth.append((disk_use(bench.repo) - before) / small)
    report(pairs, "dd")
    over = statistics.median((ours.seconds - 0.15) / dd.seconds for dd, ours in pairs)
    bench.mark("1 % changed: (ours - 0.15 s) / dd", over, 1.5)
    bench.mark("1 % changed: growth / compressed changes", statistics.median(growth), 1.1)


def restored(bench: Bench) -> None:
    """All are timed until the bytes are on the disk: ours flushes before it ends, the others by sync(1)."""
    print("restore")
    out = bench.folder / "out"
    point = "web1/disk0@latest"
    bench.borg("last")
    bench.restic()
    ways: dict[str, Callable[[], Took]] = {
        "ours": lambda: bench.ours("restore", point, out, "--repo", bench.repo),
        "cp": lambda: bench.run("cp", "--sparse=always", bench.image, out),
        "restic": lambda: bench.run(
            "restic", "-r", bench.folder / "restic", "dump", "latest", "stdin", out=out, env=True
        ),
        "borg": lambda: bench.run("borg", "extract", "--stdout", f"{bench.folder / 'borg'}::last", out=out, env=True),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    bare = []
    for attempt in range(3):
        for name, way in ways.items():
            if attempt and name in ("restic", "borg"):
                continue
            for folder in ("repo", "restic", "borg"):
                cold(bench.folder / folder)
            warm(bench.image)
            out.unlink(missing_ok=True)
            own = way()
            bare += [own.seconds] if name == "cp" else []
            took[name].append(own.seconds + (0 if name == "ours" else bench.run("sync", out).seconds))
            if name == "ours":
                bench.mark("restore: differs from the image", bench_differs(bench.image, out), 0)
                bench.mark("restore: anonymous memory, MiB", own.anon / MIB, 96)
    out.unlink(missing_ok=True)
    mine = statistics.median(took["ours"])
    for name, times in took.items():
        print(f"  {name} {statistics.median(times):.1f} s", flush=True)
    print(f"  cp without waiting for the disk {statistics.median(bare):.1f} s", flush=True)
    over = statistics.median(ours / cp for ours, cp in zip(took["ours"], took["cp"], strict=True))
    bench.mark("restore: ours / cp --sparse, both on the disk", over, 1.2)
    for name in ("restic", "borg"):
        bench.mark(f"restore: ours / {name}", mine / statistics.median(took[name]), 1)


def bench_differs(one: Path, other: Path) -> int:
    return subprocess.run(["cmp", "-s", str(one), str(other)], check=False).returncode


def report(pairs: list[tuple[Took, Took]], name: str) -> None:
    for theirs, ours in pairs:
        print(f"  {name} {theirs.seconds:.2f} s, ours {ours.seconds:.2f} s ({memory(ours)})", flush=True)


def memory(took: Took) -> str:
    return f"anon {took.anon / MIB:.0f} MiB, rss {took.rss / MIB:.0f} MiB"


def huge(bench: Bench) -> None:
    """A disk of 10 TB, sparse, in a repository whose index names ten million blocks that are not there."""
    from tests.engines.backup.simulated import simulate

    print("10 TB")
    folder = bench.folder / "huge"
    folder.mkdir()
    bench.ours("init", folder / "repo")
    simulate(folder / "repo", entries=10_485_760, packs=20_480)
    disk = folder / "disk"
    with disk.open("wb") as stream:
        stream.truncate(10 * 1024**4)
    for words in ("first", "unchanged", "a little changed"):
        if words == "a little changed":
            with disk.open("r+b") as stream:
                for at in range(200):
                    stream.seek(at * 50 * 1024**3)
                    stream.write(os.urandom(MIB))
        took = bench.ours("run", disk, "--repo", folder / "repo", "--vm", "huge", "--limit", "none")
        print(f"  {words}: {took.seconds:.1f} s ({memory(took)})", flush=True)
        bench.mark(f"10 TB, {words}: anonymous memory, MiB", took.anon / MIB, 256)
    shutil.rmtree(folder)


def main() -> int:
    for peer in ("restic", "borg"):
        if not shutil.which(peer):
            print(f"{peer} is not installed: apt-get install restic borgbackup")
            return 1
    with tempfile.TemporaryDirectory(prefix="crashcart-bench-", dir=os.environ.get("CRASHCART_BENCH")) as folder:
        bench = Bench(Path(folder))
        filled = make_image(bench.image)
        print(f"image {GIB} GiB, {len(filled) / 1024:.2f} GiB of it data; load {os.getloadavg()[0]:.1f}")
        warm(bench.image)
        first(bench)
        unchanged(bench)
        changed(bench, filled)
        restored(bench)
        huge(bench)
        print("missed: " + "; ".join(bench.missed) if bench.missed else "all marks met")
        return 1 if bench.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
