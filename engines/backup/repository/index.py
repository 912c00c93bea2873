"""Where every record lies: mapped index files, and the footers of packs that none of them names yet."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator

from engines.backup.errors import Damaged
from engines.backup.names import HEX32
from engines.backup.repository import pack, segment
from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.segment import Segment
from engines.backup.store.store import Store, side_by_side

TAIL = 32768  # places held in memory before they go to an index file; about 12 MiB
AS_OWNER = "run it as the repository's owner or as root"
FEW = 8  # index files that may lie about; each costs a look-up of every record that is not known


class Index:
    """Finds records by id. Thread-safe.

    `sizes` are the bytes of the sealed packs, `parts` the open ones that were there when it was read, in the same
    listing as `present`.
    `lost` are packs that an index file names and that are not there, `faults` what was wrong with files
    that were left out, `bad` the places in quarantine, `condemned` packs that gc is about to delete.
    """

    def __init__(self, store: Store, repository: bytes) -> None:
        self._store = store
        self._repository = repository
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._tail: dict[bytes, RecordPlace] = {}
        self._tail_packs: set[bytes] = set()
        self._others: list[RecordPlace] = []
        self.present: set[bytes] = set()
        self.sizes: dict[bytes, int] = {}
        self.parts: list[str] = []
        self.lost: set[bytes] = set()
        self.faults: list[Damaged] = []
        self.bad: frozenset[tuple[bytes, int]] = frozenset()
        self.condemned: frozenset[bytes] = frozenset()

    def load(self) -> None:
        """Read what is there now; what was known stays known while its pack exists."""
        with self._lock:
            self._load_segments()
            sizes = self.sizes = self._listed()
            self.present = set(sizes)
            named = {known for found in self._segments for known in found.packs}
            self.lost = named - self.present
            for gone in self._tail_packs - self.present:
                self._tail_packs.discard(gone)
            new = [(found, sizes[found]) for found in self.present - named - self._tail_packs]
            for found, places in side_by_side(self._store, self._read_pack, new):
                if isinstance(places, list):
                    self._take(found, places)
                else:
                    self.present.discard(found)

    def _load_segments(self) -> None:
        known = {found.name: found for found in self._segments}
        self.faults = []
        there = sorted(name for name in self._store.names("index") if name.endswith(".idx"))
        ours = [name for name in there if HEX32.match(name[6:-4])]
        opened = side_by_side(self._store, lambda name: known.get(name) or self._segment(name), ours)
        self._segments = [found for found in opened if found is not None]

    def _segment(self, name: str) -> Segment | None:
        try:
            return Segment(self._store, name, self._repository)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            self.faults.append(Damaged(name, f"it cannot be read: {error.strerror}", AS_OWNER))
        except Damaged as damaged:
            self.faults.append(damaged)
        return None

    def _listed(self) -> dict[bytes, int]:
        """Sealed packs with their bytes, asked once a load: with many packs nothing else costs a far store as much."""
        sizes = dict(self._store.sizes("packs"))
        self.parts = [name for name in sizes if name.endswith(".part")]
        stems = {name[6:-5]: size for name, size in sizes.items() if name.endswith(".pack")}
        return {bytes.fromhex(stem): size for stem, size in stems.items() if HEX32.match(stem)}

    def _read_pack(self, new: tuple[bytes, int]) -> tuple[bytes, list[RecordPlace] | None]:
        """A pack and its records by its footer; None where it is gone, or may not be read."""
        found, size = new
        try:
            return found, pack.read_footer(self._store, found, size)[0]
        except FileNotFoundError:
            return found, None
        except PermissionError as error:
            self.faults.append(Damaged(pack.name(found), f"it cannot be read: {error.strerror}", AS_OWNER))
            return found, None
        except Damaged as damaged:
            self.faults.append(damaged)
            return found, [place for place, _ in pack.walk(self._store, pack.name(found), found, size)]

    def _take(self, found: bytes, places: list[RecordPlace]) -> None:
        self.present.add(found)
        self._tail_packs.add(found)
        for place in places:
            if self._tail.setdefault(place.id, place) is not place:
                self._others.append(place)

    def add(self, found: bytes, places: list[RecordPlace]) -> None:
        """A pack was sealed."""
        with self._lock:
            self._take(found, places)
            if len(self._tail) > TAIL:
                self._flush()

    def flush(self, *, always: bool = False) -> None:
        """Write an index file where reading footers every time would cost more."""
        with self._lock:
            if self._tail_packs and (
                always or len(self._tail_packs) > self._store.unindexed or len(self._tail) > TAIL // 8
            ):
                self._flush()

    def _flush(self) -> None:
        packs = sorted(self._tail_packs)
        live = [place for place in [*self._tail.values(), *self._others] if place.pack in self._tail_packs]
        places = [place for place in live if place.kind != 3]
        name = segment.write(self._store, self._repository, places, packs)
        self._segments.append(Segment(self._store, name, self._repository))
        self._tail, self._tail_packs, self._others = {}, set(), []
        if len(self._segments) > FEW and not self.lost:
            self._merge_small()

    def _merge_small(self) -> None:
        """Join the small index files, so that their number grows with the logarithm of the entries.

        Each entry is written anew only when its file meets others of half its size and more.
        """
        from engines.backup.repository import merge  # brings numpy, which most runs never need

        there = set(self._store.names("index"))  # gc may have put one of its own in the place of some
        by_size = sorted((found for found in self._segments if found.name in there), key=lambda found: found.count)
        joined, total = by_size[:2], sum(found.count for found in by_size[:2])
        for found in by_size[2:]:
            if found.count > 2 * total and len(by_size) - len(joined) < FEW:
                break
            joined.append(found)
            total += found.count
        if len(joined) < 2:
            return
        name = merge.merge(self._store, self._repository, joined, self.present & set(self._listed()))
        rest = [found for found in self._segments if found not in joined]
        self._segments = rest + ([Segment(self._store, name, self._repository)] if name else [])

    def find(self, name: bytes) -> Iterator[RecordPlace]:
        """Every place from which the record may be read."""
        place = self._tail.get(name)
        if place and self._usable(place):
            yield place
        for other in self._others:
            if other.id == name and self._usable(other):
                yield other
        for found in self._segments:
            for place in found.find(name):
                if self._usable(place):
                    yield place

    def _usable(self, place: RecordPlace) -> bool:
        return place.pack in self.present and (place.pack, place.offset) not in self.bad

    def holds(self, name: bytes) -> bool:
        """Whether a record need not be stored: it lies in a pack that stays."""
        return any(place.pack not in self.condemned for place in self.find(name))

    def length(self) -> int:
        """Entries, those of duplicates counted too."""
        return len(self._tail) + len(self._others) + sum(int(found.count) for found in self._segments)

    @property
    def segments(self) -> list[Segment]:
        """The index files in use."""
        return self._segments

    def tail(self) -> list[RecordPlace]:
        """Places that no index file names."""
        with self._lock:
            return [*self._tail.values(), *self._others]

    def forget(self, packs: Collection[bytes]) -> None:
        """Packs were deleted."""
        with self._lock:
            self.present -= set(packs)
            self._tail_packs -= set(packs)
            self._tail = {name: place for name, place in self._tail.items() if place.pack in self._tail_packs}
            self._others = [place for place in self._others if place.pack in self._tail_packs]
