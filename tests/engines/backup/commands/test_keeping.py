"""A point that is protected stays whatever the rules say; a VM that is renamed keeps its history, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import tasks
from engines.backup.commands import listing
from engines.job import runs
from engines.job.contract import Cancel, Finished, RunFailed
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


def test_what_is_noted_of_points_goes_with_their_new_name_and_comes_back_with_the_old(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    first, second, third = three(tmp_path, repo)
    lab.done("backup-protect", repo=repo, point=first, why="before the migration")
    lab.verified(repo=repo)
    pack = min(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_mtime_ns)
    with pack.open("r+b") as stream:
        stream.seek(200)
        stream.write(b"?!?!")
    assert set(lab.verified(repo=repo)["hit"]) >= {first}

    def rows() -> list[tuple[str, bool, bool, bool]]:
        with lab.opened(repo) as repository:
            found = listing.listed(repository).points
        return [(row.point, row.protected, bool(row.damaged), bool(row.verified)) for row in found]

    before = rows()
    assert [row[0] for row in before] == [first, second, third] and before[0][1:] == (True, True, True)
    run, _ = lab.perform_job("backup-rename", repo=repo, vm="web1", to="shop")
    assert rows() == [(row[0].replace("web1/", "shop/"), *row[1:]) for row in before]
    assert lab.done("backup-prune", repo=repo, keep_last=1)["pruned"] == [second.replace("web1/", "shop/")]
    _, undone = lab.followed(run, "undo")
    assert isinstance(undone, Finished) and rows() == before
    assert [path.name for path in Path(repo, "protected").iterdir()] == ["web1"]


def test_a_protection_that_cannot_be_written_fails_the_rename_in_words_and_nothing_is_renamed(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, lab.disk(tmp_path / "disk", {0: 1}, 1 << 22))
    lab.done("backup-protect", repo=repo, point=point)
    Path(repo, "protected", "shop").write_bytes(b"no folder")
    _, last = lab.perform_job("backup-rename", repo=repo, vm="web1", to="shop")
    assert isinstance(last, RunFailed) and "cannot be written" in last.why, last
    with lab.opened(repo) as repository:
        assert [str(name) for name in repository.names()] == [point]


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
