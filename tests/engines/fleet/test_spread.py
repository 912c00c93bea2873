"""A verify that is spread over workers has the verdict of one that is not, whatever happens to the workers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typing_extensions import override

import engines
from engines.backup.repository.repository import RepoParams, Repository
from engines.fleet.spread.reading import LARGEST, shares
from engines.fleet.spread.work import Opened, Share
from tests.absent import absent
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.store.sshd import Sshd
from tests.engines.fleet.cluster import Cluster

FLEET = "hosts: {here: {ssh: local}}\npolicies: {gold: {to: [near]}}\nguests: [{match: all, policy: gold}]\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("spread")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        repo = lab.init(folder / "repo", pack=MIB)
        lab.backup(repo, lab.disk(folder / "disk", {number: number for number in range(16)}, 16 * MIB))
        (folder / "sshd").mkdir()
        with Sshd(folder / "sshd") as sshd, Cluster(folder, folder / "fleet.yaml") as made:
            access = folder / "config" / "crashcart" / "sftp.yaml"
            access.parent.mkdir(parents=True)
            entry = {"key_file": str(sshd.folder / "key"), "host_key": sshd.fingerprint}
            access.write_text(yaml.safe_dump({sshd.place: entry}))
            near = f"repositories: {{near: {{url: '{sshd.url(Path(repo))}'}}}}\n"
            made.config.write_text(f"{FLEET}{near}{made.yaml}")
            made.scheduler()
            for name in ("w1", "w2"):
                made.worker(name)
            for name in ("w1", "w2"):
                made.members[name].heard(f"worker {name} is at")
            yield made


class Verdict(NamedTuple):
    code: int
    result: dict[str, Any]
    warnings: list[str]


def verdict(code: int, lines: Iterable[str]) -> Verdict:
    """Of a run's JSON lines."""
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert events, list(lines)
    (result,) = [event.get("result") or event["data"] for event in events if event["event"] in ("Finished", "Measured")]
    return Verdict(code, result, [event["text"] for event in events if event["event"] == "Warned"])


def spread(cluster: Cluster) -> Verdict:
    done = cluster.run("fleet", "verify", "near", "--fleet", str(cluster.config), "--json")
    return verdict(done.returncode, done.stdout.splitlines())


def test_workers_may_be_killed_and_come_again(cluster: Cluster) -> None:
    whole = spread(cluster)
    assert whole.code == 0 and whole.result["whole"] == 1 and not whole.warnings, whole

    cluster.members["w1"].stop()  # what it was given is not done
    verify = cluster.start("verify", "verify", "near", "--json")
    verify.heard('"Progress"')
    cluster.kill("w1")
    assert verdict(verify.ended(), verify.said) == whole

    cluster.members["w2"].stop()
    verify = cluster.start("verify", "verify", "near", "--json")
    verify.heard('"StepStarted","step":"records"')
    cluster.kill("scheduler")
    told = verdict(verify.ended(), verify.said)
    assert told.result == whole.result and told.code == 4, told
    assert any("read here" in text for text in told.warnings), told

    cluster.scheduler()
    cluster.members["w2"].go_on()
    cluster.members["w2"].heard("worker w2 is at", times=2)
    assert spread(cluster) == whole


def test_root_who_joins_no_cluster_reads_it_alone_and_says_so(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        absent("root, who joins no cluster")
    monkeypatch.setenv("XDG_CONFIG_HOME", cluster.env["XDG_CONFIG_HOME"])
    ended = engines.run("fleet-verify", fleet=str(cluster.config), repository="near")
    assert ended.status == "warned" and ended.result.whole == 1, ended
    (told,) = ended.warnings
    assert "root does not join a cluster" in told and "read here" in told


def test_the_upkeep_that_only_reads_a_far_repository_is_any_workers(cluster: Cluster, tmp_path: Path) -> None:
    config = tmp_path / "fleet.yaml"
    read = cluster.config.read_text()
    none = read.replace("ssh: local", "ssh: local, find: [{lvm: '(?P<vm>no)(?P<disk>thing)'}]")
    config.write_text(f"{none}ledger: '{tmp_path}/ledger'\n")
    done = cluster.run("fleet", "run", "--fleet", str(config), "--json")
    told = [
        text for line in done.stdout.splitlines() if "near on controller" in (text := json.loads(line).get("text", ""))
    ]
    assert sorted(told) == ["gc near on controller: done", "verify near on controller: done"], done
    runs = [run.name for name in ("w1", "w2") for run in cluster.state(name).glob("crashcart/runs/*")]
    assert len(runs) == 1 and "backup-verify" in runs[0], runs


def test_damage_is_told_as_by_a_verify_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    repo = cluster.folder.parent / "repo"
    packs = sorted((repo / "packs").iterdir(), key=lambda path: path.stat().st_size)[
        -3:
    ]  # not those of maps and points
    for pack, at in zip(packs, (5000, -10, 3), strict=True):  # a record, a footer, a front
        raw = bytearray(pack.read_bytes())
        raw[at] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(raw)
    twin = shutil.copytree(repo, tmp_path / "twin")
    found = spread(cluster)
    alone = engines.run("backup-verify", repo=str(twin))
    assert found.code == alone.code == 1
    assert found.result["bad"] == 1 and len(found.result["faults"]) == 2
    assert packs[0].name in "".join(found.warnings)
    assert sorted(found.warnings) == sorted(alone.warnings)


def test_a_folder_is_read_here_since_a_worker_may_have_another_one_there(cluster: Cluster, tmp_path: Path) -> None:
    config = tmp_path / "fleet.yaml"
    repo = lab.init(tmp_path / "repo")
    config.write_text(f"{FLEET}repositories: {{near: {{url: '{repo}'}}}}\n{cluster.yaml}")
    planned = cluster.run("fleet", "verify", "near", "--fleet", str(config), "--dry-run")
    assert planned.returncode == 0 and "this process" in planned.stdout, planned


def test_a_repository_is_closed_once_its_last_share_is_read(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    closed: list[str] = []

    def opens(share: Share) -> Repository:
        class Told(Repository):
            @override
            def close(self) -> None:
                closed.append(share.reading)
                super().close()

        return Told.of(RepoParams(repo=repo))

    first, second = (Share(reading=reading, opening={}, id=b"", percent=100, packs=()) for reading in ("1", "2"))
    opened = Opened(opens)
    with opened.of(first) as (one, _), opened.of(first) as (same, _):
        assert one is same
        with opened.of(second):
            assert not closed
    assert closed == ["1"]
    with opened.of(second):
        assert closed == ["1"]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_shares_are_all_packs_once_and_neither_many_nor_too_large(count: int) -> None:
    packs = [(bytes([number]), 10 + number % 3) for number in range(30)]
    dealt = list(shares(packs, count))
    assert [each for share in dealt for each in share] == packs
    assert len(dealt) <= count + 1
    assert list(shares([], count)) == []
    assert len(list(shares([(pack, LARGEST // 2) for pack, _ in packs], 1))) == 15
