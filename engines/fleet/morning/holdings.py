"""What every repository holds, asked where its keys lie: of disks their newest points, and whether they are whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec

from engines.backup.upkeep.newest import Newest
from engines.fleet.agent.holding import Holding
from engines.fleet.config.model import Fleet
from engines.fleet.planning.points import holds
from engines.job.errors import CrashcartError

AT_ONCE = 8  # repositories


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """By repository. silent: why one could not be read."""

    held: dict[str, Holding] = {}
    silent: dict[str, str] = {}

    def find(self, repository: str, vm: str, uuid: str) -> tuple[Newest, ...]:
        """The disks of a guest in one of them, each once: by the tags of its points, whatever they are called; by the
        name where they have no tag. What is called so and tagged as another's is another's.
        """
        by: dict[str, list[Newest]] = {}
        for disk in self.held.get(repository, Holding()).disks:
            if disk.guest == uuid if disk.guest else disk.vm == vm:
                by.setdefault(disk.disk, []).append(disk)
        return tuple(map(_together, by.values()))

    def foreign(self, repository: str, vm: str, uuid: str) -> bool:
        """Whether points that are called so are another guest's."""
        disks = self.held.get(repository, Holding()).disks
        return any(disk.vm == vm and disk.guest not in ("", uuid) for disk in disks)


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
    try:
        return holds(fleet, name)
    except (CrashcartError, OSError) as error:
        return str(error)


def _together(same: list[Newest]) -> Newest:
    """One disk that goes by several names, or was backed up with and without a tag."""
    last = max(same, key=lambda disk: disk.taken)
    return msgspec.structs.replace(
        last,
        good=max((disk.good for disk in same if disk.good is not None), default=None),
        points=sum(disk.points for disk in same),
        stored=sum(disk.stored for disk in same),
    )
