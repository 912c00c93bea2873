"""What a repository holds, looked at where its keys lie."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.store.store import TEMPORARY
from engines.backup.upkeep.newest import Newest, newest
from engines.job.errors import Failed
from engines.job.jobfile import open_secrets
from engines.job.params import convert


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One repository. bytes: in its packs; free: bytes left where it lies, None where nobody can know."""

    disks: tuple[Newest, ...] = ()
    bytes: int = 0
    free: int | None = None


def look(given: Mapping[str, str]) -> Holding:
    """The holding of the repository that `given` names and unlocks. Raises CrashcartError."""
    with opened(given) as repository:
        disks = tuple(newest(repository))
        return Holding(disks=disks, bytes=sum(repository.index.sizes.values()), free=_free(given["repo"]))


def try_out(given: Mapping[str, str]) -> tuple[int, int | None]:
    """Unlock it, and write and remove a small file: how many points it has, and bytes free. Raises CrashcartError."""
    with opened(given) as repository:
        probe = f"sessions/{TEMPORARY}check-{os.urandom(8).hex()}"
        try:
            repository.store.put(probe, b"written by: crashcart fleet check")
            repository.store.delete(probe)
        except OSError as error:
            why = f"{given['repo']} cannot be written to: {error.strerror or error}"
            raise Failed(why, "make room there, or give this host's account the right to write") from None
        return len(repository.names()), _free(given["repo"])


def opened(given: Mapping[str, str]) -> Repository:
    """It, unlocked. Raises CrashcartError."""
    return Repository.of(convert(RepoParams, open_secrets(RepoParams, dict(given))))


def _free(place: str) -> int | None:
    if "://" in place:
        return None
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize
