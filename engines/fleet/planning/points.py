"""What is covered: the newest point of each disk, read from the repositories themselves and never from a run's word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from engines.backup import names
from engines.backup.names import PointName
from engines.backup.repository.point import Head
from engines.backup.repository.repository import Repository as Opened
from engines.fleet.agent import wire
from engines.fleet.agent.holding import Holding, look, opened
from engines.fleet.config.model import Fleet, Repository
from engines.fleet.planning.jobs import opening
from engines.fleet.reach import ssh
from engines.job.errors import CrashcartError, Failed

Disk = tuple[str, str]  # VM and disk, as they are called in a repository


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """newest: by repository, VM and disk, when its newest point was begun (Unix time in s). owners: likewise, whose
    it is by its tag (UUID), as far as is known. own: by repository, UUID and disk, the newest point of all that are
    tagged so, whatever they are called. silent: by repository, why it could not be read from here.
    """

    newest: dict[str, dict[Disk, float]] = {}
    owners: dict[str, dict[Disk, str]] = {}
    own: dict[str, dict[Disk, float]] = {}
    silent: dict[str, str] = {}

    def good(self, repository: str, vm: str, disks: Iterable[str], uuid: str = "") -> float | None:
        """When the oldest of the newest points of these disks was begun; None where one has none, or nobody knows.

        uuid: whose they are. What is called as its VM and is tagged as another's is not its own.
        """
        times = [self._one(repository, vm, disk, uuid) for disk in disks]
        found = [each for each in times if each is not None]
        return min(found) if found and len(found) == len(times) else None

    def _one(self, repository: str, vm: str, disk: str, uuid: str) -> float | None:
        owner = self.owners.get(repository, {}).get((vm, disk), "")
        called = self.newest.get(repository, {}).get((vm, disk)) if owner in ("", uuid) else None
        own = self.own.get(repository, {}).get((uuid, disk))
        return max((each for each in (called, own) if each is not None), default=None)


def covered(repositories: Mapping[str, Repository], known: Mapping[tuple[str, str], str] | None = None) -> Covered:
    """Look at the names in all of them. known: by repository and point, whose it is (UUID): no need to read its tag."""
    newest: dict[str, dict[Disk, float]] = {}
    owners: dict[str, dict[Disk, str]] = {}
    own: dict[str, dict[Disk, float]] = {}
    silent: dict[str, str] = {}
    for name, repository in repositories.items():
        try:
            with Opened.glance(repository.url) as glance:
                last = _last(glance.names())
        except (CrashcartError, OSError) as error:
            silent[name] = str(error)
            continue
        whose = {point: uuid for point in last if (uuid := (known or {}).get((name, str(point))))}
        whose |= _tagged(repository, [point for point in last if point not in whose])
        newest[name] = {(point.vm, point.disk): names.seconds(point.time) for point in last}
        owners[name] = {(point.vm, point.disk): uuid for point, uuid in whose.items()}
        own[name] = {(uuid, point.disk): names.seconds(point.time) for point, uuid in sorted(whose.items(), key=_when)}
    return Covered(newest=newest, owners=owners, own=own, silent=silent)


def called(fleet: Fleet, found: Covered) -> dict[str, str]:
    """By UUID of a tag: as which VM its newest point goes, in any repository that can be read."""
    known: dict[str, tuple[float, str]] = {}
    for name in fleet.repositories:
        for uuid, at, vm in _whose(fleet, name, found):
            known[uuid] = max(known.get(uuid, (0.0, "")), (at, vm))
    return {uuid: vm for uuid, (_, vm) in known.items()}


def _whose(fleet: Fleet, name: str, found: Covered) -> Iterator[tuple[str, float, str]]:
    if not fleet.repositories[name].host:
        for (vm, disk), uuid in found.owners.get(name, {}).items():
            yield uuid, found.newest[name][vm, disk], vm
        return
    try:
        holding = holds(fleet, name)
    except (CrashcartError, OSError):
        return  # a guest is called by its own name then
    for row in holding.disks:
        if row.guest:
            yield row.guest, row.taken, row.vm


def holds(fleet: Fleet, name: str) -> Holding:
    """What a repository holds, asked where its keys lie. Raises CrashcartError, OSError."""
    repository = fleet.repositories[name]
    if not (host := repository.host):
        return look(opening(repository))
    answer = ssh.one(host, fleet.hosts[host], wire.Holds(repository=opening(repository)))
    if not isinstance(answer, wire.Held):
        raise Failed(f"host {host} answers something else", "install the same crashcart on controller and hosts")
    return answer.holding


def _tagged(repository: Repository, points: list[PointName]) -> dict[PointName, str]:
    """Whose they are, where they say so and the key to them lies here."""
    if not points or repository.host:
        return {}
    try:
        with opened(opening(repository)) as there:
            heads = there.heads(points)
    except (CrashcartError, OSError):
        return {}
    whose = {name: names.guest_of(head.tags) for name, head in heads.items() if isinstance(head, Head)}
    return {name: uuid for name, uuid in whose.items() if uuid}


def _last(points: Iterable[PointName]) -> list[PointName]:
    """The newest of each disk; they come oldest first."""
    return [*{(point.vm, point.disk): point for point in points}.values()]


def _when(one: tuple[PointName, str]) -> str:
    return one[0].time
