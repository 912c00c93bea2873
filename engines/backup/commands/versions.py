"""backup versions: one path through all points of a disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated

import msgspec

from engines.backup import names
from engines.backup.commands.lines import Entry, entry
from engines.backup.errors import Damaged, Missing
from engines.backup.files.contents import CHUNK, weight
from engines.backup.files.guest import Elsewhere
from engines.backup.files.model import BrowseError, Node, NoSuchFile, shown
from engines.backup.files.opening import BrowseTree, Driver, WhichDriver, states
from engines.backup.files.reach import opened, path_of
from engines.backup.files.tree import NoRoot
from engines.backup.names import PointName
from engines.backup.repository.repository import RepoParams, Repository
from engines.job.contract import Note
from engines.job.errors import BadParam, Refused
from engines.job.params import param

HOLES = 4 * 1024**3  # bytes of zeros that are summed up
SHAPE = "VM:/path or VM/DISK:/path"


class VersionsParams(RepoParams, frozen=True, kw_only=True):
    """Which path of which VM."""

    where: Annotated[str, param("Where", "one path of a VM or disk", allowed=SHAPE, metavar=SHAPE, positional=True)]
    driver: WhichDriver = "auto"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """The path in one point. state: first, same, changed, gone, elsewhere or unreadable; sha256: of a file's content.

    elsewhere: this disk is not where the guest has it, and says nothing of whether it is there.

    A file whose inode, size, mtime and ctime are those of the version before is `same` without being read again.
    """

    point: str
    state: str
    file: Entry | None = None
    sha256: str = ""
    trouble: str = ""


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, oldest first within each disk."""

    path: str
    versions: list[Version]


def answer(params: VersionsParams) -> Versions:
    """All of them as data."""
    _, path = _wanted(params.where)
    return Versions(path=shown(path), versions=list(_versions(params)))


def lines(params: VersionsParams) -> Iterator[str | bytes | Note]:
    """One a line, as they are found."""
    for version in _versions(params):
        size = f"{version.file.size:>13} {version.file.mtime[:19]}Z" if version.file else " " * 34
        yield f"{version.point} {size} {version.state:10} {version.sha256[:16]}".rstrip()
        if version.trouble:
            yield Note(f"{version.point}: {version.trouble}")


def _wanted(text: str) -> tuple[tuple[str, str], bytes]:
    """VM and disk (empty for all of them), and the path. Raises BadParam."""
    place, colon, path = text.partition(":")
    vm, _, disk = place.partition("/")
    if not colon or "/" not in path or not names.good(vm) or (disk and not names.good(disk)):
        raise BadParam("where", text, SHAPE, "see the points: crashcart backup list")
    return (vm, disk), path_of(path)


def _versions(params: VersionsParams) -> Iterator[Version]:
    (vm, disk), path = _wanted(params.where)
    repository = Repository.of(params)
    found = [name for name in repository.names() if name.vm == vm and (name.disk == disk if disk else _has_files(name))]
    if not found:
        raise Refused(f"there is no point of {params.where.partition(':')[0]}", "see all: crashcart backup list")
    before: dict[str, tuple[Node, str]] = {}
    alone = len({name.disk for name in found}) == 1  # no other disk could have it
    seen: set[str] = set()  # disks that the path was on
    for name in found:
        sure = bool(disk) or alone or name.disk in seen
        version, node = _one(repository, name, path, params.driver, before.get(name.disk), sure)
        yield version
        if node:
            seen.add(name.disk)
            before[name.disk] = (node, version.sha256)
        elif version.state == "gone":
            before.pop(name.disk, None)


def _has_files(name: PointName) -> bool:
    """Whether it is of a disk: a guest's description is kept beside its disks."""
    return name.disk != names.GUEST


def _one(
    repository: Repository,
    name: PointName,
    path: bytes,
    driver: Driver,
    before: tuple[Node, str] | None,
    sure: bool,
) -> tuple[Version, Node | None]:
    point = str(name)
    try:
        with opened(repository, name, driver, does="versions", keep_warm=False) as tree:
            try:
                real = tree.resolve(path)
                node = tree.stat(real)
            except (NoSuchFile, NoRoot, Elsewhere) as error:
                why = "" if sure and tree.single and isinstance(error, NoSuchFile) else tree.elsewhere(path)
                return Version(point=point, state="elsewhere" if why else "gone", trouble=why), None
            if node.is_file and node.size - weight(node) > HOLES:
                raise BrowseError(f"{shown(path)} has {node.size} bytes, nearly all of them holes: too long to sum up")
            known = before and _identity(before[0]) == _identity(node)
            digest = before[1] if before and known else _digest(tree, real, node)
            state = "first" if before is None else "same" if known or _alike(before, node, digest) else "changed"
            trouble = "; ".join(states(tree).values())
            version = Version(point=point, state=state, file=entry(path, node), sha256=digest, trouble=trouble)
            return version, node
    except (BrowseError, Damaged, Missing, Refused) as error:
        return Version(point=point, state="unreadable", trouble=error.why), None


def _identity(node: Node) -> tuple[int, ...]:
    return node.inode, node.mode, node.size, node.mtime, node.ctime


def _alike(before: tuple[Node, str], node: Node, digest: str) -> bool:
    """Whether the content is the same, whatever its times."""
    return before[0].is_file and node.is_file and before[1] == digest


def _digest(tree: BrowseTree, path: bytes, node: Node) -> str:
    """SHA-256 of a file's content; a hole counts as the zeros that it reads as. Empty for what is no file."""
    if not node.is_file:
        return ""
    sums = hashlib.sha256()
    for at in range(0, node.size, CHUNK):
        sums.update(tree.read(path, at, min(CHUNK, node.size - at)))
    return sums.hexdigest()
