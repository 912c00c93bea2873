"""How fast backups go to a bucket and back beside restic, on the same SeaweedFS, in turns.

An image of $CRASHCART_BENCH_S3_GIB GiB (4), of which 9/16 are data, in memory; the server and its data lie on the same
machine, so that its processor time weighs on both. Processor seconds a GB of data, the client's and the server's, stand
beside the times. $CRASHCART_BENCH is the folder to work in.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks._image import MIB, make_image, warm
from tests.benchmarks._measured import Bench, Took
from tests.engines.backup.store.weed import KEY, SECRET, Weed

GIB = int(os.environ.get("CRASHCART_BENCH_S3_GIB", "4"))
BUCKET = "bench"
TURNS = 3  # of what reads, the best of each counts: it is short, and others use the machine, too


def timed(words: str, weed: Weed, way: Callable[[], Took], gigabytes: float) -> Took:
    """It, with what the server spent on it."""
    before = weed.cpu()
    took = way()
    spent = (took.user + took.system) / gigabytes, (weed.cpu() - before) / gigabytes
    print(f"  {words}: {took}, CPU s/GB: client {spent[0]:.2f}, server {spent[1]:.2f}", flush=True)
    return took


def main() -> int:
    with tempfile.TemporaryDirectory(dir=os.environ.get("CRASHCART_BENCH"), prefix="s3-") as name:
        folder = Path(name)
        (folder / "weed").mkdir()
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        with Weed(folder / "weed") as weed:
            bench = Bench(folder)
            weed.bucket(BUCKET)
            weed.allow(BUCKET)
            compared(bench, weed)
    print("missed: " + ", ".join(bench.missed) if bench.missed else "all marks met")
    return 1 if bench.missed else 0


def compared(bench: Bench, weed: Weed) -> None:
    size = len(make_image(bench.image, GIB)) * MIB / 1e9
    warm(bench.image)
    repo, peer = f"s3://{BUCKET}/ours", f"s3:{weed.endpoint}/{BUCKET}/restic"
    bench.ours("init", repo)
    bench.run("restic", "-r", peer, "init")
    back = bench.out / "back"

    def ours() -> Took:
        return bench.ours("run", bench.image, "--repo", repo, "--vm", "web1", "--limit", "none")

    def restic() -> Took:
        return bench.run("restic", "-r", peer, "backup", "-q", "--stdin", given=bench.image)

    def restored() -> Took:
        back.unlink(missing_ok=True)
        return bench.ours("restore", "web1/disk0@latest", back, "--repo", repo)

    def dumped() -> Took:
        return bench.run("restic", "-r", peer, "dump", "-q", "latest", "/stdin", out=bench.out / "dumped")

    print(f"{size:.2f} GB of data, {GIB} GiB of disk")
    for words, mine, other, most, turns in (
        ("first", ours, restic, 1 / 2, 1),
        ("unchanged", ours, restic, 1 / 8, TURNS),
        ("restore", restored, dumped, 1 / 1.5, TURNS),
    ):
        each = [
            (timed(f"{words}, ours", weed, mine, size), timed(f"{words}, restic", weed, other, size))
            for _ in range(turns)
        ]
        took, against = (min(one, key=lambda took: took.seconds) for one in zip(*each, strict=True))
        bench.mark(f"{words}: ours / restic", took.seconds / against.seconds, most)
        cpu = (took.user + took.system) / (against.user + against.system)
        print(f"       processor time of the clients, ours / restic: {cpu:.2f}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
