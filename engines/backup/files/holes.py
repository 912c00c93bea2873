"""Which files of a point lie in blocks that no pack holds any more: each is read once, and what it touched tells."""

from __future__ import annotations

from collections.abc import Collection

from engines.backup.errors import Damaged, Missing
from engines.backup.files.model import Node, shown
from engines.backup.files.opening import BrowseTree, open_tree
from engines.backup.repository.byte_source import PointBytes
from engines.backup.repository.point import MAP, Point, map_length, zero_map
from engines.backup.repository.repository import Repository
from engines.job.errors import CrashcartError

PIECE = 4 * 1024 * 1024  # bytes read at a time


class HoledBytes(PointBytes):
    """A point whose `lost` blocks read as zeros; `touched` is set when one of them was asked for."""

    def __init__(self, repository: Repository, point: Point, lost: Collection[int]) -> None:
        super().__init__(repository, point)
        self._lost = lost
        self._maps: dict[int, bytes] = {}
        self.touched = False

    def ids(self, first: int, count: int) -> list[bytes]:
        """As of a point; zeros where a map is lost."""
        found = []
        for number in range(first, min(first + count, self.point.blocks)):
            map_ = self._safe(number // MAP)
            found.append(map_[number % MAP * 32 : number % MAP * 32 + 32])
        return found

    def _safe(self, number: int) -> bytes:
        if number not in self._maps:
            try:
                self._maps[number] = self._map(number)
            except (Missing, Damaged):
                self._maps[number] = zero_map(map_length(self.point.blocks, number))
        return self._maps[number]

    def _block(self, number: int) -> memoryview:
        if number in self._lost:
            self.touched = True
            return memoryview(bytes(min(self.block, self.size - number * self.block)))
        return super()._block(number)

    def _look_ahead(self, offset: int, end: int, last: int) -> None:
        """Nothing is read that nobody asked for: it would be taken for a file's."""


class _Walk:
    """Everything of a volume read once; what each reading touched goes to `hit`, in its order."""

    def __init__(self, tree: BrowseTree, source: HoledBytes, hit: dict[str, None]) -> None:
        self._tree = tree
        self._source = source
        self._hit = hit
        self._listing = b""

    def below(self, top: bytes) -> None:
        """All from a folder on."""
        self._listing = top
        for path, node in self._tree.walk(top, self._trouble, self._begun):
            self._settled()
            if node.is_file:
                self._read(path, node)
                self._source.touched = False
        self._settled()

    def _begun(self, folder: bytes) -> None:
        self._settled()
        self._listing = folder

    def _settled(self) -> None:
        """Between two entries, only the folder that is being listed is read: its names, or what they stand for."""
        if self._source.touched:
            self._hit[f"{shown(self._listing)}: names in it, or attributes of what is there"] = None
        self._source.touched = False

    def _read(self, path: bytes, node: Node) -> None:
        try:
            for at in range(0, node.size, PIECE):
                self._tree.read(path, at, min(PIECE, node.size - at))
                if self._source.touched:
                    self._hit[shown(path)] = None
                    return
        except CrashcartError as error:
            self._trouble(path, error)

    def _trouble(self, path: bytes, error: CrashcartError) -> None:
        self._hit[f"{shown(path)}: {getattr(error, 'why', error)}"] = None


def files_in(repository: Repository, point: Point, lost: Collection[int]) -> tuple[list[str], list[str]]:
    """(files and folders that lie in lost blocks, notes on what could not be looked at), as names for people."""
    source = HoledBytes(repository, point, lost)
    hit: dict[str, None] = {}
    notes: list[str] = []
    try:
        with open_tree(source, "quick") as tree:
            notes += tree.notes
            for info in [each for each in tree.infos.values() if not each.subvolume]:
                top = b"/" if tree.single else b"/" + info.name.encode()
                try:
                    _Walk(tree, source, hit).below(top)
                except CrashcartError as error:
                    notes.append(f"{info.name}: files not looked at: {error}")
    except CrashcartError as error:
        notes.append(f"which files lie in the holes is not known: {error}")
    finally:
        source.close()
    return list(hit), notes
