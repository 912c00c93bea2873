"""What a member of a cluster lets in, without TLS nobody from another machine, and a scheduler that stands still."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import engines
from tests.absent import absent
from tests.engines.backup import lab
from tests.engines.fleet.cluster import AS_NOBODY, COMES_WITHIN, Cluster, free_port

FLEET = """
hosts: {here: {ssh: local}}
repositories: {near: {url: /near}}
policies: {gold: {to: [near]}}
guests: [{match: all, policy: gold}]
"""
NOBODY = "ssh: local, find: [{lvm: '(?P<vm>no)(?P<disk>thing)'}]"


# Prints what becomes of work that no worker takes, handed out before the scheduler stands still, and after.
HANDS_OUT = """
import sys
from pathlib import Path
from engines.fleet.config.load import load
from engines.fleet.spread.line import Line
with Line(load(Path(sys.argv[1])), silent=1.0) as line:
    line.hand(len, "", ["what nobody has"], 0.0, lambda undone: print("before:", undone.why, flush=True))
    print("handed", flush=True)
    sys.stdin.readline()
    line.look()
    line.hand(len, "", [], 0.0, lambda undone: print("after:", undone.why, flush=True))
    print("workers:", line.workers(), flush=True)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Without TLS."""
    folder = tmp_path_factory.mktemp("members")
    with Cluster(folder, folder / "fleet.yaml") as made:
        made.config.write_text(f"{FLEET}cluster: {{scheduler: 'tcp://127.0.0.1:{made.port}'}}\n")
        yield made


def test_without_tls_scheduler_and_workers_listen_on_loopback_alone(cluster: Cluster) -> None:
    stranger = cluster.run("fleet", "worker", "--only", "far", "--fleet", str(cluster.config))
    assert stranger.returncode == 2 and "allowed is one of near" in stranger.stderr, stranger
    worker = cluster.worker("w1")
    worker.heard(f"tcp://127.0.0.1:{cluster.port} cannot be joined yet")
    members = [cluster.scheduler(), worker]
    worker.heard("worker w1 is at")
    for member in members:
        made = psutil.Process(member.pid).net_connections("tcp")
        listening = [each.laddr.ip for each in made if each.status == psutil.CONN_LISTEN]
        assert listening and all(ipaddress.ip_address(ip).is_loopback for ip in listening), listening
    cluster.kill("w1")


def test_work_comes_back_from_a_scheduler_that_stands_still(cluster: Cluster) -> None:
    root = () if os.geteuid() else AS_NOBODY
    argv = [*root, sys.executable, "-P", "-c", HANDS_OUT, str(cluster.config)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=cluster.env) as made:
        assert made.stdout
        assert made.stdout.readline() == "handed\n"
        cluster.members["scheduler"].stop()
        said, _ = made.communicate("\n", COMES_WITHIN)
    still = f"the cluster tcp://127.0.0.1:{cluster.port} stands still"
    assert said.splitlines() == [
        f"before: {still}",
        f"after: the cluster tcp://127.0.0.1:{cluster.port} takes nothing: {still}",
        "workers: 0",
    ]


def test_a_controller_that_may_join_no_cluster_does_its_round_alone_and_says_so(tmp_path: Path) -> None:
    if os.geteuid():
        absent("root, who joins no cluster")
    repo = lab.init(tmp_path / "repo")
    config = tmp_path / "fleet.yaml"
    config.write_text(
        f"{FLEET.replace('/near', repo).replace('ssh: local', NOBODY)}ledger: '{tmp_path}/ledger'\n"
        f"cluster: {{scheduler: 'tcp://127.0.0.1:{free_port()}'}}\n"
    )
    ended = engines.run("fleet", fleet=str(config))
    assert ended.status == "warned" and ended.result.jobs == {"done": 2}, ended
    assert any("root does not join a cluster" in text and "from here" in text for text in ended.warnings), ended
    (found,) = (each for each in engines.look("fleet", "check", fleet=str(config)) if each.what.startswith("cluster"))
    assert "root does not join a cluster" in found.why
