"""The probe beside its slowest answer and beside curl, what a cell of the lab costs, and what a long watch holds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from engines.failover.asking import probe
from engines.failover.asking.address import AddressCheck
from engines.failover.asking.site import SiteParams
from engines.failover.asking.watch import Watching
from engines.failover.lab.matrix import Matrix
from engines.failover.lab.measurement import Order
from engines.failover.lab.registry import recorded
from engines.job.contract import Cancel
from engines.job.params import convert
from tests.engines.failover.stage import Stage, open_stage

ROUNDS = 7
BEYOND = 0.3  # s, a healthy probe beyond its slowest answer
MANY = 200  # addresses
TIMES_CURL = 10.0  # a probe of 200 asks twice (once for a name that does not exist) and asks DNS 8 times
CELL = 2.0  # s, namespaces, servers, tcpdump and one curl
GROWTH = 100_000  # bytes, after 20 more hours of a watch


def healthy(stage: Stage) -> bool:
    _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    at = stage.names("shop.test", ["127.0.0.2", "127.0.0.3"])[1]
    params = convert(SiteParams, {"name": "shop.test", "resolver": [at], "scheme": "http", "port": port})
    beyond = []
    for _ in range(ROUNDS):
        found = probe.answer(params)
        beyond.append(found.seconds - max((one.connect or 0) + (one.first_byte or 0) for one in found.lights) / 1000)
    print(f"probe, 2 addresses: {statistics.median(beyond):.3f} s beyond the slowest answer (mark {BEYOND} s)")
    return statistics.median(beyond) <= BEYOND


def many(stage: Stage) -> bool:
    addresses = [f"127.9.{at // 100}.{at % 100 + 1}" for at in range(MANY)]
    _, port = stage.copies(addresses)
    at = stage.names("shop.test", addresses)[1]
    given = {"name": "shop.test", "resolver": [at], "scheme": "http", "port": port, "timeout": 30}
    params = convert(SiteParams, given)
    urls = [f"http://{address}:{port}/" for address in addresses]
    pairs = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = probe.answer(params)
        ours = time.perf_counter() - began
        assert all(one.state == "ok" for one in found.lights)
        began = time.perf_counter()
        curl = ["curl", "--no-progress-meter", "-Z", "--parallel-immediate", "--parallel-max", str(MANY), *urls]
        subprocess.run(curl, check=True, stdout=subprocess.DEVNULL)
        pairs.append((ours, time.perf_counter() - began))
    ours, theirs = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
    print(
        f"probe, {MANY} addresses: {ours:.2f} s; curl -Z: {theirs:.2f} s, ratio {ours / theirs:.1f} (mark {TIMES_CURL})"
    )
    return ours / theirs <= TIMES_CURL


def cell() -> bool:
    took = []
    with tempfile.TemporaryDirectory() as folder, recorded(Path(folder)) as record:
        for run in range(ROUNDS):
            order = Order(client="curl", fault="rst", run=run, letters="AB", cap=30.0, patience=8.0,
                          sysctls={}, scratch=record.scratch, witness=True)  # fmt: skip
            began = time.perf_counter()
            told = list(Matrix(record).run([order], Cancel()))
            took.append(time.perf_counter() - began)
            assert told[-1].seen is not None
            assert told[-1].seen.outcome == "moved", told[-1].seen
    print(f"a cell of the lab, with one curl: {statistics.median(took):.2f} s (mark {CELL} s)")
    return statistics.median(took) <= CELL


def watch() -> bool:
    watching = Watching(0.0)

    def look(numbers: range) -> None:
        for at in numbers:
            for line in watching.take([AddressCheck(address="a", state="ok" if at % 2 else "drop")], 2.0 * at):
                watching.changes.append(line)

    look(range(2000))
    tracemalloc.start()
    look(range(2000, 4000))
    before = tracemalloc.get_traced_memory()[0]
    look(range(4000, 40000))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"a watch of 20 more hours: {grown} bytes more (mark {GROWTH})")
    return grown <= GROWTH


def main() -> int:
    with open_stage() as stage:
        met = [healthy(stage), many(stage)]
    return 0 if all([*met, cell(), watch()]) else 1


if __name__ == "__main__":
    sys.exit(main())
