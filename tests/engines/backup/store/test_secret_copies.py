"""A repository's secret has a second copy, which serves and is never taken for another's."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from engines.backup.commands.listing import listed
from engines.backup.errors import Damaged
from engines.backup.repository import config
from engines.backup.repository.repository import Repository
from engines.job.contract import RunFailed
from engines.job.errors import Refused
from tests.engines.backup import lab


def test_the_second_copy_of_the_secret_serves_where_the_first_is_lost_and_is_put_back(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1}, 2 * lab.MIB)
    point = lab.backup(repo, source)
    first = Path(repo, config.NAME)
    wanted = first.read_bytes()
    for spoilt in (None, b"", b"{}", wanted[:-9]):
        first.unlink()
        if spoilt is not None:
            first.write_bytes(spoilt)
        assert lab.content(repo, point) == source.read_bytes()
        warned = lab.warned("backup", repo=repo, source=str(source), vm="web1", limit="none")
        assert any(config.NAME in text and "put back" in text for text in warned)
        assert first.read_bytes() == wanted
    Path(repo, config.COPY).unlink()
    lab.backup(repo, source)
    assert Path(repo, config.COPY).read_bytes() == wanted
    first.unlink()
    Path(repo, config.COPY).unlink()
    with pytest.raises(Damaged, match="the secret without which nothing in these packs can be read"):
        Repository.open(repo)


def test_a_config_of_another_repository_never_takes_the_secrets_place(tmp_path: Path) -> None:
    repo, other = lab.init(tmp_path / "repo"), lab.init(tmp_path / "other")
    source = lab.disk(tmp_path / "disk", {0: 1}, 2 * lab.MIB)
    point = lab.backup(repo, source)
    first, copy = Path(repo, config.NAME), Path(repo, config.COPY)
    wanted, foreign = first.read_bytes(), Path(other, config.NAME).read_bytes()
    for spoilt in (first, copy):
        spoilt.write_bytes(foreign)
        assert lab.content(repo, point) == source.read_bytes()
        warned = lab.warned("backup", repo=repo, source=str(source), vm="web1", limit="none")
        assert any("is of another repository: it was put back" in text for text in warned)
        assert first.read_bytes() == copy.read_bytes() == wanted
    for there in ({first: foreign, copy: foreign}, {first: foreign, copy: None}):
        for path, content in there.items():
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        refused: list[tuple[str, dict[str, str]]] = [
            ("backup-verify", {}),
            ("backup-gc", {}),
            ("backup-restore", {"point": point, "target": str(tmp_path / "x")}),
            ("backup", {"source": str(source), "vm": "web1"}),
        ]
        for verb, params in refused:
            try:
                _, last = lab.perform_job(verb, repo=repo, **params)
            except Refused as why:  # already by the plan
                last = RunFailed(why=why.why)
            assert isinstance(last, RunFailed) and "none of the packs" in last.why, (verb, last)
        with Repository.open(repo) as opened, pytest.raises(Refused, match="none of the packs") as told:
            listed(opened)
        assert "put back" in told.value.what_helps
    first.write_bytes(wanted)
    copy.write_bytes(wanted)
    assert not list(Path(repo, "quarantine").iterdir())
    assert lab.verified(repo=repo)["whole"] == 3


def test_nothing_is_put_over_what_is_left_of_the_secret_in_another_repositorys_name(tmp_path: Path) -> None:
    keys = [tmp_path / f"{number}.key" for number in range(2)]
    for key in keys:
        key.write_bytes(os.urandom(32))
    locked = {"cipher": "aes-256-gcm", "key_file": str(keys[0])}
    repo, other = lab.init(tmp_path / "repo", **locked), lab.init(tmp_path / "other", **locked)
    source = lab.disk(tmp_path / "disk", {0: 1}, 2 * lab.MIB)
    key_file = str(keys[0])
    for place in (repo, other):
        lab.backup(place, source, key_file=key_file)
    first, copy = Path(repo, config.NAME), Path(repo, config.COPY)
    right = first.read_bytes()
    flipped = bytearray(right)
    flipped[len(flipped) // 2] ^= 1
    asked: tuple[tuple[str, dict[str, str]], ...] = (
        ("backup", {"source": str(source), "vm": "web1"}),
        ("backup-verify", {}),
        ("backup-key-add", {"name": "second", "new_key_file": str(keys[1])}),
    )
    foreign = next(Path(other, "packs").glob("*.pack"))
    for among in (False, True):
        if among:  # one pack of the other repository lies among the right ones
            Path(repo, "packs", foreign.name).write_bytes(foreign.read_bytes())
        for verb, params in asked:
            first.write_bytes(Path(other, config.NAME).read_bytes())
            copy.write_bytes(flipped)
            with suppress(Refused):  # already by the plan
                lab.perform_job(verb, repo=repo, key_file=key_file, **params)
            assert copy.read_bytes() == flipped, (verb, among)
        if not among:
            first.write_bytes(right)
            lab.backup(repo, source, key_file=key_file)
            assert copy.read_bytes() == right
