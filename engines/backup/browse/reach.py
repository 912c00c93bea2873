"""From the words of a command to an opened tree: which point, which paths, and its file systems at hand."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engines.backup import config
from engines.backup.browse import warm
from engines.backup.browse.model import parsed
from engines.backup.browse.opening import BrowseTree, Driver, open_tree
from engines.backup.browse.where import parse
from engines.backup.byte_source import PointBytes, open_point
from engines.backup.names import PointName
from engines.backup.repository import Glance, RepoParams, Repository, where
from engines.backup.store import open_store
from engines.backup.unlocking import passphrase_of
from engines.job.contract import AnyEvent, Cancel, Context
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
def glimpse(params: RepoParams, name: PointName, driver: Driver, cancel: Cancel) -> Iterator[BrowseTree]:
    """A point's tree for a look that leaves no trace in the repository. Raises Refused, Damaged, BrowseError."""
    repository = Repository.of(params)
    repository.load()
    try:
        source = PointBytes(repository, repository.point(name))
    except FileNotFoundError:
        raise Refused(f"{name} is not there any more", "see what is: crashcart backup list") from None
    try:
        with tree_of(params, name, source, driver, cancel) as tree:
            yield tree
    finally:
        source.close()


@contextmanager
def reached(params: RepoParams, name: PointName, driver: Driver, does: str, cancel: Cancel) -> Iterator[BrowseTree]:
    """A point's tree, its point pinned meanwhile. Raises Refused, Damaged, BrowseError."""
    with (
        open_point(Repository.of(params), name, does) as source,
        tree_of(params, name, source, driver, cancel) as tree,
    ):
        yield tree


@contextmanager
def tree_of(
    params: RepoParams, name: PointName, source: PointBytes, driver: Driver, cancel: Cancel
) -> Iterator[BrowseTree]:
    """The files of an opened point; an appliance that an earlier look or plan had started serves again."""
    with (
        warm.disk(params, name, source, cancel) as appliance,
        open_tree(source, driver, "take", cancel, appliance) as tree,
    ):
        yield tree


def unlocked(params: dict[str, Any], context: Context) -> Generator[AnyEvent, str | None, RepoParams]:
    """The repository of a plan's parameters, with the passphrase that was given or asked for. Raises Refused."""
    passphrase = yield from passphrase_of(params, context)
    return RepoParams(repo=params["repo"], key_file=params["key_file"], passphrase=passphrase)
