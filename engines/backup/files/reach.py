"""From the words of a command to an opened tree: which point, which paths, and its file systems at hand."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from engines.backup import names
from engines.backup.files.appliance import warm
from engines.backup.files.model import parsed
from engines.backup.files.opening import BrowseTree, Driver, Purpose, open_tree
from engines.backup.names import PointName
from engines.backup.repository import config
from engines.backup.repository.byte_source import PointBytes, open_point
from engines.backup.repository.repository import Glance, RepoParams, Repository, where
from engines.backup.repository.unlocking import passphrase_of
from engines.backup.store.opening import open_store
from engines.job.contract import AnyEvent, Cancel, Context
from engines.job.errors import BadParam, Refused
from engines.job.params import param

SHAPE = "VM/DISK@TIME:/path; TIME may be latest"


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


@dataclass(frozen=True)
class Place:
    """A point's name and an absolute path in it; `given` tells whether a path was named."""

    point: PointName
    path: bytes
    given: bool

    def __str__(self) -> str:
        return str(self.point)


def parse(text: str, param_: str = "point") -> Place:
    """VM/DISK@TIME or VM/DISK@TIME:/path, the path as `shown` prints it. Raises BadParam."""
    point, colon, path = text.partition(":")
    return Place(names.parse(point, param_), parsed(path), bool(colon))


class PlaceParams(RepoParams, frozen=True, kw_only=True):
    """A place in a point, and which driver reads it."""

    point: Annotated[
        str, param("Point", "a restore point and a path in it", allowed=SHAPE, metavar="POINT[:/PATH]", positional=True)
    ]
    driver: Annotated[
        Driver, param("Driver", "quick reads here, libguestfs in a virtual machine; auto takes what is sure")
    ] = "auto"


@contextmanager
def open_place(
    params: PlaceParams, purpose: Purpose, cancel: Cancel | None = None
) -> Iterator[tuple[BrowseTree, Place]]:
    """The tree of the point that `params` name, held while the `with` lasts. Raises Refused, Damaged, BrowseError."""
    wanted = parse(params.point)
    repository = Repository.of(params)
    name = repository.resolve(str(wanted.point))
    place = Place(name, wanted.path, wanted.given)
    with (
        open_point(repository, name, "browsing") as disk,
        warm.disk(params, name, disk, cancel) as appliance,
        open_tree(disk, params.driver, purpose, cancel, appliance) as tree,
    ):
        yield tree, place
