"""What a member of a cluster lets in: without TLS nobody from another machine."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import psutil

from tests.engines.fleet.cluster import Cluster

FLEET = """
hosts: {here: {ssh: local}}
repositories: {near: {url: /near}}
policies: {gold: {to: [near]}}
guests: [{match: all, policy: gold}]
"""


def test_without_tls_scheduler_and_workers_listen_on_loopback_alone(tmp_path: Path) -> None:
    with Cluster(tmp_path, tmp_path / "fleet.yaml") as cluster:
        cluster.config.write_text(f"{FLEET}cluster: {{scheduler: 'tcp://127.0.0.1:{cluster.port}'}}\n")
        members = [cluster.scheduler(), cluster.worker("w1")]
        members[1].heard("worker w1 is at")
        for member in members:
            made = psutil.Process(member.pid).net_connections("tcp")
            listening = [each.laddr.ip for each in made if each.status == psutil.CONN_LISTEN]
            assert listening and all(ipaddress.ip_address(ip).is_loopback for ip in listening), listening
