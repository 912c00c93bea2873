"""A disk whose damaged superblocks read as their copies: what a kernel needs to mount it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from typing_extensions import override

from engines.backup.errors import Damaged, Missing
from engines.backup.files.model import BrowseError, DiskBytes
from engines.backup.files.ranges import joined
from engines.backup.files.volumes import copies
from engines.backup.files.volumes.disk_map import survey
from engines.backup.files.volumes.signatures import SPARE
from engines.backup.files.volumes.watched import Watched
from engines.backup.files.volumes.window import Window
from engines.job.contract import Cancel


class Mended(DiskBytes):
    """`source` with `patches`, by byte, in their places. volumes: where those begin that are read so."""

    def __init__(self, source: DiskBytes, volumes: set[int], patches: dict[int, bytes]) -> None:
        self.size = source.size
        self.volumes = volumes
        self._source = source
        self._patches = patches

    @classmethod
    def of(cls, source: DiskBytes, cancel: Cancel | None = None) -> Mended | None:
        """None where nothing is to be mended. Raises Stopped."""
        watched = Watched(source, Cancel() if cancel is None else cancel)
        try:
            infos = [
                info for info in survey(watched).volumes if info.dirty == SPARE and info.format in ("xfs", "btrfs")
            ]
        except (BrowseError, Damaged, Missing):  # whoever reads that place is told
            return None
        patches = {}
        for info in infos:
            found = copies.patch(Window(watched, info.offset, info.size), info.format)
            if found:
                patches[info.offset + found[1]] = found[2]
        return cls(source, {info.offset for info in infos}, patches) if patches else None

    @override
    def read(self, offset: int, length: int) -> bytes:
        raw = self._source.read(offset, length)
        for place, patch in self._patches.items():
            start, end = max(place, offset), min(place + len(patch), offset + len(raw))
            if start < end:
                raw = raw[: start - offset] + patch[start - place : end - place] + raw[end - offset :]
        return raw

    def extents(self) -> Iterator[tuple[int, int]]:
        """What is not zero, as far as the source knows."""
        found: Any = getattr(self._source, "extents", None)
        patched = sorted((place, place + len(patch)) for place, patch in self._patches.items())
        yield from joined(heapq.merge(found() if found else [(0, self.size)], patched))
