"""A round over a cluster, whose controller, workers and scheduler are killed: nothing is lost, nothing done twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.engines.fleet.cluster import Cluster, wait
from tests.engines.fleet.lab import Fleet, fleet
from tests.engines.fleet.test_kills import REPOSITORY_SLOTS, SLOTS, Numbers, check, states

KILLED = ("worker", "controller", "scheduler", "ssh")


def strike(lab: Fleet, cluster: Cluster, who: str, rng: random.Random) -> None:
    """Kill one, and have it again."""
    match who:
        case "ssh":
            rng.choice(lab.hosts).sshd.cut()
        case "controller":
            cluster.kill("run")
            cluster.start("run", *RUN)
        case "scheduler":
            cluster.kill("scheduler")
            cluster.scheduler()
        case "worker":
            name = rng.choice([name for name in cluster.members if name.startswith("w")])
            cluster.kill(name)
            cluster.worker(name)


RUN = ("run", "--only", "*", "--json")


def campaign(tmp_path: Path, guests: int, kills: list[str], seed: int) -> Numbers:
    rng = random.Random(seed)
    numbered = [(number, f"vm{number:03}") for number in range(1, guests + 1)]
    with (
        fleet(tmp_path, [numbered[0::3], numbered[1::3], numbered[2::3]]) as lab,
        Cluster(tmp_path, lab.path) as cluster,
    ):
        lab.write(slots=SLOTS, repository_slots=REPOSITORY_SLOTS, more=cluster.yaml)
        cluster.scheduler()
        for name in ("w1", "w2"):
            cluster.worker(name)
        for name in ("w1", "w2"):
            cluster.members[name].heard(f"worker {name} is at")
        cluster.start("run", *RUN)
        for number, who in enumerate(kills, 1):
            reached = number * guests // (len(kills) + 1)
            wait(lambda reached=reached: states(lab).count("done") >= reached or cluster.members["run"].over)  # type: ignore[misc]
            if cluster.members["run"].over:
                break
            strike(lab, cluster, who, rng)
        run = cluster.members["run"]
        assert run.ended() in (0, 4), run.said[-5:]
        return check(lab)


def test_nothing_is_lost_and_nothing_done_twice_over_a_cluster(tmp_path: Path) -> None:
    campaign(tmp_path, guests=6, kills=["worker", "controller", "scheduler"], seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_200_jobs_over_a_cluster_with_kills(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    assert campaign(tmp_path, guests=200, kills=[rng.choice(KILLED) for _ in range(24)], seed=seed).reached
