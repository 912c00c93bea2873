"""Nothing new is made below /dev, /proc and /sys, nor in a repository, whichever verb would make it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engines import tasks
from engines.backup import new_place
from engines.job.contract import Cancel
from engines.job.errors import Refused
from engines.job.params import convert
from tests.engines.backup import lab

Words = dict[str, Any]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Words:
    """A repository with one point."""
    folder = tmp_path_factory.mktemp("place")
    repo = lab.init(folder / "repo")
    return {"repo": repo, "point": lab.backup(repo, lab.disk(folder / "disk", {0: 1}, lab.MIB))}


MAKERS = [
    ("backup-restore", "target"),
    ("backup-init", "repo"),
    ("backup-get", "dest"),
    ("backup-mount", "folder"),
    ("backup-export", "file"),
    ("backup-serve", "nbd"),
]


def refused(where: str, task: str, key: str, staged: Words, match: str) -> Refused:
    """What the plan of that verb says, were it to make something there."""
    params = {**staged, key: where}
    if task == "backup-init":
        del params["point"]
    if task == "backup-get":
        params["paths"] = [f"{params.pop('point')}:/"]
    engine = tasks.engine(task)
    with pytest.raises(Refused, match=match) as found:
        engine.plan(convert(engine.params, params), Cancel())
    assert where in found.value.why
    assert found.value.what_helps
    assert not Path(where).exists()
    return found.value


@pytest.mark.parametrize("where", ["/dev/new", "/dev/mapper/new", "/proc/new", "/sys/new"])
@pytest.mark.parametrize(("task", "key"), MAKERS)
def test_no_verb_makes_anything_among_devices(where: str, task: str, key: str, staged: Words) -> None:
    refused(where, task, key, staged, "memory of this machine")


@contextmanager
def mounted(what: str, at: Path, *options: str) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", *options, what, str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.mark.parametrize(("task", "key"), MAKERS)
def test_no_verb_makes_anything_in_a_repository(task: str, key: str, staged: Words, tmp_path: Path) -> None:
    refused(f"{staged['repo']}/new", task, key, staged, "repository itself")
    refused(f"{staged['repo']}/packs/new", task, key, staged, "repository itself")
    with mounted(staged["repo"], tmp_path / "at", "--bind") as at:
        refused(f"{at}/points/new", task, key, staged, "repository itself")


def test_a_mount_is_no_way_round(staged: Words, tmp_path: Path) -> None:
    with mounted(f"{staged['repo']}/packs", tmp_path / "packs", "--bind") as at:
        refused(f"{at}/new", "backup-restore", "target", staged, "repository itself")
    with mounted("none", tmp_path / "dev", "-t", "devtmpfs") as at:
        for task, key in MAKERS:
            refused(f"{at}/new-crashcart-volume", task, key, staged, "memory of this machine")


def test_a_link_to_devices_is_no_way_round(tmp_path: Path) -> None:
    (tmp_path / "vg").symlink_to("/dev/mapper")
    engine = tasks.engine("backup-init")
    with pytest.raises(Refused, match="memory of this machine"):
        engine.plan(convert(engine.params, {"repo": str(tmp_path / "vg" / "new")}), Cancel())


def test_the_repository_itself_is_no_destination_whatever_it_is_called(staged: Words, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(staged["repo"])
    (tmp_path / "inner").symlink_to(f"{staged['repo']}/points")
    engine = tasks.engine("backup-get")
    before = sorted(Path(staged["repo"]).rglob("*"))
    for dest in (staged["repo"], f"{staged['repo']}/points", str(tmp_path / "link"), str(tmp_path / "inner")):
        given = {"repo": staged["repo"], "paths": [f"{staged['point']}:/"], "dest": dest}
        with pytest.raises(Refused, match="the repository itself"):
            engine.plan(convert(engine.params, given), Cancel())
    assert sorted(Path(staged["repo"]).rglob("*")) == before


@pytest.mark.parametrize("content", [None, b"[" * 60_000, b'{"id":' * 10_000, b"[]", b"\xff", b"5" * 65_536])
def test_what_anybody_put_beside_it_neither_holds_up_nor_refuses_a_new_place(
    content: bytes | None, tmp_path: Path
) -> None:
    (tmp_path / "packs").mkdir()
    for name in ("config.json", "packs/config.json"):
        if content is None:
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).write_bytes(content)
    new_place.refuse_place(str(tmp_path / "new"), "a file")
    told = b'{"format": 1, "id": "", "block": 1, "pack": 1}'
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_bytes(told)
    with pytest.raises(Refused, match="lies in the repository itself"):  # whatever lies where its copy would
        new_place.refuse_place(str(tmp_path / "new"), "a file")
