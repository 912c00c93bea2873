"""VM/DISK@TIME:/path, as the technician writes it: a restore point and a place in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from engines.backup import names
from engines.backup.browse import warm
from engines.backup.browse.model import parsed
from engines.backup.browse.opening import BrowseTree, Driver, Purpose, open_tree
from engines.backup.byte_source import open_point
from engines.backup.names import PointName
from engines.backup.repository import RepoParams, Repository
from engines.job.contract import Cancel
from engines.job.params import param

SHAPE = "VM/DISK@TIME:/path; TIME may be latest"


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
