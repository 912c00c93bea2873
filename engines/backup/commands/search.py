"""backup search: a name over all points of a guest, or of every guest: where it lies, since when and until when."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Annotated

import msgspec

from engines.backup import names
from engines.backup.commands.looks import matches
from engines.backup.errors import Damaged, Missing
from engines.backup.files.model import BrowseError, Node, shown
from engines.backup.files.opening import WhichDriver
from engines.backup.files.reach import opened, path_of
from engines.backup.names import PointName
from engines.backup.repository.repository import RepoParams, Repository
from engines.job.contract import Note
from engines.job.errors import Refused
from engines.job.params import param


class SearchParams(RepoParams, frozen=True, kw_only=True):
    """What to look for, and in which points."""

    pattern: Annotated[
        str, param("Pattern", "* ? and [abc] in a name; with a / in it, the whole path", positional=True)
    ]
    only: Annotated[str, param("Only", "a VM, VM/DISK or VM/DISK@2026, by whole names; empty for all guests")] = ""
    under: Annotated[str, param("Under", "the folder to look in")] = "/"
    driver: WhichDriver = "auto"


class FoundVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One state of a file, in all points from `first` to `last`; `size` in bytes, mtime in ns since 1970."""

    first: str
    last: str
    points: int
    size: int
    mtime: int


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One path of a disk. here: whether the newest point that was searched has it."""

    disk: str
    path: str
    here: bool
    versions: list[FoundVersion]


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found, by disk and path; how many points were searched, and why others could not be."""

    pattern: str
    points: int
    found: list[Match]
    notes: list[str]


def answer(params: SearchParams) -> Searched:
    """All of it as data. Raises Refused where there is no such point."""
    notes: list[str] = []
    found: list[Match] = []
    points = 0
    with Repository.of(params) as repository:
        for own in _disks(repository, params.only):
            points += len(own)
            found += _searched(repository, own, params, notes)
    return Searched(pattern=params.pattern, points=points, found=found, notes=notes)


def lines(params: SearchParams) -> Iterator[str | bytes | Note]:
    """A path a line as each disk is done, its versions below it where there are several."""
    with Repository.of(params) as repository:
        for own in _disks(repository, params.only):
            notes: list[str] = []
            for match in _searched(repository, own, params, notes):
                yield from _told(match)
            yield from map(Note, notes)


def _told(match: Match) -> Iterator[str]:
    points = sum(version.points for version in match.versions)
    last = match.versions[-1].last
    until = "still there" if match.here else f"gone after {names.parse(last).time}"
    first = names.parse(match.versions[0].first).time
    yield f"{match.disk}:{match.path}  in {points} points since {first}, {until}; newest {last}"
    for version in match.versions if len(match.versions) > 1 else ():
        yield f"    {version.first} to {names.parse(version.last).time}  {version.size:>13}"


def _disks(repository: Repository, only: str) -> list[list[PointName]]:
    """The points of each disk that are searched, oldest first."""
    every = sorted(name for name in repository.names() if names.selected(name, only) and name.disk != names.GUEST)
    if not every and only:
        raise names.absent(
            (name for name in repository.names() if name.disk != names.GUEST), only, repository.store.where
        )
    if not every:
        raise Refused("there is no point of any guest", "see all: crashcart backup list")
    return [list(own) for _, own in groupby(every, key=lambda name: (name.vm, name.disk))]


Seen = dict[bytes, tuple[int, int, int]]  # by path: inode, size and mtime, which tell one version from the next


def _searched(repository: Repository, own: list[PointName], params: SearchParams, notes: list[str]) -> list[Match]:
    """What one disk has. A point whose disk equals the one before is not opened again."""
    versions: dict[bytes, list[tuple[tuple[int, int, int], FoundVersion]]] = {}
    seen: Seen = {}
    root = b""
    for name in own:
        try:
            now = repository.point(name).root(repository.keys)
            seen = seen if now == root else _of(repository, name, params, notes)
            root = now
        except (BrowseError, Damaged, Missing, Refused) as error:
            notes.append(f"{name}: {error.why}")
            continue
        for path, state in seen.items():
            _add(versions.setdefault(path, []), state, str(name))
    disk = f"{own[0].vm}/{own[0].disk}"
    return [
        Match(disk=disk, path=shown(path), here=path in seen, versions=[version for _, version in states])
        for path, states in sorted(versions.items())
    ]


def _of(repository: Repository, name: PointName, params: SearchParams, notes: list[str]) -> Seen:
    trouble: list[str] = []
    with opened(repository, name, params.driver, does="search", purpose="look", keep_warm=False) as tree:
        found = matches(tree, path_of(params.under), params.pattern, trouble)
        seen = {path: _state(node) for path, node in found}
    notes += [f"{name}: {text}" for text in trouble]
    return seen


def _state(node: Node) -> tuple[int, int, int]:
    return node.inode, node.size, node.mtime


def _add(states: list[tuple[tuple[int, int, int], FoundVersion]], state: tuple[int, int, int], point: str) -> None:
    if states and states[-1][0] == state:
        version = states[-1][1]
        states[-1] = (state, msgspec.structs.replace(version, last=point, points=version.points + 1))
        return
    states.append((state, FoundVersion(first=point, last=point, points=1, size=state[1], mtime=state[2])))
