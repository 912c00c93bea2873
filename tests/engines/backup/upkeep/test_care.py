"""verify finds and heals, prune and gc let go of what nobody needs and of nothing else."""

from __future__ import annotations

import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from engines.backup.names import PointName
from engines.backup.repository import packs_to_delete, sessions
from engines.backup.repository.sessions import Presence
from engines.backup.upkeep.retention import Rules, SeenPoint, kept
from engines.job.contract import Cancel, Finished, RunFailed
from engines.job.errors import Refused
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB


@pytest.fixture
def repo(tmp_path: Path) -> str:
    return lab.init(tmp_path / "repo", pack=4 * MIB)


def three_points(repo: str, folder: Path) -> list[tuple[str, bytes]]:
    """Three points of one disk, each with two blocks of its own."""
    source = folder / "disk"
    made = []
    for at in range(3):
        lab.disk(source, {**{number: number for number in range(12)}, at: 50 + at, 20 + at: 60 + at}, 24 * MIB)
        made.append((lab.backup(repo, source), source.read_bytes()))
    return made


def flipped_files(repo: str) -> list[Path]:
    """Every file of a repository whose bits verify vouches for."""
    folders = ("packs", "index", "points", "positions")
    return sorted(path for folder in folders for path in Path(repo, folder).rglob("*") if path.is_file())


def test_verify_finds_a_flipped_bit_anywhere_in_any_file(repo: str, tmp_path: Path) -> None:
    three_points(repo, tmp_path)
    lab.opened(repo).index.flush(always=True)
    rng = random.Random(5)
    for path in flipped_files(repo):
        whole = path.read_bytes()
        places = {0, 7, 20, 60, 63, 64, 80, 100, len(whole) - 1, len(whole) - 30, rng.randrange(len(whole))}
        for at in sorted(place for place in places if 0 <= place < len(whole))[:: 1 if len(whole) < 9999 else 3]:
            raw = bytearray(whole)
            raw[at] ^= 1 << rng.randrange(8)
            path.write_bytes(raw)
            found = lab.verified(repo=repo)
            assert found["bad"] or found["faults"] or found["hit"], f"{path} at {at}"
            path.parent.mkdir(parents=True, exist_ok=True)  # a damaged cache was removed with its folder
            path.write_bytes(whole)
            for note in Path(repo, "quarantine").glob("*"):
                note.unlink()
    assert lab.verified(repo=repo)["whole"] == 3


def test_a_flipped_bit_in_config_is_named(repo: str) -> None:
    path = Path(repo, "config.json")
    Path(repo, "packs/config.json").unlink()  # it would serve instead
    whole = path.read_bytes()
    for at in range(len(whole)):
        raw = bytearray(whole)
        raw[at] ^= 1
        path.write_bytes(raw)
        _, last = _planned(repo)
        assert "config.json" in last or "format" in last, at
    path.write_bytes(whole)


def _planned(repo: str) -> tuple[None, str]:
    from engines.job.errors import CrashcartError

    try:
        lab.verified(repo=repo)
    except CrashcartError as error:
        return None, str(error)
    return None, ""


def damage(repo: str, offset: int = 200) -> None:
    """Flip a bit in the first record of the largest pack."""
    pack = max(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    raw = bytearray(pack.read_bytes())
    raw[offset] ^= 4
    pack.write_bytes(raw)


def test_damage_is_pinned_on_its_points_and_healed_by_the_next_backup(repo: str, tmp_path: Path) -> None:
    made = three_points(repo, tmp_path)
    damage(repo)
    found = lab.verified(repo=repo)
    assert found["bad"] == 1
    assert found["hit"], "the points that need the record are named"
    broken = lab.verified(repo=repo)
    assert broken["hit"] == found["hit"], "what is in quarantine is still missed"
    lab.backup(repo, tmp_path / "disk")
    lost = [point for point, content in made if not _restores(repo, point, content)]
    seen = lab.verified(repo=repo)
    assert sorted(lost) == seen["hit"]
    assert made[-1][0] not in lost, "what the disk still holds is healed"


def _restores(repo: str, point: str, content: bytes) -> bool:
    try:
        return lab.content(repo, point) == content
    except AssertionError:
        return False


def test_a_lost_pack_is_healed_by_the_next_backup(repo: str, tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {at: at for at in range(12)}, 12 * MIB)
    point = lab.backup(repo, source)
    lab.opened(repo).index.flush(always=True)
    max(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_size).unlink()
    assert lab.verified(repo=repo)["hit"] == [point]
    lab.backup(repo, source)
    assert lab.verified(repo=repo)["hit"] == []
    assert lab.content(repo, point) == source.read_bytes()
    assert not lab.opened(repo).index.lost, "the next backup is a quick one again"


def test_index_and_points_come_back_from_the_packs(repo: str, tmp_path: Path) -> None:
    made = three_points(repo, tmp_path)
    for path in [*Path(repo, "index").rglob("*.idx"), *Path(repo, "points").rglob("*.point")]:
        path.unlink()
    lab.verified(repo=repo, rebuild=True)
    for point, content in made:
        assert lab.content(repo, point) == content


def test_verify_against_a_disk_tells_where_it_differs(repo: str, tmp_path: Path) -> None:
    (point, content), *_ = three_points(repo, tmp_path)
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    lab.verified(repo=repo, point=point, against=str(disk))
    for at in (5, 15 * MIB):
        with disk.open("r+b") as stream:
            stream.seek(at)
            stream.write(b"!")
        _, last = lab.perform_job("backup-verify", repo=repo, point=point, against=str(disk))
        assert isinstance(last, RunFailed)
        assert "differ" in last.why


def test_a_share_of_the_records_can_be_read(repo: str, tmp_path: Path) -> None:
    three_points(repo, tmp_path)
    whole = lab.verified(repo=repo)["read"]
    part = lab.verified(repo=repo, percent=20)["read"]
    assert part < whole


# ── prune and gc ────────────────────────────────────────────────────────────────────────────────────


def test_prune_takes_out_what_the_rules_do_not_keep_and_its_undo_puts_it_back(repo: str, tmp_path: Path) -> None:
    made = three_points(repo, tmp_path)
    run, last = lab.perform_job("backup-prune", repo=repo, keep_last=1)
    assert isinstance(last, Finished)
    assert [str(name) for name in lab.opened(repo).names()] == [made[-1][0]]
    _, last = lab.perform_job("backup-prune", mode="undo", earlier=run.id, repo=repo, keep_last=1)
    assert isinstance(last, Finished), last
    for point, content in made:
        assert lab.content(repo, point) == content


def test_prune_without_a_rule_is_refused(repo: str) -> None:
    with pytest.raises(Refused, match="rule"):
        lab.done("backup-prune", repo=repo)


def test_gc_frees_what_only_pruned_points_needed(repo: str, tmp_path: Path) -> None:
    made = three_points(repo, tmp_path)
    before = sum(lab.packs(repo).values())
    assert lab.done("backup-gc", repo=repo)["freed"] <= 0
    lab.done("backup-prune", repo=repo, drop=[made[0][0], made[1][0]])
    lab.done("backup-gc", repo=repo)
    source = lab.disk(tmp_path / "other", {}, 24 * MIB)
    lab.backup(repo, source, vm="other")
    assert sum(lab.packs(repo).values()) < before
    assert lab.content(repo, made[-1][0]) == made[-1][1]
    assert lab.verified(repo=repo)["hit"] == []
    lab.done("backup-prune", repo=repo, drop=[made[-1][0]])
    lab.done("backup-gc", repo=repo)
    assert sum(lab.packs(repo).values()) < 16384


def test_gc_leaves_alone_what_a_living_backup_may_count_on(repo: str, tmp_path: Path) -> None:
    """A backup that began before gc may have found a block stored that no point needs any more."""
    made = three_points(repo, tmp_path)
    store = lab.opened(repo).store
    lab.done("backup-prune", repo=repo, drop=[point for point, _ in made])
    with Presence(store, "write", "a backup that looked before gc") as presence:
        presence.update(sees=())
        before = lab.packs(repo)
        found = lab.done("backup-gc", repo=repo)
        assert found["waits"]
        assert lab.packs(repo) == before
        assert packs_to_delete.every(store)
        again = lab.backup(repo, tmp_path / "disk")
        assert lab.content(repo, again) == made[-1][1], "it took nothing that is condemned for stored"
    lab.done("backup-gc", repo=repo)
    assert not packs_to_delete.every(store)
    assert not set(before) & set(lab.packs(repo))
    assert lab.content(repo, again) == made[-1][1]


def test_a_point_that_is_being_read_outlives_prune_and_gc(repo: str, tmp_path: Path) -> None:
    made = three_points(repo, tmp_path)
    store = lab.opened(repo).store
    point = lab.opened(repo).resolve(made[0][0])
    with Presence(store, "read", "a restore", pins=(point.path(),)):
        lab.done("backup-prune", repo=repo, keep_last=1)
        lab.done("backup-gc", repo=repo)
        assert lab.content(repo, made[0][0]) == made[0][1]


def test_a_killed_session_explains_itself(repo: str) -> None:
    import os
    import signal

    store = lab.opened(repo).store
    child = os.fork()
    if child == 0:
        Presence(store, "write", "backup of web9/disk0", disk="web9/disk0").__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (session,) = sessions.killed(store)
    words = session.explained(alive=False)
    assert "backup of web9/disk0" in words
    assert str(child) in words
    assert "killed" in words
    assert not sessions.living(store)


def test_gc_writes_a_pack_with_a_broken_frame_anew(repo: str, tmp_path: Path) -> None:
    made = three_points(repo, tmp_path)
    for path in Path(repo, "packs").glob("*.pack"):
        raw = bytearray(path.read_bytes())
        raw[-5] ^= 1
        path.write_bytes(raw)
    assert lab.verified(repo=repo)["faults"]
    lab.done("backup-gc", repo=repo)
    found = lab.verified(repo=repo)
    assert not found["faults"]
    for point, content in made:
        assert lab.content(repo, point) == content


def test_small_packs_are_put_together(repo: str, tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    points = [lab.backup(repo, source) for _ in range(12)]
    assert len(lab.packs(repo)) == 12
    lab.done("backup-gc", repo=repo)
    assert len(lab.packs(repo)) < 4
    assert lab.content(repo, points[0]) == source.read_bytes()


def _names(times: list[str]) -> list[PointName]:
    return [PointName("web1", "disk0", time) for time in times]


@pytest.mark.parametrize(
    ("rules", "stay"),
    [
        ({"last": 2}, ["20260301T020000Z", "20260301T030000Z"]),
        ({"hourly": 2}, ["20260301T020000Z", "20260301T030000Z"]),
        ({"daily": 2}, ["20260228T230000Z", "20260301T030000Z"]),
        ({"monthly": 3}, ["20251231T120000Z", "20260228T230000Z", "20260301T030000Z"]),
        ({"yearly": 5}, ["20251231T120000Z", "20260301T030000Z"]),
        ({"tags": ("keep",)}, ["20260228T220000Z", "20260301T030000Z"]),
    ],
)
def test_the_newest_of_each_period_stays(rules: dict[str, Any], stay: list[str]) -> None:
    times = ["20251231T120000Z", "20260228T220000Z", "20260228T230000Z", "20260301T020000Z", "20260301T030000Z"]
    tagged = {"20260228T220000Z": ("keep",)}
    seen = [SeenPoint(name, datetime.fromisoformat(name.time), tagged.get(name.time, ())) for name in _names(times)]
    assert sorted(name.time for name in kept(seen, Rules(**rules))) == stay


def test_the_plan_of_prune_names_what_goes_and_wants_the_repositorys_name(repo: str, tmp_path: Path) -> None:
    from engines import tasks
    from engines.job.params import convert

    made = three_points(repo, tmp_path)
    engine = tasks.engine("backup-prune")
    plan = engine.plan(convert(engine.params, {"repo": repo, "keep_last": 1}), Cancel())
    assert [change.target for change in plan.changes if hasattr(change, "target")] == [made[0][0], made[1][0]]
    assert plan.confirm == Path(repo).name
