"""Old runs go by rule, never one that can still be undone; a killed one is not told of once its work is done."""

from __future__ import annotations

from pathlib import Path

from engines.job import runs, tidy
from engines.job.jobfile import Job
from tests.engines.backup import lab


def test_the_newest_the_young_and_those_that_can_be_undone_stay(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    disk = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    lab.backup(repo, disk)
    for _ in range(4):
        lab.verified(repo=repo)
    before = {run.id: run.info().task for run in runs.every()}
    assert tidy.prune(keep=0, days=1).removed == []
    assert tidy.prune(keep=5, days=0).removed == []
    found = tidy.prune(keep=2, days=0)
    assert {before[name] for name in found.removed} == {"backup-verify"} and len(found.removed) == 2
    assert found.kept == {"newest": 2, "can still be undone": 2}
    assert sorted(run.info().task for run in runs.every()) == [
        "backup", "backup-init", "backup-verify", "backup-verify",
    ]  # fmt: skip


def test_a_killed_run_is_no_longer_told_of_once_the_same_work_was_done(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    disk = lab.disk(tmp_path / "disk", {0: 1}, lab.MIB)
    done, _ = lab.perform_job("backup", repo=repo, source=str(disk), vm="web1", limit="none")
    plan = (done.folder / "plan.json").read_bytes()
    killed = runs.create(
        Job(task="backup", params={"repo": repo, "source": str(disk), "vm": "web1"}), done.info().target
    )
    killed.keep("plan.json", plan)
    killed.keep("holder.json", (done.folder / "holder.json").read_bytes().replace(b'"pid":', b'"pid":9'))
    killed.journal.write_bytes(b"")
    assert [run.id for run in runs.interrupted()] == [killed.id]
    lab.backup(repo, disk)
    assert not list(runs.interrupted())
