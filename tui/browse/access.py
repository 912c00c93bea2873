"""What opens a repository, and the repositories that were used on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engines.backup.commands.listing import PointRow, listed
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import RepoParams, Repository
from engines.job import runs
from engines.job.errors import CrashcartError
from engines.job.params import Secret

USED = 200  # runs looked at for repositories, the newest


@dataclass(frozen=True)
class Access:
    """A repository's place and its key."""

    repo: str
    key_file: str = ""
    passphrase: Secret | None = None

    def lacks(self) -> str:
        """`passphrase` or `key file` where that is needed and not here, else nothing. Raises Refused, Damaged."""
        with Repository.glance(self.repo) as glance:
            config = glance.config
        if config.cipher == "none" or self.key_file or self.passphrase:
            return ""
        return "passphrase" if config.kdf == "scrypt" else "key file"

    def unlocked(self) -> Repository:
        """Raises Refused, Damaged."""
        return Repository.open(self.repo, Unlock(self.key_file, self.passphrase))

    def task(self) -> RepoParams:
        """As an engine's look takes it."""
        return RepoParams(repo=self.repo, key_file=self.key_file, passphrase=self.passphrase)

    def points(self) -> list[PointRow]:
        """Its restore points. Raises Refused, Damaged."""
        with self.unlocked() as repository:
            return listed(repository).points

    def params(self) -> dict[str, object]:
        """As a task takes it, the passphrase left out."""
        return {"repo": self.repo, "key_file": self.key_file}

    def secrets(self) -> dict[str, str]:
        """The passphrase, for the form of a task."""
        return {"passphrase": self.passphrase.reveal()} if self.passphrase else {}


def known() -> list[str]:
    """$CRASHCART_REPO, then those of the runs on this machine that are still there, the last used first."""
    found = dict.fromkeys(filter(None, [os.environ.get("CRASHCART_REPO", "")]))
    for run in runs.every()[:USED]:
        try:
            job = run.job()
        except (CrashcartError, OSError, ValueError):
            continue
        place = job.params.get("repo")
        if job.task.startswith("backup") and isinstance(place, str) and _there(place):
            found[place] = None
    return list(found)


def _there(place: str) -> bool:
    return "://" in place or (place != "" and Path(place).is_dir())
