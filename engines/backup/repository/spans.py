"""Records that lie beside one another in a pack, asked for at one time: for stores whose answers come from far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engines.backup.repository import pack, record
from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.repository import Repository

LEAST = 1024 * 1024  # bytes of a question that others may wait for
MOST = 4 * 1024 * 1024  # bytes of an answer, all of which are held in memory
GAP = 64 * 1024  # bytes between two records that are read for nothing, rather than asked around


@dataclass(frozen=True, slots=True)
class Span:
    """`places` of one pack, by their offsets."""

    places: tuple[RecordPlace, ...]

    @property
    def offset(self) -> int:
        """Where it begins in its pack."""
        return self.places[0].offset

    @property
    def size(self) -> int:
        """Bytes, with what lies between."""
        return self.places[-1].offset + self.places[-1].size - self.offset


def spans(places: Iterable[RecordPlace], at_once: int) -> Iterator[Span]:
    """Each place once; as large as MOST allows, yet so many that `at_once` questions have something to ask."""
    ordered = sorted(set(places), key=lambda place: (place.pack, place.offset))
    most = min(max(sum(place.size for place in ordered) // at_once, LEAST), MOST)
    begun: list[RecordPlace] = []
    for place in ordered:
        if begun and not _joins(begun, place, most):
            yield Span(tuple(begun))
            begun = []
        begun.append(place)
    if begun:
        yield Span(tuple(begun))


def _joins(begun: list[RecordPlace], place: RecordPlace, most: int) -> bool:
    last = begun[-1]
    near = place.pack == last.pack and place.offset - last.offset - last.size <= GAP
    return near and place.offset + place.size - begun[0].offset <= most


class HeldSpan:
    """The bytes of a span, until this thread reads anything else of the store."""

    def __init__(self, repository: Repository, span: Span) -> None:
        """Raises FileNotFoundError."""
        self._repository = repository
        self._offset = span.offset
        self._raw = memoryview(repository.store.read_once(pack.name(span.places[0].pack), span.offset, span.size))

    def content(
        self, place: RecordPlace, kind: int, into: memoryview | None = None, *, checked: bool = False
    ) -> bytes | memoryview:
        """What the record there holds, as `Repository.read` gives it; `checked` as there. Raises Damaged."""
        start = place.offset - self._offset
        raw = self._raw[start : start + place.size]
        return self._repository.decoded(place, kind, raw[: record.SIZE], raw[record.SIZE :], into, checked=checked)
