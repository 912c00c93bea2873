"""From the words of a command to an opened tree: which point, which paths, and its file systems at hand."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from engines.backup import config
from engines.backup.browse.model import parsed
from engines.backup.browse.opening import BrowseTree, Driver, open_tree
from engines.backup.browse.tree import Tree
from engines.backup.browse.where import parse
from engines.backup.byte_source import PointBytes, open_point
from engines.backup.names import PointName
from engines.backup.repository import Glance, RepoParams, Repository, where
from engines.backup.store import open_store
from engines.job.contract import Cancel
from engines.job.errors import BadParam, Refused


def chosen(glance: Glance, texts: Sequence[str]) -> tuple[PointName, list[bytes]]:
    """The point and the paths of `VM/DISK@TIME:/path` and of `/path` for more of the same. Raises Refused."""
    point, paths = None, []
    for text in texts:
        if text.startswith("/") and point is not None:
            paths.append(parsed(text))
            continue
        place = parse(text, "paths")
        found = glance.resolve(str(place.point))
        if point not in (None, found):
            raise Refused(f"{point} and {found} are two points", "take from one point at a time")
        point = found
        paths.append(place.path)
    if point is None:
        raise BadParam("paths", "", "VM/DISK@TIME:/path", "see the points: crashcart backup list")
    return point, paths


def is_locked(params: RepoParams) -> bool:
    """Whether a passphrase is needed that was not given, so that planning cannot look inside."""
    return config.load(open_store(where(params))).kdf == "scrypt" and params.passphrase is None


@contextmanager
def glimpse(params: RepoParams, name: PointName, driver: Driver, cancel: Cancel) -> Iterator[Tree]:
    """A point's tree for a look that leaves no trace in the repository. Raises Refused, Damaged, BrowseError.

    One with an appliance stays open for the next look and for `reached`: a run plans twice before it begins.
    """
    key = (open_store(where(params)).where, str(name), driver)
    found = _waiting.pop(key, None) or _opened(params, name, driver, cancel)
    close_waiting()
    try:
        yield found.tree
    except BaseException:
        found.close()
        raise
    if found.tree.costly:
        _waiting[key] = found
    else:
        found.close()


@contextmanager
def reached(repository: Repository, name: PointName, driver: Driver, does: str, cancel: Cancel) -> Iterator[Tree]:
    """A point's tree, its point pinned meanwhile. Raises Refused, Damaged, BrowseError."""
    with open_point(repository, name, does) as source:
        waiting = _waiting.pop((repository.store.where, str(name), driver), None)
        tree = waiting.tree if waiting else open_tree(source, driver, "take", cancel)
        try:
            yield tree
        finally:
            (waiting or tree).close()


@dataclass(frozen=True)
class _Open:
    """A tree and the bytes below it."""

    source: PointBytes
    tree: BrowseTree

    def close(self) -> None:
        """The tree first: its appliance reads to the end."""
        self.tree.close()
        self.source.close()


_waiting: dict[tuple[str, str, str], _Open] = {}


def close_waiting() -> None:
    """End what looks have left open."""
    while _waiting:
        _waiting.popitem()[1].close()


atexit.register(close_waiting)


def _opened(params: RepoParams, name: PointName, driver: Driver, cancel: Cancel) -> _Open:
    repository = Repository.of(params)
    repository.load()
    source = PointBytes(repository, repository.point(name))
    try:
        return _Open(source, open_tree(source, driver, "take", cancel))
    except BaseException:
        source.close()
        raise
