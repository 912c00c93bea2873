"""How much faster three workers verify a bucket than one, where each answer from a pack takes DELAY: 2.5 times or more.

Of a repository that is worth spreading, packs are nearly all: what else is read, by one process, is not delayed here.
Everything runs on this machine, so that what counts is waiting, as for a far store, not processors. What a run takes is
told by its journal. $CRASHCART_BENCH is the folder to work in.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from typing_extensions import override

from tests.benchmarks._image import MIB
from tests.benchmarks._measured import Bench
from tests.benchmarks.far import FarLine
from tests.engines.backup import lab
from tests.engines.backup.store.weed import Weed
from tests.engines.fleet.cluster import Cluster

DELAY = 1.0  # s
BUCKET = "spread"
PACKS = 720  # of one block each, so that waiting counts, not bytes
FLEET = "hosts: {here: {ssh: local}}\npolicies: {gold: {to: [far]}}\nguests: [{match: all, policy: gold}]\n"


class Delayed(FarLine):
    """A line on which each question for a pack waits, and as much comes back as may."""

    @override
    def _pass(self, from_: socket.socket, to: socket.socket, held: Callable[[int], None]) -> None:
        try:
            while part := from_.recv(1 << 17):
                if b"/packs/" in part and part.startswith(b"GET "):
                    time.sleep(DELAY)
                to.sendall(part)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            return


def stored(bench: Bench, weed: Weed) -> str:
    """A repository of noise in the bucket."""
    repo = f"s3://{BUCKET}/r"
    weed.allow(BUCKET)
    bench.ours("init", repo)
    lab.small_packs(repo, MIB)
    with bench.image.open("wb") as stream:
        for _ in range(PACKS):
            stream.write(os.urandom(MIB))
    bench.ours("run", bench.image, "--repo", repo, "--vm", "web1", "--limit", "none")
    return repo


def seconds(cluster: Cluster) -> float:
    """Of one verify, by its journal."""
    done = cluster.run("fleet", "verify", "far", "--fleet", str(cluster.config), "--json")
    if done.returncode:
        raise SystemExit(done.stdout[-500:] + done.stderr)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return float(events[-1]["at"] - events[0]["at"])


def compared(bench: Bench, weed: Weed, repo: str) -> None:
    weed.allow(BUCKET, endpoint=f"http://127.0.0.1:{Delayed(weed.port).port}")
    with Cluster(bench.folder, bench.folder / "fleet.yaml") as cluster:
        cluster.config.write_text(f"{FLEET}repositories: {{far: {{url: '{repo}'}}}}\n{cluster.yaml}")
        cluster.scheduler()
        took = {}
        for count in (1, 3):
            names = [f"w{number}" for number in range(1, count + 1) if f"w{number}" not in cluster.members]
            for name in names:
                cluster.worker(name)
            for name in names:
                cluster.members[name].heard(f"worker {name} is at")
            took[count] = seconds(cluster)
            print(f"  {count} workers: {took[count]:.1f} s", flush=True)
    bench.mark("three workers / one: taken", took[3] / took[1], 1 / 2.5)
    print(f"  three workers are {took[1] / took[3]:.2f} times as fast as one")


def main() -> int:
    with tempfile.TemporaryDirectory(dir=os.environ.get("CRASHCART_BENCH"), prefix="spread-") as name:
        folder = Path(name)
        (folder / "weed").mkdir()
        os.environ |= {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
        with Weed(folder / "weed") as weed:
            weed.bucket(BUCKET)
            bench = Bench(folder)
            compared(bench, weed, stored(bench, weed))
    print("missed: " + ", ".join(bench.missed) if bench.missed else "all marks met")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
