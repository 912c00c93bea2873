"""A point that is protected stays whatever the rules say; a VM that is renamed keeps its history, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import tasks
from engines.job import runs
from engines.job.contract import Cancel, Finished
from engines.job.errors import Refused
from engines.job.params import convert
from tests.engines.backup import lab


def three(tmp_path: Path, repo: str) -> dict[str, bytes]:
    made = {}
    for seed in range(3):
        source = lab.disk(tmp_path / "disk", {0: 1, 3: 10 + seed}, 4 * lab.MIB)
        made[lab.backup(repo, source)] = source.read_bytes()
    return made


def test_a_protected_point_stays_until_it_is_let_go(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    first, second, _ = made = list(three(tmp_path, repo))
    lab.done("backup-protect", repo=repo, point=first, why="before the migration")
    engine = tasks.engine("backup-prune")
    plan = engine.plan(convert(engine.params, {"repo": repo, "keep_last": 1}), Cancel())
    assert plan.detail["go"] == [second]
    with pytest.raises(Refused, match="is protected"):
        engine.plan(convert(engine.params, {"repo": repo, "drop": [first]}), Cancel())
    assert lab.done("backup-prune", repo=repo, keep_last=1)["pruned"] == [second]
    lab.done("backup-protect", repo=repo, point=first, off=True)
    assert lab.done("backup-prune", repo=repo, keep_last=1)["pruned"] == made[:1]


def test_a_renamed_vm_keeps_its_points_stores_no_block_again_and_can_be_undone(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    made = three(tmp_path, repo)
    before = sum(lab.packs(repo).values())
    run, last = lab.perform_job("backup-rename", repo=repo, vm="web1", to="shop")
    assert isinstance(last, Finished)
    assert last.result["points"] == [name.replace("web1/", "shop/") for name in made]
    assert sum(lab.packs(repo).values()) - before < 64 * 1024
    for name, content in made.items():
        assert lab.content(repo, name.replace("web1/", "shop/")) == content
    again = lab.done("backup", repo=repo, source=str(tmp_path / "disk"), vm="shop", limit="none")
    assert again["changed"] == 0
    lab.done("backup-prune", repo=repo, drop=[again["point"]])
    _, undone = lab.perform_job("backup-rename", mode="undo", earlier=run.id, repo=repo, vm="web1", to="shop")
    assert isinstance(undone, Finished), undone
    with lab.opened(repo) as repository:
        assert [str(name) for name in repository.names()] == list(made)
    assert runs.find(run.id).status() in ("done", "warned")
    lab.done("backup-rename", repo=repo, vm="web1", to="shop2")
    lab.done("backup-gc", repo=repo)
    assert lab.verified(repo=repo)["whole"] == 3
