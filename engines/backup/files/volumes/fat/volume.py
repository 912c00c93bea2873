"""FAT and exFAT as a Volume, in this process: every name whole, every date to its end, labels and tables no files."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from engines.backup.files.model import BrowseError, DiskBytes, Node, NoSuchFile, Volume, VolumeInfo, shown
from engines.backup.files.volumes.dentries import Dentries
from engines.backup.files.volumes.fat import entries, geometry, sets
from engines.backup.files.volumes.fat.chains import Chains, Run
from engines.backup.files.volumes.fat.item import FOLDER, Item
from engines.backup.files.volumes.window import Window

LARGEST = 256 * 1024 * 1024  # bytes of a folder, exFAT's limit; FAT's is 2 MiB


class FatVolume(Volume):
    """See Volume. `source` is the file system's own bytes, from its first."""

    driver = "quick"

    def __init__(self, source: DiskBytes, info: VolumeInfo, state: str) -> None:
        self.info = info
        self.state = state
        self._window = Window(source, 0, source.size)
        self._geometry = geometry.read(self._window)
        self._chains = Chains(self._window, self._geometry)
        self._folders: Dentries[Item] = Dentries()
        self._damaged: dict[int, BrowseError] = {}
        self._root = Item(b"", FOLDER, self._geometry.root, 0, 0)

    # ── folders ─────────────────────────────────────────────────────────────────────────────────────

    def _find(self, path: bytes) -> Item:
        item = self._root
        for part in path.split(b"/"):
            if part:
                item = self._lookup(item, part, path)
        return item

    def _lookup(self, folder: Item, name: bytes, path: bytes) -> Item:
        """A name as it is written, else as Windows would find it."""
        if not folder.is_folder:
            raise NoSuchFile(f"{shown(path)}: there is no such file")
        known = self._folders.get(folder.cluster, lambda: self._names(folder))
        if name in known:
            return known[name]
        wanted = _folded(name)
        found = next((item for each, item in known.items() if _folded(each) == wanted), None)
        if found is None:
            raise self._damaged.get(folder.cluster) or NoSuchFile(f"{shown(path)}: there is no such file")
        return found

    def _names(self, folder: Item) -> dict[bytes, Item]:
        """As many as can be read."""
        found: dict[bytes, Item] = {}
        try:
            for item in self._items(folder):
                found.setdefault(item.name, item)
        except BrowseError as error:
            self._damaged[folder.cluster] = error
        return found

    def _items(self, folder: Item) -> Iterator[Item]:
        raw, trouble = self._folder(folder)
        yield from (sets if self._geometry.exfat else entries).items(raw, folder.cluster * self._geometry.cluster)
        if trouble:
            raise trouble

    def _folder(self, folder: Item) -> tuple[bytes, BrowseError | None]:
        """A folder's bytes as far as they can be read, and what ends them."""
        if folder is self._root and not self._geometry.root:
            return self._window.read(self._geometry.root_place, self._geometry.root_size), None
        if not folder.cluster:
            return b"", BrowseError(f"the folder {shown(folder.name)} has no cluster, the file system is damaged")
        length = folder.size if self._geometry.exfat and folder is not self._root else LARGEST
        runs, trouble = self._chains.runs(folder.cluster, min(length, LARGEST), chained=folder.chained)
        what = f"the folder {shown(folder.name)}"
        return b"".join(self._window.exactly(place, count, what) for place, count in runs), trouble

    @property
    def label(self) -> str:
        """The root folder's own; empty for none."""
        raw, _ = self._folder(self._root)
        if self._geometry.exfat:
            return sets.label(raw)
        found = entries.label(raw)
        return found.decode("cp437").rstrip(" ") if found else ""

    # ── Volume ──────────────────────────────────────────────────────────────────────────────────────

    @override
    def stat(self, path: bytes) -> Node:
        return self._find(path).node(self._geometry.cluster)

    @override
    def list(self, path: bytes) -> Iterator[Node]:
        folder = self._find(path)
        if not folder.is_folder:
            raise BrowseError(f"{shown(path)} is no folder")
        seen = set[bytes]()
        for item in self._items(folder):
            if item.name not in seen:
                seen.add(item.name)
                yield item.node(self._geometry.cluster)

    @override
    def read(self, path: bytes, offset: int, length: int) -> bytes:
        item = self._regular(path)
        end = min(offset + length, item.size)
        if offset >= end:
            return b""
        held = max(0, min(end, item.written) - offset)
        parts, done = [b""], 0
        runs, trouble = self._chains.runs(item.cluster, item.size, chained=item.chained)
        for place, count in _within(runs, offset, held):
            parts.append(self._window.exactly(place, count, shown(path)))
            done += count
        if done < held:
            why = f": {trouble.why}" if trouble else ""
            raise BrowseError(f"{shown(path)} ends early, at byte {offset + done} of {item.size}{why}")
        return b"".join([*parts, bytes(end - offset - held)])

    def _regular(self, path: bytes) -> Item:
        item = self._find(path)
        if item.is_folder:
            raise BrowseError(f"{shown(path)} is no regular file")
        return item

    @override
    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        """All that was written: these file systems have no holes."""
        item = self._regular(path)
        if item.written:
            yield 0, item.written

    @override
    def attributes(self, path: bytes) -> dict[str, bytes]:
        """These file systems carry none that Linux knows."""
        self._find(path)
        return {}

    @override
    def close(self) -> None:
        self._folders.clear()


def _folded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape").upper()


def _within(runs: list[Run], offset: int, length: int) -> Iterator[Run]:
    """The parts of `runs` that hold `length` bytes of the file from `offset`."""
    at = 0
    for place, count in runs:
        start, stop = max(offset, at), min(offset + length, at + count)
        if start < stop:
            yield place + start - at, stop - start
        at += count
        if at >= offset + length:
            return


def label(part: Window) -> str:
    """The label that a volume's root folder holds; empty for none, or where it cannot be read."""
    try:
        return FatVolume(part, VolumeInfo(name="", format="vfat", offset=0, size=part.size), "").label
    except BrowseError:
        return ""
