"""Repositories, what is put into them and what is taken out."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from engines import tasks
from engines.backup.repository.byte_source import unpinned
from engines.backup.repository.repository import Repository
from engines.job.jobfile import Job
from engines.rehearsal import disk
from tests.contract.target import Case, Target, contents, named, running
from tests.engines.backup import lab as backup_lab

NO_REPO = {"repo": "/nowhere"}
POINTS: tuple[dict[str, Any], ...] = (NO_REPO, {"point": "web9/disk0@latest"}, {"point": "x"})


def repository(folder: Path) -> dict[str, Any]:
    """A backup repository that is to be made."""
    (folder / "beside").write_text("not ours")
    return {"repo": str(folder / "repo")}


def restored(folder: Path) -> dict[str, Any]:
    """A disk of three points, restored to a new file."""
    params = disk.make(folder)
    return {"repo": params["repo"], "point": f"{disk.VM}/{disk.DISK}@latest", "target": str(folder / "new")}


def pruned(folder: Path) -> dict[str, Any]:
    """Two of three points taken out."""
    return {"repo": disk.make(folder)["repo"], "keep_last": 1}


@cache
def point_made() -> tuple[Path, str]:
    """A repository with one point of a small ext4 disk, and the point's name."""
    folder = Path(tempfile.mkdtemp(prefix="crashcart-contract-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "tree/etc").mkdir(parents=True)
    for name in ("etc/hosts", "etc/motd", "readme"):
        (folder / "tree" / name).write_text(name * 1000)
    image = folder / "image"
    words = ["mkfs.ext4", "-q", "-d", str(folder / "tree"), str(image), "4M"]
    subprocess.run(words, check=True, capture_output=True)
    repo = backup_lab.init(folder / "repo")
    return Path(repo), backup_lab.backup(repo, image)


def taken(folder: Path) -> dict[str, Any]:
    """A few files out of a point, beside one that is there."""
    repo, point = point_made()
    shutil.copytree(repo, folder / "repo")
    (folder / "out").mkdir()
    (folder / "out/mine").write_text("not the guest's")
    return {"repo": str(folder / "repo"), "paths": [f"{point}:/etc", "/readme"], "dest": str(folder / "out")}


def archived(folder: Path) -> dict[str, Any]:
    """The same as an archive."""
    return {**taken(folder), "dest": str(folder / "out.tar"), "tar": True}


def of_repository(task: str, folder: Path, params: dict[str, Any]) -> Target:
    """What counts of a repository is what its points hold; its files are made anew, merged and swept at any time."""

    def state() -> dict[str, str]:
        with Repository.open(params["repo"]) as repository:
            found = {}
            for name in repository.names():
                with unpinned(repository, name) as content:
                    found[str(name)] = hashlib.sha256(content.read(0, content.size)).hexdigest()
        others = contents(folder)
        return found | {name: others[name] for name in others if not name.startswith("repository")}

    return Target(tasks.engine(task), Job(task=task, params=params), state)


@contextmanager
def backed_up(folder: Path) -> Iterator[Target]:
    """A fourth point of a disk."""
    yield of_repository("backup", folder, disk.make(folder))


@contextmanager
def upkept(folder: Path) -> Iterator[Target]:
    """A repository with points, and one that was pruned."""
    repo = disk.make(folder)["repo"]
    backup_lab.done("backup-prune", repo=repo, keep_last=2)
    yield of_repository("backup-gc", folder, {"repo": repo})


@contextmanager
def verified(folder: Path) -> Iterator[Target]:
    yield of_repository("backup-verify", folder, {"repo": disk.make(folder)["repo"]})


def of_a_point(folder: Path) -> dict[str, Any]:
    repo, point = point_made()
    shutil.copytree(repo, folder / "repo")
    return {"repo": str(folder / "repo"), "point": point}


def mounted(folder: Path) -> dict[str, Any]:
    (folder / "shown").mkdir()
    return {**of_a_point(folder), "folder": str(folder / "shown")}


def served(folder: Path) -> dict[str, Any]:
    return {**of_a_point(folder), "nbd": str(folder / "disk.sock")}


CASES = (
    Case("backup init", named("backup-init"), repository, ({"repo": "/nowhere/x"}, {"repo": "/etc"})),
    Case(
        "backup",
        named("backup"),
        backed_up,
        (NO_REPO, {"source": "/nowhere"}, {"vm": "a b"}, {"limit": "fast"}),
        adds=True,
        moments=8,
    ),
    Case("backup restore", named("backup-restore"), restored, (*POINTS, {"target": "/nowhere/x"})),
    Case(
        "backup get",
        named("backup-get"),
        taken,
        (NO_REPO, {"paths": ["web9/disk0@latest:/"]}, {"paths": ["x"]}, {"dest": "/nowhere/x"}),
    ),
    Case(
        "backup get --tar",
        named("backup-get"),
        archived,
        (NO_REPO, {"paths": ["/etc"]}, {"dest": "/etc"}, {"dest": "/nowhere/x"}),
    ),
    Case("backup prune", named("backup-prune"), pruned, ({"keep_last": 0}, NO_REPO)),
    Case("backup verify", named("backup-verify"), verified, (NO_REPO,), adds=True, moments=6),
    Case("backup gc", named("backup-gc"), upkept, (NO_REPO,), moments=6),
    Case("backup mount", named("backup-mount"), mounted, (*POINTS, {"folder": "/nowhere"}), until=running, moments=4),
    Case("backup serve", named("backup-serve"), served, (*POINTS, {"nbd": "/nowhere/x"}), until=running, moments=4),
)
