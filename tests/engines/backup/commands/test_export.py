"""A point as one file: a repository of its own that comes back by import."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import Repository
from engines.job import journal
from engines.job.contract import Finished, RunFailed, Warned
from engines.job.errors import Refused
from tests.engines.backup import lab
from tests.engines.backup.commands.copied import MIB, SIZE, backups, key_file, points


@pytest.mark.parametrize("locked", [False, True])
def test_an_exported_file_is_a_repository_of_one_point_and_comes_back_by_import(tmp_path: Path, locked: bool) -> None:
    key = key_file(tmp_path / "key") if locked else ""
    given = {"cipher": "aes-256-gcm", "key_file": key} if locked else {}
    opens = {"key_file": key} if locked else {}
    repo = lab.init(tmp_path / "repo", **given)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(30)}, SIZE)
    lab.backup(repo, source, **opens)
    lab.disk(source, {4: 44}, SIZE)
    point = lab.backup(repo, source, **opens)
    file = tmp_path / "web1.tar"
    lab.done("backup-export", repo=repo, point="web1/disk0@latest", file=str(file), **opens)
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if ".export" in path.name or ".tmp" in path.name) == []
    with tarfile.open(file) as tar:
        inside = tar.getnames()
    assert inside[0] == "config.json" and len([name for name in inside if name.endswith(".pack")]) == 1
    with pytest.raises(Refused, match="exists"):
        lab.perform_job("backup-export", repo=repo, point=point, file=str(file), **opens)
    assert points(str(file)) == {point}
    assert lab.content(str(file), point, **opens) == source.read_bytes()
    other = lab.init(tmp_path / "other")
    lab.done("backup-import", repo=other, file=str(file), **({"file_key_file": key} if locked else {}))
    assert lab.content(other, point) == source.read_bytes()
    before = file.read_bytes()
    _, last = lab.perform_job("backup", repo=str(file), source=str(source), vm="web1", limit="none", **opens)
    assert isinstance(last, RunFailed), last
    assert file.read_bytes() == before
    with pytest.raises(Refused):
        Repository.open(str(file), Unlock(key_file(tmp_path / "wrong"))) if locked else Repository.open(str(source))


def test_an_export_that_was_killed_behind_its_rename_is_done_and_anothers_file_is_nobodys_to_undo(
    repo: str, tmp_path: Path
) -> None:
    (point,) = backups(repo, tmp_path, [{}])
    file = tmp_path / "web1.tar"
    words = {"repo": repo, "point": point, "file": str(file)}
    run, _ = lab.perform_job("backup-export", **words)
    before = file.read_bytes()
    again, last = lab.perform_job("backup-export", mode="resume", earlier=run.id, **words)
    assert isinstance(last, Finished) and file.read_bytes() == before
    file.unlink()
    file.write_bytes(b"theirs")  # the number of its inode is often the one that has just become free
    _, last = lab.perform_job("backup-export", mode="resume", earlier=run.id, **words)
    assert isinstance(last, RunFailed) and "was made meanwhile" in last.why
    lab.perform_job("backup-export", mode="undo", earlier=again.id, **words)
    assert file.read_bytes() == b"theirs", "an undo removes what its run made, and nothing else"
    file.unlink()
    run, _ = lab.perform_job("backup-export", **words)
    lab.followed(run, "undo")
    assert not file.exists() and not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 1000, bytes(2048)])
def test_a_file_that_is_no_export_is_refused(repo: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(content)
    with pytest.raises(Refused):
        lab.perform_job("backup-import", repo=repo, file=str(file))


def test_an_export_is_only_read_and_whoever_writes_to_it_is_told_so(repo: str, tmp_path: Path) -> None:
    """No disk is at fault, so dmesg is no advice; that a verify cannot be noted there is nothing to be warned of."""
    backups(repo, tmp_path, [{}])
    file = str(tmp_path / "web1.tar")
    lab.done("backup-export", repo=repo, point="web1/disk0@latest", file=file)
    wrong: dict[str, dict[str, Any]] = {
        "backup": {"repo": file, "source": str(tmp_path / "disk"), "vm": "web2", "limit": "none"},
        "backup-copy": {"repo": repo, "to": file},
        "backup-prune": {"repo": file, "keep_last": 1},
        "backup-gc": {"repo": file},
    }
    (tmp_path / "disk").write_bytes(bytes(MIB))
    for task, params in wrong.items():
        _, last = lab.perform_job(task, **params)
        assert isinstance(last, RunFailed), task
        assert "is an export: it is only read" in last.why and "backup import" in last.what_helps, (task, last)
    run, last = lab.perform_job("backup-verify", repo=file)
    assert isinstance(last, Finished)
    assert not [entry for entry in journal.entries(run.journal) if isinstance(entry.event, Warned)]
