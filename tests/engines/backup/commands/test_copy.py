"""Points in a second repository and in a file: the same bytes under other keys, what is there is not read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines import tasks
from engines.backup import names
from engines.backup.commands import made_points
from engines.backup.store.local import LocalStore
from engines.job import journal
from engines.job.contract import BytesChange, Cancel, Finished, Progress, RunFailed, RunStopped, Warned
from engines.job.errors import Refused
from engines.job.journal import Entry
from engines.job.params import Secret, convert
from engines.job.perform import Stop
from tests.engines.backup import lab
from tests.engines.backup.commands.copied import MIB, backups, key_file, points


def all_of(repo: str, made: dict[str, bytes], **unlock: Any) -> None:
    for point, content in made.items():
        assert lab.content(repo, point, **unlock) == content


def test_every_point_is_there_and_what_has_not_changed_is_read_once(repo: str, tmp_path: Path) -> None:
    made = backups(repo, tmp_path, [{}, {3: 900}, {3: 901, 29: 902}])
    other = lab.init(tmp_path / "other", cipher="aes-256-gcm", key_file=(key := key_file(tmp_path / "key")))
    found = lab.done("backup-copy", repo=repo, to=other, to_key_file=key)
    assert set(found["points"]) == set(made) == points(other)
    assert found["read"] == 33 * MIB and found["checked"] > 33
    all_of(other, made, key_file=key)
    lab.done("backup-verify", repo=other, key_file=key)
    more = backups(repo, tmp_path, [{0: 77}])
    found = lab.done("backup-copy", repo=repo, to=other, to_key_file=key)
    assert list(found["points"]) == list(more) and found["read"] <= 3 * MIB
    all_of(other, more, key_file=key)
    found = lab.done("backup-copy", repo=repo, to=other, to_key_file=key)
    assert found["points"] == () or found["points"] == []
    assert found["read"] == found["stored"] == 0


def test_undo_takes_out_what_a_kill_left_unnoted_too(repo: str, tmp_path: Path) -> None:
    """As after SIGKILL between the rename of a point and its note; what was there before, and others made, stays."""
    made = list(backups(repo, tmp_path, [{}, {3: 900}]))
    other = lab.init(tmp_path / "other")
    words: dict[str, Any] = {"repo": repo, "to": other}
    lab.done("backup-copy", **words)
    made += list(backups(repo, tmp_path, [{4: 901}, {5: 902}]))
    run, _ = lab.perform_job("backup-copy", **words)
    note = run.folder / made_points.NOTE
    said = json.loads(note.read_bytes())
    assert said["points"] == made[2:] and len(said["sessions"]) == 1
    note.write_text(json.dumps({**said, "points": made[2:3]}))
    alone = lab.backup(other, lab.disk(tmp_path / "db", {0: 1}, 4 * MIB), vm="db1")
    _, last = lab.followed(run, "undo")
    assert isinstance(last, Finished) and points(other) == {*made[:2], alone}


def test_undo_without_the_key_takes_out_what_is_noted_and_says_what_it_cannot_see(repo: str, tmp_path: Path) -> None:
    backups(repo, tmp_path, [{}])
    other = lab.init(tmp_path / "other", cipher="aes-256-gcm", key_file=(key := key_file(tmp_path / "key")))
    run, _ = lab.perform_job("backup-copy", repo=repo, to=other, to_key_file=key)
    Path(key).unlink()
    undone, last = lab.followed(run, "undo")
    assert isinstance(last, Finished) and not points(other), last
    told = [entry.event.text for entry in journal.entries(undone.journal) if isinstance(entry.event, Warned)]
    assert len(told) == 1 and "is locked" in told[0]


def test_each_passphrase_that_will_be_asked_for_is_known_before_the_run(repo: str, tmp_path: Path) -> None:
    """Where nobody is there to answer, that refuses the run; what goes by names alone asks for none."""
    (tmp_path / "pw").write_text("three words here")
    (tmp_path / "pw").chmod(0o600)
    other = lab.init(tmp_path / "other", cipher="aes-256-gcm", passphrase_file=str(tmp_path / "pw"))
    words, opens = Secret("three words here"), {"passphrase_file": str(tmp_path / "pw")}
    lab.backup(other, lab.disk(tmp_path / "db", {0: 1}, 4 * MIB), vm="db1", **opens)
    file = str(tmp_path / "db.tar")
    lab.done("backup-export", repo=other, point="db1/disk0@latest", file=file, **opens)
    given: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        ("backup-copy", {"repo": repo, "to": other}, ("to_passphrase",)),
        ("backup-copy", {"repo": other, "to": repo}, ("passphrase",)),
        ("backup-copy", {"repo": repo, "to": other, "to_passphrase": words}, ()),
        ("backup-import", {"repo": repo, "file": file}, ("file_passphrase",)),
        ("backup-verify", {"repo": other}, ("passphrase",)),
        ("backup-prune", {"repo": other, "keep_last": 1}, ()),
        ("backup-protect", {"repo": other, "point": "web1/disk0@latest"}, ()),
    ]
    for task, params, asked in given:
        assert convert(tasks.engine(task).params, params).asks() == asked, task


def test_to_a_bucket_and_back_under_a_third_key(repo: str, bucket: str, tmp_path: Path) -> None:
    made = backups(repo, tmp_path, [{}, {5: 500}])
    far = f"s3://{bucket}/copy"
    lab.done("backup-init", repo=far, cipher="chacha20-poly1305", key_file=(key := key_file(tmp_path / "key")))
    lab.done("backup-copy", repo=repo, to=far, to_key_file=key)
    back = lab.init(tmp_path / "back")
    lab.done("backup-copy", repo=far, key_file=key, to=back)
    all_of(back, made)


def test_only_those_that_are_asked_for(repo: str, tmp_path: Path) -> None:
    web = backups(repo, tmp_path, [{}, {1: 5}, {1: 6}])
    backups(repo, tmp_path, [{}], vm="db1")
    other = lab.init(tmp_path / "other")
    lab.done("backup-copy", repo=repo, to=other, only=("web1",), keep_last=2)
    assert points(other) == set(sorted(web)[-2:])
    with pytest.raises(Refused, match="no disk 'web'"):
        lab.perform_job("backup-copy", repo=repo, to=other, only=("web",))
    with pytest.raises(Refused, match="one repository"):
        lab.perform_job("backup-copy", repo=repo, to=repo)


def test_the_other_repository_has_rules_of_its_own_and_what_is_protected_stays_there_too(
    repo: str, tmp_path: Path
) -> None:
    first = list(backups(repo, tmp_path, [{}, {1: 5}, {1: 6}]))
    lab.done("backup-protect", repo=repo, point=first[0], why="the auditor")
    other = lab.init(tmp_path / "other")
    alone = lab.backup(other, lab.disk(tmp_path / "db", {0: 1}, 4 * MIB), vm="db1")
    lab.done("backup-copy", repo=repo, to=other, keep_last=2)
    assert points(other) == {alone, *first}
    more = list(backups(repo, tmp_path, [{1: 7}, {1: 8}]))
    lab.done("backup-prune", repo=repo, keep_last=1)
    run, _ = lab.perform_job("backup-copy", repo=repo, to=other, keep_last=2)
    assert points(other) == {alone, first[0], first[2], more[1]}, "the rules count what is there, too"
    assert str(names.parse(first[0]).path("protected")) in set(LocalStore(Path(other)).names("protected"))
    lab.perform_job("backup-copy", mode="undo", earlier=run.id, repo=repo, to=other, keep_last=2)
    assert points(other) == {alone, *first}


@pytest.mark.parametrize("locked", [False, True])
def test_the_plan_names_what_goes_there_and_undo_brings_back_what_was(repo: str, tmp_path: Path, locked: bool) -> None:
    made = list(backups(repo, tmp_path, [{}, {1: 5}, {1: 6}, {1: 7}]))
    key = {"key_file": key_file(tmp_path / "key")} if locked else {}
    other = lab.init(tmp_path / "other", **({"cipher": "aes-256-gcm"} if locked else {}), **key)
    opens = {f"to_{name}": value for name, value in key.items()}
    lab.done("backup-copy", repo=repo, to=other, **opens)
    alone = lab.backup(other, lab.disk(tmp_path / "db", {0: 1}, 4 * MIB), vm="db1", **key)
    lab.done("backup-protect", repo=repo, point=made[0], why="the auditor")
    engine = tasks.engine("backup-copy")
    words: dict[str, Any] = {"repo": repo, "to": other, "keep_last": 2, **opens}
    plan = engine.plan(convert(engine.params, words), Cancel())
    assert [change.target for change in plan.changes if isinstance(change, BytesChange)] == [made[1]]
    assert plan.detail["go"] == [made[1]] and any("1 points" in text for text in plan.warnings)
    run, last = lab.perform_job("backup-copy", **words)
    assert isinstance(last, Finished), last
    assert points(other) == {alone, made[0], *made[2:]}
    lab.perform_job("backup-copy", mode="undo", earlier=run.id, **words)
    assert points(other) == {alone, *made}
    assert not list(LocalStore(Path(other)).names("protected"))


def test_undo_of_a_copy_leaves_a_protection_that_somebody_else_gave(repo: str, tmp_path: Path) -> None:
    (first,) = backups(repo, tmp_path, [{}])
    other = lab.init(tmp_path / "other")
    lab.done("backup-copy", repo=repo, to=other)
    lab.done("backup-protect", repo=repo, point=first, why="the auditor")
    run, _ = lab.perform_job("backup-copy", repo=repo, to=other)
    lab.done("backup-protect", repo=other, point=first, off=True)
    lab.done("backup-protect", repo=other, point=first, why="a lawsuit")
    lab.perform_job("backup-copy", mode="undo", earlier=run.id, repo=repo, to=other)
    assert points(other) == {first} and len(list(LocalStore(Path(other)).names("protected"))) == 1


def test_a_locked_copy_whose_names_cannot_be_relied_on_is_not_counted_by_them(repo: str, tmp_path: Path) -> None:
    made = list(backups(repo, tmp_path, [{}, {1: 5}]))
    for name, time_ in zip(made, ("20251122T082300Z", "20251122T082301Z"), strict=True):
        lab.dated(repo, name, time_=time_)
    key = key_file(tmp_path / "key")
    other = lab.init(tmp_path / "other", cipher="aes-256-gcm", key_file=key)
    lab.done("backup-copy", repo=repo, to=other, to_key_file=key)
    engine = tasks.engine("backup-copy")
    with pytest.raises(Refused, match="one second apart"):
        engine.plan(convert(engine.params, {"repo": repo, "to": other, "keep_daily": 1}), Cancel())


def test_what_a_stop_left_is_not_stored_again(repo: str, tmp_path: Path) -> None:
    made = backups(repo, tmp_path, [{}, {3: 900}])
    other = lab.init(tmp_path / "other", pack=4 * MIB)
    stop = Stop()

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Progress) and entry.event.done:
            stop.ask()

    _, last = lab.perform_job("backup-copy", stop=stop, listen=listen, repo=repo, to=other)
    assert isinstance(last, RunStopped | Finished), last
    stored = sum(lab.packs(other).values())
    found = lab.done("backup-copy", repo=repo, to=other)
    all_of(other, made)
    assert stored + found["stored"] < 40 * MIB
    clean = lab.init(tmp_path / "clean")
    lab.done("backup-copy", repo=repo, to=clean)
    assert sum(lab.packs(other).values()) < sum(lab.packs(clean).values()) + 2 * MIB


def test_undo_takes_them_out_there_and_nothing_here(repo: str, tmp_path: Path) -> None:
    made = backups(repo, tmp_path, [{}, {3: 900}])
    other = lab.init(tmp_path / "other")
    run, _ = lab.perform_job("backup-copy", repo=repo, to=other)
    lab.perform_job("backup-copy", mode="undo", earlier=run.id, repo=repo, to=other)
    assert points(other) == set() and points(repo) == set(made)


def test_undo_of_a_copy_that_was_resumed_takes_back_what_every_run_of_it_did(repo: str, tmp_path: Path) -> None:
    made = list(backups(repo, tmp_path, [{}, {1: 5}, {1: 6}]))
    other = lab.init(tmp_path / "other")
    lab.done("backup-copy", repo=repo, to=other, only=("web1",), keep_last=3)
    more = list(backups(repo, tmp_path, [{1: 7}]))
    lab.done("backup-protect", repo=repo, point=more[0], why="the auditor")
    stop = Stop()
    words: dict[str, Any] = {"repo": repo, "to": other, "keep_last": 2}
    run, last = lab.perform_job("backup-copy", stop=stop, listen=lab.stops_at("copy", stop), **words)
    assert isinstance(last, RunStopped) and points(other) == set(made)
    second, last = lab.followed(run, "resume", stop_at="check")
    assert isinstance(last, RunStopped) and points(other) == {*made, *more}
    third, last = lab.followed(second, "resume")
    assert isinstance(last, Finished) and points(other) == {made[2], *more}
    _, last = lab.followed(third, "resume")
    assert isinstance(last, Finished), last
    _, last = lab.followed(third, "undo")
    assert isinstance(last, Finished) and last.summary.startswith("1 points are taken out"), last
    assert points(other) == set(made) and not list(LocalStore(Path(other)).names("protected"))


def test_a_copy_that_is_taken_up_does_not_wonder_at_what_it_took_out_itself(repo: str, tmp_path: Path) -> None:
    made = list(backups(repo, tmp_path, [{}, {1: 5}]))
    other = lab.init(tmp_path / "other")
    lab.done("backup-copy", repo=repo, to=other)
    run, _ = lab.perform_job("backup-copy", repo=repo, to=other, keep_last=1)
    assert points(other) == {made[1]}
    again, last = lab.perform_job("backup-copy", mode="resume", earlier=run.id, repo=repo, to=other, keep_last=1)
    assert isinstance(last, Finished)
    assert not [entry for entry in journal.entries(again.journal) if isinstance(entry.event, Warned)]


def test_undo_of_a_backup_that_was_resumed_takes_out_its_point(repo: str, tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, 4 * MIB)
    stop = Stop()
    words: dict[str, Any] = {"repo": repo, "source": str(source), "vm": "web1", "limit": "none"}
    run, last = lab.perform_job("backup", stop=stop, listen=lab.stops_at("read", stop), **words)
    assert isinstance(last, RunStopped), last
    again, last = lab.followed(run, "resume")
    assert isinstance(last, Finished) and len(points(repo)) == 1
    _, last = lab.followed(again, "undo")
    assert isinstance(last, Finished) and not points(repo), last


def test_a_damaged_block_makes_no_point_there(repo: str, tmp_path: Path) -> None:
    backups(repo, tmp_path, [{}])
    pack = next(Path(repo, "packs").glob("*.pack"))
    raw = bytearray(pack.read_bytes())
    raw[len(raw) // 2] ^= 1
    pack.write_bytes(raw)
    other = lab.init(tmp_path / "other")
    _, last = lab.perform_job("backup-copy", repo=repo, to=other)
    assert isinstance(last, RunFailed), last
    assert points(other) == set()
