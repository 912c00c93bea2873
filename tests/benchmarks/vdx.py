"""The vdx task against its marks: what the engine adds to the switches' own time, and eight pairs beside one.

The switches run in a process of their own, so that their work is not counted as the engine's. A login's price is
measured with a bare ssh, outside the engine. Marks: the fix adds at most 1 s beyond reboot, logins and the stability
wait; the diagnosis of a pair takes under 1 s beyond its logins; eight pairs take at most twice the time of one.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines.job import detach, runs
from engines.job.contract import Cancel, Finished
from engines.job.jobfile import Job
from engines.job.params import Secret, convert
from engines.job.perform import perform
from tests.agreed import AGREED

REBOOT = {"linger": 0.1, "down": 4.0, "silent": 1.0, "init": 1.0}  # s; a real one takes minutes
STABLE = 3  # s
ROUNDS = 3
SERVE = """
import json, sys
from engines.rehearsal.switches import Knobs, Rehearsal
how = json.loads(sys.argv[1])
with Rehearsal(Knobs(**how), Knobs(**how)) as switches:
    told = {"params": switches.params(), "password": switches.password, "name": switches.a.hostname}
    print(json.dumps(told), flush=True)
    for line in sys.stdin:
        print(json.dumps({"away": switches.a.away, "config": switches.a.shown()}), flush=True)
"""


class Switches:
    """A pair in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, json.dumps(REBOOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        said = self.read()
        self.params: dict[str, Any] = said["params"]
        self.secret = Secret(said["password"])
        self.name: str = said["name"]

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def state(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("state\n")
        self.process.stdin.flush()
        return self.read()

    def job(self) -> Job:
        wanted = {"out_of_band": True, "stable_for": STABLE, "reboot_timeout": 60}
        return Job(task="vdx", params={**self.params, **wanted})


@contextmanager
def switches() -> Iterator[Switches]:
    pair = Switches()
    try:
        yield pair
    finally:
        assert pair.process.stdin is not None
        pair.process.stdin.close()
        pair.process.wait()


def bare_login(pair: Switches, folder: Path) -> float:
    """Seconds that ssh itself takes for a login and a logout, without the engine."""
    asker = folder / "ask"
    asker.touch(0o700)
    asker.write_text(f"#!/bin/sh\necho {shlex.quote(pair.secret.reveal())}\n")
    host, port = pair.params["switch"].split(":")
    argv = ["ssh", "-F", "/dev/null", "-tt", "-p", port, "-l", "admin", "-o", f"UserKnownHostsFile={folder / 'known'}"]
    argv += ["-o", "StrictHostKeyChecking=accept-new", "-o", "PreferredAuthentications=password", host]
    took = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        ran = subprocess.run(
            argv,
            input="exit\r",
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
            env={**os.environ, "SSH_ASKPASS": str(asker), "SSH_ASKPASS_REQUIRE": "force"},
        )
        took.append(time.monotonic() - began)
        assert ran.returncode == 0, ran.stderr
    return statistics.median(took)


def diagnosis(pair: Switches) -> float:
    from engines.vdx.judging import diagnose
    from engines.vdx.switch.params import Ends

    params = convert(Ends, {**pair.params, "password": pair.secret})
    began = time.monotonic()
    assert diagnose.answer(params)["verdict"]["kind"] == "same-vcsid-isl-off"
    return time.monotonic() - began


def fix(pair: Switches) -> tuple[float, int]:
    """Seconds of one run, from the plan shown to the last word, and how many logins it took."""
    from engines.vdx.fix.fix import Fix

    job, before = pair.job(), pair.state()["config"]
    plan = Fix().plan(convert(Fix.params, {**job.params, "password": pair.secret}), Cancel())
    run = runs.create(job, plan.target, reviewed=plan.digest)
    began = time.monotonic()
    last = perform(run, Fix(), plan=plan, secrets={"password": pair.secret}, confirm=AGREED)
    took = time.monotonic() - began
    assert isinstance(last, Finished), last
    assert pair.state()["config"] == before
    logins = sum(path.read_text().count("== ssh to") for path in run.folder.glob("transcript-*.log"))
    return took, logins


def apart(pair: Switches) -> None:
    run = runs.create(pair.job(), pair.params["switch"])
    detach.start(run, {"password": pair.secret}, pair.name)
    last = [entry.event for entry in detach.follow(run)][-1]
    assert isinstance(last, Finished), last


def together(count: int) -> float:
    """Seconds that `count` pairs take when they are mended at once, each by a run in a process of its own."""
    pairs = [Switches() for _ in range(count)]
    try:
        began = time.monotonic()
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(apart, pairs))
        return time.monotonic() - began
    finally:
        for pair in pairs:
            assert pair.process.stdin is not None
            pair.process.stdin.close()
            pair.process.wait()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="crashcart-bench-vdx-") as name:
        os.environ["XDG_STATE_HOME"] = name
        folder = Path(name)
        added, looked, logins = [], [], []
        for _ in range(ROUNDS):
            with switches() as pair:
                logins.append(bare_login(pair, folder))
                (folder / "known").unlink()
                diagnosis(pair)
                looked.append(diagnosis(pair) - logins[-1])
                took, count = fix(pair)
                added.append(took - pair.state()["away"] - REBOOT["linger"] - STABLE - count * logins[-1])
        one = min(together(1) for _ in range(2))
        eight = min(together(8) for _ in range(2))
    rows = [
        ("a bare ssh login", statistics.median(logins), None, "s"),
        ("diagnosis of a pair, beyond the login", statistics.median(looked), 1.0, "s"),
        ("what the fix adds", statistics.median(added), 1.0, "s"),
        ("one pair", one, None, "s"),
        ("eight pairs at once", eight, None, "s"),
        ("eight beside one", eight / one, 2.0, "times"),
    ]
    missed = False
    for title, value, mark, unit in rows:
        met = mark is None or value <= mark
        missed = missed or not met
        said = "" if mark is None else f"at most {mark}" + ("" if met else "  MISSED")
        print(f"{title:40} {value:7.2f} {unit:6} {said}")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
