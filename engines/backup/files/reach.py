"""From the words of a command to an opened tree: which point, which paths, and its file systems at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated

from engines.backup import names
from engines.backup.files.appliance import client
from engines.backup.files.model import parsed
from engines.backup.files.opening import BrowseTree, Driver, Purpose, WhichDriver, open_tree
from engines.backup.names import PointName
from engines.backup.repository import config
from engines.backup.repository.byte_source import PointBytes, open_point, unpinned
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.backup.store.opening import open_store
from engines.job.contract import Cancel
from engines.job.errors import BadParam, Refused
from engines.job.params import param

SHAPE = "VM/DISK@TIME:/path; TIME may be latest, p3:/path names a volume"


def chosen(glance: NamesOnly, texts: Sequence[str]) -> tuple[PointName, list[bytes]]:
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
    return config.asks(config.load(open_store(where(params))), params.key_file) and params.passphrase is None


@contextmanager
def opened(
    repository: Repository,
    name: PointName,
    driver: Driver = "auto",
    *,
    does: str = "browsing",
    purpose: Purpose = "take",
    pinned: bool = True,
    keep_warm: bool = True,
    cancel: Cancel | None = None,
) -> Iterator[BrowseTree]:
    """A point's files while the `with` lasts. Raises Refused, Damaged, BrowseError.

    pinned: neither prune nor gc takes anything of the point meanwhile; not so for a plan, which leaves no trace.
    keep_warm: an appliance that an earlier look had started serves again, and stays for the next; not where many
    points are opened in turn, since each appliance takes its memory.
    """
    with ExitStack() as stack:
        pin = open_point(repository, name, does) if pinned else unpinned(repository, name)
        source = stack.enter_context(pin)
        if keep_warm:
            yield stack.enter_context(tree_of(repository, source, driver, purpose, cancel))
        else:
            yield stack.enter_context(open_tree(source, driver, purpose, cancel))


@contextmanager
def tree_of(
    repository: Repository, source: PointBytes, driver: Driver, purpose: Purpose, cancel: Cancel | None
) -> Iterator[BrowseTree]:
    """The files of a point that is open already."""
    with (
        client.disk(repository.params, source.point.name, source, cancel) as appliance,
        open_tree(source, driver, purpose, cancel, appliance) as tree,
    ):
        yield tree


@dataclass(frozen=True)
class PathInPoint:
    """A point's name and an absolute path in it; `given` tells whether a path was named."""

    point: PointName
    path: bytes
    given: bool

    def __str__(self) -> str:
        return str(self.point)


def parse(text: str, param_: str = "point") -> PathInPoint:
    """VM/DISK@TIME or VM/DISK@TIME:/path, the path as `shown` prints it. Raises BadParam."""
    point, colon, path = text.partition(":")
    return PathInPoint(names.parse(point, param_), path_of(path), bool(colon))


def path_of(text: str) -> bytes:
    """A path as it is typed: of the guest's own tree, or `p3:/path` and `/p3/path` of a volume."""
    volume, colon, inner = text.partition(":")
    return parsed(f"{volume}/{inner}" if colon and "/" not in volume else text)


class PathParams(RepoParams, frozen=True, kw_only=True):
    """A place in a point, and which driver reads it."""

    point: Annotated[
        str, param("Point", "a restore point and a path in it", allowed=SHAPE, metavar="POINT[:/PATH]", positional=True)
    ]
    driver: WhichDriver = "auto"


@contextmanager
def open_place(
    params: PathParams, purpose: Purpose, cancel: Cancel | None = None
) -> Iterator[tuple[BrowseTree, PathInPoint]]:
    """The tree of the point that `params` name, held while the `with` lasts. Raises Refused, Damaged, BrowseError."""
    wanted = parse(params.point)
    with Repository.of(params) as repository:
        name = repository.resolve(str(wanted.point))
        with opened(repository, name, params.driver, purpose=purpose, cancel=cancel) as tree:
            yield tree, PathInPoint(name, wanted.path, wanted.given)
