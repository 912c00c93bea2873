"""What a repository holds, looked at where its keys lie."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.upkeep.newest import Newest, newest
from engines.job.jobfile import open_secrets
from engines.job.params import convert


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One repository. bytes: in its packs; free: bytes left where it lies, None where nobody can know."""

    disks: tuple[Newest, ...] = ()
    bytes: int = 0
    free: int | None = None


def look(given: Mapping[str, str]) -> Holding:
    """The holding of the repository that `given` names and unlocks. Raises CrashcartError."""
    params = convert(RepoParams, open_secrets(RepoParams, dict(given)))
    with Repository.of(params) as opened:
        disks = tuple(newest(opened))
        return Holding(disks=disks, bytes=sum(opened.index.sizes.values()), free=_free(params.repo))


def _free(place: str) -> int | None:
    if "://" in place:
        return None
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize
