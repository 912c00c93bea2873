"""How fast the backup engine is beside dd, cp, restic and borg: the same image, in turns, on the same machine.

An image of 8 GiB with 4.5 GiB of data. Marks are those of the task; figures are medians of paired runs, since the speed
of a shared machine drifts, and processor seconds stand beside them. Every run that is timed finds the same: nothing
waiting to be written, no repository in memory, the image all in memory and in the same pages (borg would drop it). What
a restore and cp read is in memory for both, then on the disk for both. $CRASHCART_BENCH is the folder to work in
(25 GiB), $CRASHCART_BENCH_GIB the image's size. Words choose parts: first (always run), unchanged, changed, restore,
huge.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from tests.benchmarks._image import (
    MIB,
    change,
    claim_memory,
    cold,
    disk_use,
    files,
    held,
    in_memory,
    make_image,
    warm,
)
from tests.benchmarks._measured import Bench, Took

GIB = int(os.environ.get("CRASHCART_BENCH_GIB", "8"))
ROUNDS = 5
REPOSITORIES = ("repo", "restic", "borg")


def fair(bench: Bench, way: Callable[[], Took]) -> Took:
    """It, timed, with the disk idle and no repository in memory."""
    settle(bench)
    return way()


def settle(bench: Bench, there: tuple[str, ...] = ()) -> None:
    """Have nothing to be written, those in memory, and the other repositories out of it."""
    os.sync()
    for name in REPOSITORIES:
        cold(bench.folder / name)
    for name in there:
        for path in files(bench.folder / name):
            warm(path)


def first(bench: Bench, filled: list[int]) -> None:
    print("first backup")
    ratios: dict[str, list[float]] = {"restic": [], "borg": []}
    for attempt in range(2):
        for name in REPOSITORIES:
            shutil.rmtree(bench.folder / name, ignore_errors=True)
        bench.ours("init", bench.repo)
        bench.run("restic", "-r", bench.folder / "restic", "init")
        bench.run("borg", "init", "--encryption", "none", bench.folder / "borg")
        took = fair(bench, bench.backup)
        peers = {"restic": fair(bench, bench.restic), "borg": fair(bench, lambda: bench.borg("first"))}
        for name, peer in peers.items():
            ratios[name].append(peer.seconds / took.seconds)
        told = ", ".join(f"{name} {peer}" for name, peer in peers.items())
        print(f"  round {attempt + 1}: ours {took} ({took.memory}), {told}", flush=True)
        bench.mark("first: anonymous memory, MiB", took.anon / MIB, 96)
    bench.mark("first: ours / restic", 1 / statistics.median(ratios["restic"]), 1 / 2)
    bench.mark("first: ours / borg", 1 / statistics.median(ratios["borg"]), 1 / 1.4)


def unchanged(bench: Bench, filled: list[int]) -> None:
    print("unchanged")
    fair(bench, bench.backup)
    packs = sorted((bench.repo / "packs").glob("*.pack"))
    pairs = []
    for _ in range(ROUNDS):
        theirs, ours = fair(bench, bench.dd), fair(bench, bench.backup)
        seen = sum(map(in_memory, packs))
        pairs.append((theirs, ours))
    report(pairs, "dd")
    bench.mark("unchanged: (ours - 0.15 s) / dd", _over(pairs), 1.15)
    bench.mark("unchanged: % of pack bytes read", 100 * seen / sum(path.stat().st_size for path in packs), 1)
    bench.mark("unchanged: anonymous memory, MiB", max(ours.anon for _, ours in pairs) / MIB, 96)
    _beside(bench, "borg", lambda number: bench.borg(f"again{number}"), 4, 8)
    _beside(bench, "restic", lambda _: bench.restic(), 2, 15)


def _beside(bench: Bench, name: str, peer: Callable[[int], Took], rounds: int, times: float) -> None:
    """The same image unchanged: ours at least that many times as fast as a peer."""
    ratios = []
    for number in range(rounds):
        theirs, ours = fair(bench, lambda: peer(number)), fair(bench, bench.backup)  # noqa: B023  called at once
        ratios.append(ours.seconds / theirs.seconds)
        print(f"  {name} {theirs}, ours {ours}: {1 / ratios[-1]:.1f} times as fast", flush=True)
    bench.mark(f"unchanged: ours / {name}", statistics.median(ratios), 1 / times)


def changed(bench: Bench, filled: list[int]) -> None:
    print("1 % changed")
    pairs, growth = [], []
    for seed in range(3):
        small = change(bench.image, filled, 100 + seed)
        theirs = fair(bench, bench.dd)
        before = disk_use(bench.repo)
        pairs.append((theirs, fair(bench, bench.backup)))
        growth.append((disk_use(bench.repo) - before) / small)
    report(pairs, "dd")
    bench.mark("1 % changed: (ours - 0.15 s) / dd", _over(pairs), 1.5)
    bench.mark("1 % changed: growth / compressed changes", statistics.median(growth), 1.1)


def _over(pairs: list[tuple[Took, Took]]) -> float:
    """Ours over dd, 0.15 s being the start of a process."""
    return statistics.median((ours.seconds - 0.15) / dd.seconds for dd, ours in pairs)


def restored(bench: Bench, filled: list[int]) -> None:
    """All are timed until the bytes are on the disk: ours flushes before it ends, the others by sync(1).

    What is read, the image by cp and the repositories by the others, is in memory for all or has to be fetched by all.
    """
    print("restore")
    out = bench.folder / "out"
    bench.borg("last")
    bench.restic()
    archive = f"{bench.folder / 'borg'}::last"
    ways: dict[str, Callable[[], Took]] = {
        "ours": lambda: bench.ours("restore", "web1/disk0@latest", out, "--repo", bench.repo),
        "cp": lambda: bench.run("cp", "--sparse=always", bench.image, out),
        "restic": lambda: bench.run("restic", "-r", bench.folder / "restic", "dump", "latest", "stdin", out=out),
        "borg": lambda: bench.run("borg", "extract", "--stdout", archive, out=out),
    }
    for place, there in {"memory": ("image", *REPOSITORIES), "the disk": ()}.items():
        took: dict[str, list[float]] = {name: [] for name in ways}
        for attempt in range(3):
            for name, way in ways.items():
                if name in ("restic", "borg") and (attempt or not there):
                    continue
                out.unlink(missing_ok=True)
                cold(bench.image)
                settle(bench, there)
                claim_memory()
                own = way()
                flushed = 0.0 if name == "ours" else bench.run("sync", out).seconds
                print(f"  from {place}: {name} {own}" + (f", then sync {flushed:.2f} s" if flushed else ""), flush=True)
                took[name].append(own.seconds + flushed)
                if name == "ours":
                    bench.mark("restore: anonymous memory, MiB", own.anon / MIB, 96)
                bench.mark(f"restore by {name}: differs from the image", differs(bench.image, out), 0)
        over = statistics.median(ours / cp for ours, cp in zip(took["ours"], took["cp"], strict=True))
        bench.mark(f"restore: ours / cp --sparse, both from {place} and onto the disk", over, 1.2)
        for name in ("restic", "borg"):
            if took[name]:
                bench.mark(f"restore: ours / {name}", statistics.median(took["ours"]) / took[name][0], 1)
    out.unlink(missing_ok=True)


def differs(one: Path, other: Path) -> int:
    return subprocess.run(["cmp", "-s", str(one), str(other)], check=False).returncode


def report(pairs: list[tuple[Took, Took]], name: str) -> None:
    for theirs, ours in pairs:
        print(f"  {name} {theirs}, ours {ours} ({ours.memory})", flush=True)


def huge(bench: Bench, filled: list[int]) -> None:
    """A disk of 10 TB, sparse, in a repository whose index names ten million blocks that are not there."""
    from tests.engines.backup.repository.simulated import simulate

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
        print(f"  {words}: {took} ({took.memory})", flush=True)
        bench.mark(f"10 TB, {words}: anonymous memory, MiB", took.anon / MIB, 256)
    shutil.rmtree(folder)


IN_MEMORY = ("first", "unchanged", "changed")
PARTS = {"first": first, "unchanged": unchanged, "changed": changed, "restore": restored, "huge": huge}


def main(words: list[str]) -> int:
    for peer in ("restic", "borg"):
        if not shutil.which(peer):
            print(f"{peer} is not installed: apt-get install restic borgbackup")
            return 1
    with tempfile.TemporaryDirectory(prefix="crashcart-bench-", dir=os.environ.get("CRASHCART_BENCH")) as folder:
        bench = Bench(Path(folder))
        filled = make_image(bench.image, GIB)
        print(f"image {GIB} GiB, {len(filled) / 1024:.2f} GiB of it data; load {os.getloadavg()[0]:.1f}")
        for name, part in PARTS.items():
            if not words or name == "first" or name in words:
                with held(bench.image) if name in IN_MEMORY else nullcontext():
                    part(bench, filled)
        print(f"load {os.getloadavg()[0]:.1f}")
        print("missed: " + "; ".join(bench.missed) if bench.missed else "all marks met")
        return 1 if bench.missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
