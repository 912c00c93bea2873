"""Encrypted repositories: nothing readable without the key, nothing changed without notice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import Repository
from engines.job.contract import Finished, RunFailed, RunStopped
from engines.job.errors import Refused
from engines.job.params import Secret
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB

PLAIN = b"the customer's only disk, in the clear. " * 30000


@pytest.fixture(params=["aes-256-gcm", "chacha20-poly1305"])
def locked(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any], Path]:
    """(repository, what opens it, source)."""
    key = tmp_path / "key"
    key.write_bytes(os.urandom(64))
    unlock = {"key_file": str(key)}
    repo = lab.init(tmp_path / "repo", cipher=request.param, **unlock)
    source = tmp_path / "disk"
    source.write_bytes(PLAIN + os.urandom(3 * MIB))
    return repo, unlock, source


def test_a_locked_repository_gives_back_what_it_got_and_shows_none_of_it(
    locked: tuple[str, dict[str, Any], Path],
) -> None:
    repo, unlock, source = locked
    point = lab.backup(repo, source, **unlock)
    again = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none", **unlock)
    assert again["changed"] == 0
    assert lab.content(repo, point, **unlock) == source.read_bytes()
    assert lab.verified(repo=repo, **unlock)["hit"] == []
    lab.done("backup-gc", repo=repo, **unlock)
    tail = source.read_bytes()[-4096:]
    for path in Path(repo).rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert b"only disk" not in raw
            assert tail[:64] not in raw


def test_without_the_right_key_nothing_opens(locked: tuple[str, dict[str, Any], Path], tmp_path: Path) -> None:
    repo, unlock, source = locked
    point = lab.backup(repo, source, **unlock)
    other = tmp_path / "other"
    other.write_bytes(os.urandom(64))
    _, last = lab.perform_job("backup-restore", repo=repo, point=point, target=str(tmp_path / "out"))
    assert isinstance(last, RunFailed)
    assert last.what_helps
    with pytest.raises(Refused, match="does not open"):
        lab.perform_job("backup-restore", repo=repo, point=point, target=str(tmp_path / "out"), key_file=str(other))
    assert not (tmp_path / "out").exists()


def test_a_record_moved_in_place_of_another_is_noticed(locked: tuple[str, dict[str, Any], Path]) -> None:
    repo, unlock, source = locked
    lab.backup(repo, source, **unlock)
    config = Path(repo, "config.json")
    Path(repo, "packs/config.json").unlink()  # it would serve instead
    text = config.read_text()
    config.write_text(text.replace('"cipher": "aes-256-gcm"', '"cipher": "none"').replace("chacha20-poly1305", "none"))
    with pytest.raises(Exception, match="config"):
        Repository.open(repo, Unlock(unlock["key_file"]))


def test_a_passphrase_is_asked_for_and_never_written(tmp_path: Path) -> None:
    words = "correct horse battery staple"
    secrets = {"passphrase": Secret(words)}
    repo = str(tmp_path / "repo")
    _, last = lab.perform_job("backup-init", repo=repo, cipher="aes-256-gcm", secrets=secrets)
    assert isinstance(last, Finished), last
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    params: dict[str, Any] = {"repo": repo, "source": str(source), "vm": "web1", "limit": "none"}
    _, last = lab.perform_job("backup", **params, answer_within=0.1)
    assert isinstance(last, RunStopped), "with nobody to answer the question it ends stopped"
    _, last = lab.perform_job("backup", **params, secrets=secrets)
    assert isinstance(last, Finished), last
    for path in [*Path(repo).rglob("*"), *Path(os.environ["XDG_STATE_HOME"]).rglob("*")]:
        if path.is_file():
            assert words.encode() not in path.read_bytes()
    with pytest.raises(Refused, match="does not open"):
        Repository.open(repo, Unlock(passphrase=Secret("wrong")))
