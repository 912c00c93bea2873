"""backup diff: which files were added, removed or changed between two points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated

import msgspec

from engines.backup import names
from engines.backup.commands.lines import Entry, entry
from engines.backup.files.blocks import Spans, differing, touch
from engines.backup.files.comparing import Comparison, Difference
from engines.backup.files.model import BrowseError, VolumeInfo, shown
from engines.backup.files.opening import BrowseTree, Driver, WhichDriver, states
from engines.backup.files.reach import path_of, tree_of
from engines.backup.repository.byte_source import PointBytes, open_point
from engines.backup.repository.repository import RepoParams, Repository
from engines.job import units
from engines.job.contract import Note
from engines.job.params import param


class DiffParams(RepoParams, frozen=True, kw_only=True):
    """Two points, and where to look."""

    old: Annotated[str, param("Older point", "VM/DISK@TIME", pattern=names.POINT, positional=True, metavar="POINT1")]
    new: Annotated[
        str, param("Newer point", "VM/DISK@TIME or @latest", pattern=names.POINT, positional=True, metavar="POINT2")
    ]
    path: Annotated[str, param("Path", "only what is below it", positional=True, metavar="/PATH")] = "/"
    driver: WhichDriver = "auto"


class DiffRow(msgspec.Struct, frozen=True, kw_only=True):
    """One file that differs; `how` tells what of a changed one: type, size, content, mode, owner, time, attributes."""

    path: str
    what: str
    how: tuple[str, ...] = ()
    before: Entry | None = None
    after: Entry | None = None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs. blocks: bytes of the disk in blocks that differ; read: bytes of files that had to be read."""

    old: str
    new: str
    path: str
    blocks: int
    read: int
    files: list[DiffRow]
    notes: list[str]


class _Both:
    """Two points opened."""

    def __init__(self, repository: Repository, driver: Driver, old: PointBytes, new: PointBytes) -> None:
        self.names = (str(old.point.name), str(new.point.name))
        self.spans: Spans = differing(old, new)
        self.notes: list[str] = []
        self.read = 0
        self._repository = repository
        self._driver: Driver = driver
        self._sides = (old, new)

    @property
    def blocks(self) -> int:
        """Bytes in blocks that differ."""
        end = max(side.size for side in self._sides)
        return sum(min(last, end) - first for first, last in self.spans)

    def differences(self, path: bytes) -> Iterator[Difference]:
        """None where the disks are equal, without opening a file system. Raises BrowseError, Damaged, Missing."""
        if not self.spans:
            return
        with (
            self._tree(self._sides[0]) as old,
            self._tree(self._sides[1]) as new,
        ):
            if old.single != new.single:
                kinds = " and ".join(", ".join(tree.infos) for tree in (old, new))
                raise BrowseError(
                    f"the disk was divided anew in between ({kinds}): its files cannot be set side by side"
                )
            comparing = Comparison(old, new, self._same(old, new), self._told)
            yield from comparing.run(path)
            self.read = comparing.read
            for side, tree in zip(self.names, (old, new), strict=True):
                self.notes += [f"{side}: {note}" for note in (*tree.notes, *states(tree).values())]

    def _tree(self, side: PointBytes) -> AbstractContextManager[BrowseTree]:
        return tree_of(self._repository, side, self._driver, "take", None)

    def _told(self, path: bytes, what: str) -> None:
        self.notes.append(f"{shown(path)} {what}")

    def _same(self, old: BrowseTree, new: BrowseTree) -> set[str]:
        """Volumes whose blocks are all equal; only of those that lie on the disk in one piece."""
        return {name for name, info in new.infos.items() if name in old.infos and self._is_same(old.infos[name], info)}

    def _is_same(self, before: VolumeInfo, info: VolumeInfo) -> bool:
        in_one_piece = "quick" in info.drivers and (before.offset, before.size) == (info.offset, info.size)
        return in_one_piece and not touch(self.spans, info.offset, info.offset + info.size)


@contextmanager
def _opened(params: DiffParams) -> Iterator[_Both]:
    with Repository.of(params) as repository:
        old, new = (repository.resolve(text) for text in (params.old, params.new))
        with open_point(repository, old, "diff") as before, open_point(repository, new, "diff") as after:
            yield _Both(repository, params.driver, before, after)


def answer(params: DiffParams) -> Diff:
    """All of it as data."""
    with _opened(params) as both:
        files = [_row(each) for each in both.differences(path_of(params.path))]
        return Diff(
            old=both.names[0],
            new=both.names[1],
            path=params.path,
            blocks=both.blocks,
            read=both.read,
            files=files,
            notes=both.notes,
        )


def lines(params: DiffParams) -> Iterator[str | bytes | Note]:
    """As it is found."""
    counts = {"added": 0, "removed": 0, "changed": 0}
    with _opened(params) as both:
        for each in both.differences(path_of(params.path)):
            counts[each.what] += 1
            yield _line(each)
        yield from map(Note, both.notes)
        if not both.spans:
            yield Note("the two disks are equal, block by block")
        else:
            told = ", ".join(f"{count} {what}" for what, count in counts.items())
            yield Note(f"{told}; {units.size(both.blocks)} of the disk in blocks that differ")


def _row(found: Difference) -> DiffRow:
    before, after = (entry(found.path, node) if node else None for node in (found.before, found.after))
    return DiffRow(path=shown(found.path), what=found.what, how=found.how, before=before, after=after)


def _line(found: Difference) -> str:
    sign = {"added": "+", "removed": "-", "changed": "M"}[found.what]
    node = found.after or found.before
    name = shown(found.path) + ("/" if node and node.is_folder else "")
    if found.what != "changed":
        size = f"  {units.size(node.size)}" if node and node.is_file else ""
        return f"{sign} {name}{size}"
    sizes = ""
    if "size" in found.how and found.before and found.after:
        sizes = f"  {found.before.size} -> {found.after.size} bytes"
    return f"{sign} {name}  {', '.join(found.how)}{sizes}"
