"""A stream of an NTFS file as bytes: resident, in runs, sparse or compressed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from engines.backup.files.model import BrowseError, Unsupported
from engines.backup.files.ranges import joined
from engines.backup.files.volumes.ntfs.lznt1 import decompress
from engines.backup.files.volumes.ntfs.record import COMPRESSED, ENCRYPTED, Attribute, ClusterRun
from engines.backup.files.volumes.window import Window


class AttributeStream:
    """One attribute's content."""

    def __init__(self, window: Window, cluster: int, attribute: Attribute, what: str) -> None:
        self.size = attribute.size if attribute.value is None else len(attribute.value)
        self._window = window
        self._cluster = cluster
        self._attribute = attribute
        self._what = what
        self._starts = [run.first for run in attribute.runs]
        if any(after < before for before, after in zip(self._starts, self._starts[1:], strict=False)):
            raise BrowseError(f"{what} is damaged: its runs are not in order")

    def read(self, offset: int, length: int) -> bytes:
        """Bytes, less only at the end; zeros in holes. Raises BrowseError, Unsupported."""
        attribute = self._attribute
        length = max(0, min(length, self.size - offset))
        if attribute.flags & ENCRYPTED:
            raise Unsupported(f"{self._what} is encrypted by the guest", "its bytes need the guest's own key")
        if attribute.value is not None:
            return attribute.value[offset : offset + length]
        filled = max(0, min(length, attribute.initialised - offset))
        unit = self._cluster << attribute.unit if attribute.flags & COMPRESSED and attribute.unit else 0
        raw = self._units(offset, filled, unit) if unit else self._plain(offset, filled)
        return raw if filled == length else raw + bytes(length - filled)

    def _plain(self, offset: int, length: int) -> bytes:
        size, end = self._cluster, offset + length
        parts, at = [], offset
        for run in self._between(offset // size, -(-end // size)) if length else ():
            start, until = max(at, run.first * size), min(end, (run.first + run.length) * size)
            if until <= start:
                continue
            parts.append(bytes(start - at))
            if run.place is None:
                parts.append(bytes(until - start))
            else:
                place = run.place * size + start - run.first * size
                parts.append(self._window.exactly(place, until - start, self._what))
            at = until
        parts.append(bytes(end - at))
        return b"".join(parts)

    def _between(self, first: int, end: int) -> Iterator[ClusterRun]:
        at = max(0, bisect_right(self._starts, first) - 1)
        while at < len(self._starts) and self._starts[at] < end:
            yield self._attribute.runs[at]
            at += 1

    def _units(self, offset: int, length: int, unit: int) -> bytes:
        first = offset // unit
        whole = b"".join(self._unit(number, unit) for number in range(first, -(-(offset + length) // unit)))
        return whole[offset - first * unit : offset - first * unit + length]

    def _unit(self, number: int, unit: int) -> bytes:
        """One compression unit: whole as it is, with fewer clusters compressed, without any a hole."""
        clusters = unit // self._cluster
        first = number * clusters
        held = 0
        for run in self._between(first, first + clusters):
            if run.place is not None:
                held += max(0, min(run.first + run.length, first + clusters) - max(run.first, first))
        if not held:
            return bytes(unit)
        raw = self._plain(number * unit, held * self._cluster)
        return raw if held >= clusters else decompress(raw, unit)

    def extents(self) -> Iterator[tuple[int, int]]:
        """Where data lies, in bytes, ascending."""
        attribute = self._attribute
        if attribute.value is not None:
            yield from [(0, self.size)] if self.size else []
            return
        grain = self._cluster << attribute.unit if attribute.flags & COMPRESSED else self._cluster
        yield from joined(self._stored(attribute, grain))

    def _stored(self, attribute: Attribute, grain: int) -> Iterator[tuple[int, int]]:
        for run in attribute.runs:
            start = run.first * self._cluster // grain * grain
            end = min(-(-(run.first + run.length) * self._cluster // grain) * grain, attribute.initialised)
            if run.place is not None and start < end:
                yield start, end
