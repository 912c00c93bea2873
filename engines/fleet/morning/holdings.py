"""What every repository holds, asked where its keys lie: of disks their newest points, and whether they are whole."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec

from engines.backup.upkeep.newest import Newest
from engines.fleet.agent import wire
from engines.fleet.agent.holding import Holding, look
from engines.fleet.config.model import Fleet, Host, Repository
from engines.fleet.planning.jobs import opening
from engines.fleet.reach import ssh
from engines.job.errors import CrashcartError, Failed

AT_ONCE = 8  # repositories


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """By repository. silent: why one could not be read."""

    held: dict[str, Holding] = {}
    silent: dict[str, str] = {}

    def find(self, repository: str, vm: str) -> tuple[Newest, ...]:
        """The disks of a VM in one of them."""
        holding = self.held.get(repository)
        return tuple(disk for disk in holding.disks if disk.vm == vm) if holding else ()


def take(fleet: Fleet) -> Holdings:
    """Look into all of them at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        names = fleet.repositories
        answers = dict(zip(names, pool.map(lambda name: _asked(fleet, name), names), strict=True))
    return Holdings(
        held={name: answer for name, answer in answers.items() if isinstance(answer, Holding)},
        silent={name: answer for name, answer in answers.items() if isinstance(answer, str)},
    )


def _asked(fleet: Fleet, name: str) -> Holding | str:
    repository = fleet.repositories[name]
    try:
        if repository.host:
            return _there(repository, repository.host, fleet.hosts)
        return look(opening(repository))
    except (CrashcartError, OSError) as error:
        return str(error)


def _there(repository: Repository, host: str, hosts: Mapping[str, Host]) -> Holding:
    answer = ssh.one(host, hosts[host], wire.Holds(repository=opening(repository)))
    if not isinstance(answer, wire.Held):
        raise Failed(f"host {host} answers something else", "install the same crashcart on controller and hosts")
    return answer.holding
