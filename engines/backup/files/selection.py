"""Which files of a tree are taken, and under which name each goes into the destination."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from engines.backup.errors import Damaged, Missing
from engines.backup.files.model import BrowseError, Node, Volume, join, proper, shown
from engines.backup.files.tree import Tree
from engines.backup.files.visited import Visited, identity
from engines.job.errors import Refused

Complain = Callable[[bytes, str], None]


@dataclass(frozen=True)
class SelectedFile:
    """One file on its way. source: its path in the tree; place: its path below the destination.

    volume is None for the list of volumes itself; inner: its path in the volume.
    """

    source: bytes
    place: bytes
    node: Node
    volume: Volume | None
    inner: bytes


Moment = Literal["enter", "leave"]


def _silent(_path: bytes, _what: str) -> None:
    """Who only counts has nobody to tell."""


def places(paths: Sequence[bytes], *, parents: bool) -> dict[bytes, bytes]:
    """By path in the tree: its name below the destination. Raises Refused where two would be one.

    What lies within another chosen folder is left to that. The root goes into the destination itself.
    """
    found: dict[bytes, bytes] = {}
    for path in sorted(set(paths)):
        if any(path == known or path.startswith(known.rstrip(b"/") + b"/") for known in found):
            continue
        place = path[1:] if parents else posixpath.basename(path)
        twin = next((known for known, there in found.items() if there == place), None)
        if twin is not None:
            raise Refused(
                f"{shown(twin)} and {shown(path)} would both be {shown(place)}",
                "give --parents, which keeps the folders above them, or get them one by one",
            )
        found[path] = place
    return found


class Walk:
    """Goes over the chosen files, folders first; what cannot be read is told to `complain` and left out.

    across: into what the guest mounts below them, too.
    """

    def __init__(
        self, tree: Tree, chosen: dict[bytes, bytes], complain: Complain = _silent, *, across: bool = True
    ) -> None:
        self._tree = tree
        self._across = across
        self.chosen = chosen
        self._complain = complain
        self._visited = Visited()

    def entries(self) -> Iterator[SelectedFile]:
        """Each file once."""
        return (entry for moment, entry in self.moments() if moment == "enter")

    def moments(self, prune: set[bytes] | None = None) -> Iterator[tuple[Moment, SelectedFile]]:
        """Each file as `enter`, a folder also as `leave` after all that is in it. `prune`: places not to go into."""
        for source, place in self.chosen.items():
            yield from self._below(self._top(source, place), prune if prune is not None else set())

    def _top(self, source: bytes, place: bytes) -> SelectedFile:
        """Raises NoSuchFile, BrowseError."""
        if self._tree.is_top(source):
            return SelectedFile(source, place, self._tree.stat(source), None, b"/")
        above, name = posixpath.split(source)
        real = join(self._tree.resolve(above), name) if name else source
        volume, inner = self._tree.volume(real)
        return SelectedFile(source, place, volume.stat(inner), volume, inner)

    def _below(self, top: SelectedFile, prune: set[bytes]) -> Iterator[tuple[Moment, SelectedFile]]:
        yield "enter", top
        if not top.node.is_folder or top.place in prune or not self._fresh(top, 0):
            return
        open_folders = [(top, self._folders(top))]
        while open_folders:
            folder, rest = open_folders[-1]
            moment = next(rest, None)
            if moment is None:
                open_folders.pop()
                yield "leave", folder
                continue
            yield "enter", moment
            if moment.node.is_folder and moment.place not in prune and self._fresh(moment, len(open_folders)):
                open_folders.append((moment, self._folders(moment)))

    def _folders(self, folder: SelectedFile) -> Iterator[SelectedFile]:
        """Its entries, the folders last."""
        below: list[SelectedFile] = []
        for entry in self._listed(folder):
            if entry.node.is_folder:
                below.append(entry)
            else:
                yield entry
        yield from below

    def _listed(self, folder: SelectedFile) -> Iterator[SelectedFile]:
        listing = folder.volume.list(folder.inner) if folder.volume else self._tree.inside(folder.source)
        while True:
            try:
                node = next(listing, None)
            except (BrowseError, Damaged, Missing) as error:
                self._complain(folder.source, f"cannot be listed to its end: {error.why}")
                return
            if node is None:
                return
            if not proper(node.name):
                self._complain(folder.source, f"holds a name that no file can have: {shown(node.name)!r}")
                continue
            entry = self._entry(folder, node)
            if entry:
                yield entry

    def _entry(self, folder: SelectedFile, node: Node) -> SelectedFile | None:
        source = join(folder.source, node.name)
        place = folder.place + b"/" + node.name if folder.place else node.name
        if folder.volume and not (self._across and self._tree.joined(source)):
            return SelectedFile(source, place, node, folder.volume, join(folder.inner, node.name))
        try:
            volume, inner = self._tree.volume(source)
            return SelectedFile(
                source, place, msgspec.structs.replace(volume.stat(inner), name=node.name), volume, inner
            )
        except (BrowseError, Damaged, Missing, Refused) as error:
            self._complain(source, f"cannot be opened: {error.why}")
            return None

    def _fresh(self, entry: SelectedFile, depth: int) -> bool:
        """Whether a folder is no loop."""
        why = self._tree.stops(entry.source)
        why = why or self._visited.trouble(depth, identity(entry.volume, entry.node, self._tree.mount(entry.source)))
        if why:
            self._complain(entry.source, why)
        return not why
