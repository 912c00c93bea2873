"""Killed controllers and cut connections lose nothing and do nothing twice, and the limits hold over all of it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines.job import journal
from tests.engines.fleet.lab import ROOT, Fleet, fleet

SLOTS, REPOSITORY_SLOTS = 2, 4
COMES_WITHIN = 600.0  # s for one more job to be done, on a machine that does much else


def controller(lab: Fleet) -> subprocess.Popen[bytes]:
    argv = [
        sys.executable,
        "-P",
        "-m",
        "engines.cli",
        "fleet",
        "run",
        "--fleet",
        str(lab.path),
        "--only",
        "*",
        "--json",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = (lab.folder / "controller.log").open("ab")
    with log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)


def states(lab: Fleet) -> list[str]:
    if not lab.ledger.exists():
        return []
    with closing(sqlite3.connect(f"file:{lab.ledger}?mode=ro", uri=True, timeout=60)) as base:
        try:
            return [state for (state,) in base.execute("select state from job where kind = 'backup'")]
        except sqlite3.OperationalError:
            return []  # it is being made


def wait(true: Callable[[], bool]) -> None:
    end = time.monotonic() + COMES_WITHIN
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


def most_at_once(journals: Iterable[Path]) -> int:
    """By the times in the journals of backups."""
    moments = []
    for path in journals:
        entries = journal.entries(path)
        moments += [(entries[0].at, 1), (entries[-1].at, -1)]
    now = most = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


@dataclass(frozen=True)
class Numbers:
    """What a campaign comes to. lost: guests without a backup; twice: backups too many; the most at once, of which each
    has its limit.
    """

    lost: int
    twice: int
    on_a_host: int
    in_the_repository: int

    @property
    def kept(self) -> bool:
        """Whether it is as it must be."""
        limits = self.on_a_host <= SLOTS and self.in_the_repository <= REPOSITORY_SLOTS
        return not self.lost and not self.twice and limits

    @property
    def reached(self) -> bool:
        """Whether each limit was: one that nothing comes near to is not kept, but idle."""
        return (self.on_a_host, self.in_the_repository) == (SLOTS, REPOSITORY_SLOTS)


def check(lab: Fleet) -> Numbers:
    """By the points in the repository and the journals on the hosts, not by what the controller says."""
    names = sorted(name for host in lab.hosts for _, name in host.guests)
    made = Counter(point.split("/")[0] for point in lab.points())
    backups = [[run / "journal.jsonl" for run in host.runs() if (run / "point.json").exists()] for host in lab.hosts]
    points, runs = sum(made.values()), sum(map(len, backups))
    numbers = Numbers(
        lost=sum(not made[name] for name in names),
        twice=max(points, runs) - len(made),
        on_a_host=max(map(most_at_once, backups)),
        in_the_repository=most_at_once(path for of in backups for path in of),
    )
    print(
        f"{len(names)} jobs: lost {numbers.lost}, twice {numbers.twice}, at once on a host {numbers.on_a_host}"
        f" of {SLOTS}, in the repository {numbers.in_the_repository} of {REPOSITORY_SLOTS}"
    )
    assert numbers.kept and states(lab) == ["done"] * len(names), (numbers, Counter(states(lab)))
    return numbers


def campaign(tmp_path: Path, guests: int, kills: int, seed: int) -> Numbers:
    rng = random.Random(seed)
    numbered = [(number, f"vm{number:03}") for number in range(1, guests + 1)]
    with fleet(tmp_path, [numbered[0::3], numbered[1::3], numbered[2::3]]) as lab:
        lab.write(slots=SLOTS, repository_slots=REPOSITORY_SLOTS)
        process = controller(lab)
        for number in range(1, kills + 1):
            reached = number * guests // (kills + 1)
            wait(lambda reached=reached: states(lab).count("done") >= reached or process.poll() is not None)  # type: ignore[misc]  # noqa: B023
            if process.poll() is not None:
                break
            if rng.random() < 0.5:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                process = controller(lab)
            else:
                rng.choice(lab.hosts).sshd.cut()
        assert process.wait(COMES_WITHIN) in (0, 4), (lab.folder / "controller.log").read_text()[-3000:]
        return check(lab)


def test_nothing_is_lost_and_nothing_done_twice_through_kills(tmp_path: Path) -> None:
    campaign(tmp_path, guests=6, kills=3, seed=3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_200_jobs_with_kills(tmp_path: Path, seed: int) -> None:
    assert campaign(tmp_path, guests=200, kills=60, seed=seed).reached
