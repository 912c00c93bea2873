"""From the words of a command to an opened tree: which point, which paths, and its file systems at hand."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engines.backup import config
from engines.backup.browse.model import parsed
from engines.backup.browse.opening import BrowseTree, Driver, open_tree
from engines.backup.browse.where import parse
from engines.backup.byte_source import PointBytes
from engines.backup.names import PointName
from engines.backup.repository import Glance, RepoParams, Repository, where
from engines.backup.sessions import Presence
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


class Kept:
    """A tree that cost the start of an appliance, kept from a plan to the run that follows in the same process."""

    def __init__(self) -> None:
        self._held: tuple[str, PointBytes, BrowseTree] | None = None

    def keep(self, key: str, source: PointBytes, tree: BrowseTree) -> None:
        """Instead of what was kept before."""
        self.drop()
        self._held = (key, source, tree)

    def take(self, key: str) -> tuple[PointBytes, BrowseTree] | None:
        """What is kept under that key; the caller closes it."""
        if self._held is None or self._held[0] != key:
            return None
        _, source, tree = self._held
        self._held = None
        return source, tree

    def drop(self) -> None:
        """Close what is kept."""
        if self._held:
            _, source, tree = self._held
            self._held = None
            _closed(source, tree)


_kept = Kept()
atexit.register(_kept.drop)


def _closed(source: PointBytes, tree: BrowseTree) -> None:
    tree.close()
    source.close()


def _key(repository: Repository, name: PointName, driver: Driver) -> str:
    return f"{repository.store.where} {name} {driver}"


@contextmanager
def glimpse(params: RepoParams, name: PointName, driver: Driver, cancel: Cancel) -> Iterator[BrowseTree]:
    """A point's tree for a look that leaves no trace in the repository. Raises Refused, Damaged, BrowseError."""
    repository = Repository.of(params)
    repository.load()
    key = _key(repository, name, driver)
    source, tree = _kept.take(key) or _opened(repository, name, driver, cancel)
    try:
        yield tree
    except BaseException:
        _closed(source, tree)
        raise
    if any(volume.driver == "libguestfs" for volume in tree.opened.values()):
        _kept.keep(key, source, tree)
    else:
        _closed(source, tree)


def _opened(repository: Repository, name: PointName, driver: Driver, cancel: Cancel) -> tuple[PointBytes, BrowseTree]:
    try:
        source = PointBytes(repository, repository.point(name))
    except FileNotFoundError:
        raise Refused(f"{name} is not there any more", "see what is: crashcart backup list") from None
    try:
        return source, open_tree(source, driver, "take", cancel)
    except BaseException:
        source.close()
        raise


@contextmanager
def reached(repository: Repository, name: PointName, driver: Driver, does: str, cancel: Cancel) -> Iterator[BrowseTree]:
    """A point's tree, its point pinned meanwhile. Raises Refused, Damaged, BrowseError."""
    with Presence(repository.store, "read", does, pins=(name.path(),)) as presence:
        repository.load()
        source, tree = _kept.take(_key(repository, name, driver)) or _opened(repository, name, driver, cancel)
        source.belong_to(presence)
        try:
            yield tree
        finally:
            _closed(source, tree)
