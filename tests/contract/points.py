"""What is done with points and repositories as a whole: copies, files of one point, names, keys."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines import tasks
from engines.backup.repository import config
from engines.backup.repository import protected as protected_points
from engines.backup.repository.config import Config
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import Repository
from engines.job.errors import Refused
from engines.job.jobfile import Job
from tests.contract.backup import NO_REPO, POINTS, of_repository, point_made
from tests.contract.target import Case, Target, named
from tests.engines.backup import lab as backup_lab


def two_repositories(folder: Path) -> tuple[str, str, str]:
    """One with a point, an empty one beside it, and the point."""
    repo, point = point_made()
    shutil.copytree(repo, folder / "repository")
    return str(folder / "repository"), backup_lab.init(folder / "repository2"), point


@contextmanager
def copied_to_another(folder: Path) -> Iterator[Target]:
    """A point in a second repository, which is what counts."""
    repo, other, _ = two_repositories(folder)
    of = of_repository("backup-copy", folder, {"repo": other})
    yield Target(of.engine, Job(task="backup-copy", params={"repo": repo, "to": other}), of.state)


@contextmanager
def exported(folder: Path) -> Iterator[Target]:
    repo, _, point = two_repositories(folder)
    yield of_repository("backup-export", folder, {"repo": repo, "point": point, "file": str(folder / "web1.tar")})


@contextmanager
def imported(folder: Path) -> Iterator[Target]:
    repo, other, point = two_repositories(folder)
    backup_lab.done("backup-export", repo=repo, point=point, file=str(folder / "web1.tar"))
    yield of_repository("backup-import", folder, {"repo": other, "file": str(folder / "web1.tar")})


@contextmanager
def protected(folder: Path) -> Iterator[Target]:
    repo, _, point = two_repositories(folder)
    of = of_repository("backup-protect", folder, {"repo": repo, "point": point})

    def state() -> dict[str, str]:
        found: dict[str, str] = of.state()
        with Repository.glance(repo) as glance:
            return found | {str(name): "protected" for name in protected_points.every(glance)}

    yield Target(of.engine, of.job, state)


@contextmanager
def renamed(folder: Path) -> Iterator[Target]:
    repo, _, _ = two_repositories(folder)
    yield of_repository("backup-rename", folder, {"repo": repo, "vm": "web1", "to": "shop"})


@contextmanager
def keyed(folder: Path) -> Iterator[Target]:
    """A locked repository, what opens it, and another key; its state is which keys open it."""
    repo, first, second = locked_repository(folder)
    yield of_keys("backup-key-add", repo, {"key_file": first, "name": "other", "new_key_file": second}, folder)


@contextmanager
def key_rotated(folder: Path) -> Iterator[Target]:
    """The only key gives way to another."""
    repo, first, second = locked_repository(folder)
    yield of_keys("backup-key-rotate", repo, {"key_file": first, "name": "first", "new_key_file": second}, folder)


@contextmanager
def key_removed(folder: Path) -> Iterator[Target]:
    """One of two keys is taken out with the other."""
    repo, first, second = locked_repository(folder)
    backup_lab.done("backup-key-add", repo=repo, key_file=first, name="other", new_key_file=second)
    yield of_keys("backup-key-remove", repo, {"key_file": second, "name": "first"}, folder)


def locked_repository(folder: Path) -> tuple[str, str, str]:
    """One that the first of two key files opens, and both."""
    keys = [folder / name for name in ("first", "second")]
    for key in keys:
        key.write_bytes(os.urandom(32))
    repo = backup_lab.init(folder / "repo", cipher="aes-256-gcm", key_file=str(keys[0]))
    return repo, str(keys[0]), str(keys[1])


def of_keys(task: str, repo: str, params: dict[str, str], folder: Path) -> Target:
    """What counts is the ways that are named, and which key files are one."""

    def state() -> dict[str, str]:
        with Repository.glance(repo) as glance:
            found = {way.name: way.kind for way in config.ways(glance.config)}
            return found | {f"{name}.key": opens(glance.config, folder / name) for name in ("first", "second")}

    return Target(tasks.engine(task), Job(task=task, params={"repo": repo, **params}), state)


def opens(known: Config, key: Path) -> str:
    try:
        config.secret(known, Unlock(str(key)))
    except Refused:
        return "opens nothing"
    return "opens it"


CASES = (
    Case("backup copy", named("backup-copy"), copied_to_another, (NO_REPO, {"to": "/nowhere"}), adds=True, moments=3),
    Case("backup export", named("backup-export"), exported, (*POINTS, {"file": "/nowhere/x.tar"}), moments=4),
    Case("backup import", named("backup-import"), imported, (NO_REPO, {"file": "/nowhere"}), adds=True, moments=3),
    Case("backup protect", named("backup-protect"), protected, POINTS, moments=2),
    Case("backup rename", named("backup-rename"), renamed, (NO_REPO, {"vm": "web9"}, {"to": "a b"}), moments=3),
    Case("backup key add", named("backup-key-add"), keyed, (NO_REPO, {"name": "first"})),
    Case("backup key rotate", named("backup-key-rotate"), key_rotated, (NO_REPO, {"name": "nobody"}), moments=4),
    Case("backup key remove", named("backup-key-remove"), key_removed, (NO_REPO, {"name": "nobody"}), moments=4),
)
