"""What is covered: the newest point of each disk, read from the repositories themselves and never from a run's word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from engines.backup import names
from engines.backup.repository.repository import Repository as Opened
from engines.fleet.config.model import Repository
from engines.job.errors import CrashcartError


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """newest: by repository, VM and disk, when its newest point was begun (Unix time in s). silent: by repository, why
    it could not be read from here.
    """

    newest: dict[str, dict[tuple[str, str], float]] = {}
    silent: dict[str, str] = {}

    def good(self, repository: str, vm: str, disks: Iterable[str]) -> float | None:
        """When the oldest of the newest points of these disks was begun; None where one has none, or nobody knows."""
        known = self.newest.get(repository, {})
        times = [known.get((vm, disk)) for disk in disks]
        found = [each for each in times if each is not None]
        return min(found) if found and len(found) == len(times) else None


def covered(repositories: Mapping[str, Repository]) -> Covered:
    """Look at the names in all of them."""
    newest: dict[str, dict[tuple[str, str], float]] = {}
    silent: dict[str, str] = {}
    for name, repository in repositories.items():
        try:
            with Opened.glance(repository.url) as glance:
                newest[name] = by_disk(glance.names())
        except (CrashcartError, OSError) as error:
            silent[name] = str(error)
    return Covered(newest=newest, silent=silent)


def by_disk(points: Iterable[names.PointName]) -> dict[tuple[str, str], float]:
    """The newest of each."""
    latest: dict[tuple[str, str], str] = {}
    for point in points:
        disk = (point.vm, point.disk)
        latest[disk] = max(latest.get(disk, ""), point.time)
    return {disk: names.seconds(time) for disk, time in latest.items()}
