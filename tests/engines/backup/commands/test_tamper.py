"""In a bucket that keeps versions: what an attacker did is named and undone elsewhere, and locks prevent it."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from pathlib import Path

import pytest

import engines
from engines.backup.commands import tamper
from engines.backup.commands.init import Init, InitParams
from engines.backup.commands.tamper import BucketParams
from engines.backup.errors import Damaged
from engines.backup.names import stamp
from engines.backup.repository import lock_setting
from engines.backup.store.opening import open_store
from engines.backup.store.s3.access import parse
from engines.backup.store.s3.store import open_s3
from engines.backup.store.s3.versions import ObjectVersion, in_order, policy
from engines.backup.store.s3.writer import excess
from engines.backup.store.store import Store
from engines.job.contract import Cancel, Finished
from engines.job.errors import BadParam, Refused
from engines.job.params import convert
from tests.engines.backup import lab
from tests.engines.backup.store.weed import WRITER, Weed

MIB = 1 << 20
SIZE = 8 * MIB


def backup(repo: str, folder: Path, seed: int) -> tuple[str, bytes]:
    source = lab.disk(folder / "disk", {0: 1, 5: seed}, SIZE)
    return lab.backup(repo, source), source.read_bytes()


def listed(store: Store, ending: str) -> list[str]:
    """Sorted; a copy of config.json lies with the packs."""
    folder = {".pack": "packs", ".point": "points"}[ending]
    return sorted(name for name in store.names(folder) if name.endswith(ending))


def traces(repo: str) -> list[tuple[str, str]]:
    found = tamper.tamper(BucketParams(repo=repo))
    assert tamper.table(found)
    return [(one.name, one.what.split(" ")[0]) for one in found.found]


def test_what_backups_do_is_no_trace_and_what_others_do_is_named_and_undone(vault: str, tmp_path: Path) -> None:
    first, content = backup(vault, tmp_path, 2)
    second, later = backup(vault, tmp_path, 3)
    run, _ = lab.perform_job("backup-prune", repo=vault, drop=(first,))
    lab.perform_job("backup-prune", mode="undo", earlier=run.id, repo=vault, drop=(first,))
    lab.done("backup-verify", repo=vault)
    assert traces(vault) == []
    time.sleep(1.1)
    good = stamp(time.time())
    time.sleep(1.1)
    store = open_store(vault)
    packs, points = listed(store, ".pack"), listed(store, ".point")
    store.put(packs[0], b"ransom")
    store.delete(packs[1])
    store.delete(points[0])
    store.put(points[1], b"ransom")
    store.put("config.json", b"{}")
    wanted = {
        (packs[0], "OVERWRITTEN"), (packs[1], "DELETED"), (points[0], "DELETED"), (points[1], "OVERWRITTEN"),
        ("config.json", "OVERWRITTEN"),
    }  # fmt: skip
    assert set(traces(vault)) == wanted
    into = str(tmp_path / "back")
    found = lab.done("backup-rewind", repo=vault, at=good, into=into)
    assert found["points"] == 2
    assert lab.content(into, first) == content and lab.content(into, second) == later
    lab.done("backup-verify", repo=into)


def test_what_happened_within_a_second_is_put_in_the_only_order_that_can_be() -> None:
    def one(number: int, at: float, *, marker: bool = False, latest: bool = False) -> ObjectVersion:
        return ObjectVersion("points/x", str(number), at, marker=marker, latest=latest)

    kept = [one(3, 5), one(1, 1), one(2, 5, marker=True), one(4, 9, marker=True, latest=True)]
    assert [version.id for version in in_order(kept)] == ["1", "2", "3", "4"]
    kept = [one(2, 1, marker=True, latest=True), one(1, 1)]
    assert [version.id for version in in_order(kept)] == ["1", "2"]


def test_a_gc_is_no_trace(vault: str, tmp_path: Path) -> None:
    backup(vault, tmp_path, 2)
    second, later = backup(vault, tmp_path, 3)
    lab.done("backup-prune", repo=vault, keep_last=1)
    lab.done("backup-gc", repo=vault)
    assert traces(vault) == []
    assert lab.content(vault, second) == later


def test_before_there_was_a_repository_there_is_nothing_to_go_back_to(vault: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no repository at"):
        lab.perform_job("backup-rewind", repo=vault, at="20200101T000000Z", into=str(tmp_path / "x"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(Refused, match="not empty"):
        lab.perform_job("backup-rewind", repo=vault, at=stamp(time.time() + 5), into=str(tmp_path / "full"))


def test_what_is_locked_cannot_be_deleted_for_good(vault: str, weed: Weed, tmp_path: Path) -> None:
    first, content = backup(vault, tmp_path, 2)
    found = lab.done("backup-lock", repo=vault, days=30)
    assert found["points"] == 1 and found["renewed"] == found["files"] >= 3
    again = lab.done("backup-lock", repo=vault, days=30)
    assert again["renewed"] == 0
    longer = lab.done("backup-lock", repo=vault, days=60)
    assert longer["renewed"] == longer["files"]
    bucket = vault.split("/")[2]
    boto = weed.boto()
    refused = 0
    for version in boto.list_object_versions(Bucket=bucket, Prefix="ams/packs/")["Versions"]:
        if not version["Key"].endswith(".pack"):
            continue
        with pytest.raises(boto.exceptions.ClientError, match=r"AccessDenied|Access Denied|locked|WORM"):
            boto.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        refused += 1
    assert refused
    assert lab.content(vault, first) == content
    lab.done("backup-gc", repo=vault)  # it never fights a lock


def test_what_a_lock_dates_anew_is_not_missed_by_a_rewind_and_others_objects_are_left_out(
    vault: str, weed: Weed, tmp_path: Path
) -> None:
    """SeaweedFS gives what is locked the time of its lock."""
    first, content = backup(vault, tmp_path, 2)
    before = time.time()
    time.sleep(1.1)
    backup(vault, tmp_path, 3)
    lab.done("backup-lock", repo=vault, days=1)
    bucket = vault.split("/")[2]
    for name in ("packs/of another.txt", "points/web1/", "points/web1/a b/20200101T000000Z.point"):
        weed.boto().put_object(Bucket=bucket, Key=f"ams/{name}", Body=b"x")
    into = tmp_path / "back"
    rewound = lab.done("backup-rewind", repo=vault, at=stamp(before), into=str(into))
    assert rewound["points"] == 1
    assert lab.content(str(into), first) == content
    assert len(list(into.rglob("*.point"))) == 1 and not list(into.rglob("of another*"))


def test_gc_says_what_is_locked_and_until_when_and_deletes_by_name_only(vault: str, tmp_path: Path) -> None:
    backup(vault, tmp_path, 2)
    gone = lab.backup(vault, lab.disk(tmp_path / "other", {0: 77}, MIB), vm="db1")
    assert lab.done("backup-gc", repo=vault)["locked"] == 0
    lab.done("backup-lock", repo=vault, days=20)
    lab.done("backup-prune", repo=vault, drop=(gone,))
    _, last = lab.perform_job("backup-gc", repo=vault)
    assert isinstance(last, Finished), last
    assert last.result["locked"] == last.result["freed"] > 0
    assert stamp(time.time() + 29 * 86400)[:4] <= last.result["until"][:4]
    assert any("cannot be freed before" in text and last.result["until"] in text for text in last.then), last.then


def test_a_pack_that_is_locked_and_half_needed_is_not_written_anew(vault: str, tmp_path: Path) -> None:
    blocks = {number: number + 1 for number in range(8)}
    first = lab.backup(vault, lab.disk(tmp_path / "disk", blocks, SIZE))
    lab.backup(vault, lab.disk(tmp_path / "disk", blocks | {0: 90, 1: 91, 2: 92}, SIZE))
    lab.done("backup-lock", repo=vault, days=20)
    lab.done("backup-prune", repo=vault, drop=(first,))
    assert lab.done("backup-gc", repo=vault)["packs"] == 0
    assert lab.done("backup-gc", repo=vault, threshold=60)["packs"] == 0


def test_only_what_long_kept_points_need_is_locked(vault: str, tmp_path: Path) -> None:
    for seed in (2, 3, 4):
        backup(vault, tmp_path, seed)
    everything = lab.done("backup-lock", repo=vault, days=1, keep_last=1)
    assert everything["points"] == 1
    assert len(list(open_store(vault).names("packs"))) >= 3


def test_compliance_asks_for_its_word_and_says_why(vault: str, tmp_path: Path) -> None:
    from engines.backup.commands.lock import Lock, LockParams

    plan = Lock().plan(convert(LockParams, {"repo": vault, "mode": "COMPLIANCE"}), Cancel())
    assert plan.confirm == "COMPLIANCE" and any("CANNOT BE TAKEN BACK" in text for text in plan.warnings)
    assert Lock().plan(convert(LockParams, {"repo": vault}), Cancel()).confirm == ""
    given = {"repo": f"{vault}-hard", "lock": "30d", "lock_mode": "COMPLIANCE"}
    assert Init().plan(convert(InitParams, given), Cancel()).confirm == "COMPLIANCE"


def test_init_tries_what_the_writers_key_may_and_prints_its_policy(weed: Weed, vault: str, tmp_path: Path) -> None:
    bucket, place = vault.split("/")[2], f"{vault}-more"
    said: list[str] = []
    _, last = lab.perform_job(
        "backup-init", repo=place, listen=lambda entry: said.append(getattr(entry.event, "text", ""))
    )
    assert isinstance(last, Finished), last
    assert "s3:DeleteObjectVersion" in last.sections[0].text
    assert last.sections[0].text in "\n".join(said)
    found = excess(place, open_s3(place).bucket)
    assert found == ("change how long things are locked", "delete versions for good"), "this key may do all"
    rule = {
        **policy(parse(place))["Statement"][2],
        "Principal": "*",
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }
    weed.boto().put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [rule]}))
    weed.allow(bucket, key_file=str(weed.key_file(*WRITER)))
    assert excess(place, open_s3(place).bucket) == ()
    point = lab.backup(place, source := lab.disk(tmp_path / "disk", {0: 5}, MIB))
    lab.done("backup-gc", repo=place)
    assert lab.content(place, point) == source.read_bytes()


def test_the_lock_is_a_setting_of_the_repository(vault: str, tmp_path: Path) -> None:
    repo = f"{vault}-set"
    lab.done("backup-init", repo=repo, lock="45d")
    backup(repo, tmp_path, 2)
    backup(repo, tmp_path, 3)
    found = lab.done("backup-lock", repo=repo)
    assert found["points"] == 2 and found["until"] > stamp(time.time() + 54 * 86400)[:4]
    days = (datetime.fromisoformat(found["until"]).timestamp() - time.time()) / 86400
    assert 54 < days < 56, "45 days and a generation of 10"
    lab.done("backup-lock", repo=repo, days=60, keep_last=1, remember=True)
    again = lab.done("backup-lock", repo=repo)
    assert again["points"] == 1 and again["renewed"] == 0
    assert traces(repo) == []
    open_store(repo).put(lock_setting.NAME, b"{broken")
    with pytest.raises(Damaged, match="set it anew"):
        lab.perform_job("backup-lock", repo=repo)
    anew = {"repo": repo, "days": 30, "mode": "GOVERNANCE", "remember": True}
    assert engines.run("backup-lock", given=anew).ok
    assert lab.done("backup-lock", repo=repo)["points"] == 2
    with pytest.raises(BadParam, match="lock"):
        lab.perform_job("backup-init", repo=f"{vault}-x", lock="a while")


def test_a_bucket_that_cannot_lock_is_no_place_for_a_lock(weed: Weed, bucket: str, vault: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no Object Lock"):
        lab.perform_job("backup-init", repo=f"s3://{bucket}/r", lock="30d")
    with pytest.raises(Refused, match="is no bucket"):
        lab.perform_job("backup-init", repo=str(tmp_path / "r"), lock="30d")
    locks_all = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    name = vault.split("/")[2]
    weed.boto().put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=locks_all)
    with pytest.raises(Refused, match="locks whatever is written"):
        lab.perform_job("backup-init", repo=f"{vault}-y", lock="30d")


def test_where_no_versions_are_kept_nothing_can_be_proven(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    with pytest.raises(Refused, match="keeps no versions"):
        traces(repo)
    with pytest.raises(Refused, match="no Object Lock"):
        lab.perform_job("backup-lock", repo=repo)
    with pytest.raises(Refused, match=r"is no bucket.*chattr|is no bucket"):
        traces(str(tmp_path))


def test_fitness_says_what_was_proven_and_what_a_writer_may(vault: str) -> None:
    found = tamper.proven(BucketParams(repo=vault))
    assert found.fit and found.versions == found.locks == "yes"
    text = tamper.told(found)
    assert "fit for a repository" in text and "s3:DeleteObjectVersion" in text and "test-secret" not in text


def test_a_change_of_keys_is_a_note_and_no_trace(weed: Weed, vault: str, tmp_path: Path) -> None:
    repo = vault + "-locked"
    keys = [tmp_path / "a.key", tmp_path / "b.key"]
    for key in keys:
        key.write_bytes(os.urandom(32))
    lab.done("backup-init", repo=repo, cipher="aes-256-gcm", key_file=str(keys[0]))
    _, last = lab.perform_job("backup-key-add", repo=repo, key_file=str(keys[0]), name="b", new_key_file=str(keys[1]))
    assert isinstance(last, Finished), last
    assert traces(repo) == []
    assert "keys were changed" in tamper.tamper(BucketParams(repo=repo)).notes[0]
