"""Makes the maps of a point to be: what did not change in one is taken over from the point before."""

from __future__ import annotations

import threading

from engines.backup.capture.read_order import MapWork
from engines.backup.errors import Damaged, Missing
from engines.backup.repository import record
from engines.backup.repository.keys import ZERO
from engines.backup.repository.point import MAP, Point, block_count, map_length
from engines.backup.repository.repository import Repository
from engines.backup.repository.writer import Writer


class FreshMaps:
    """For several threads. `names` are the ids of the maps, each right once its work is finished.

    thorough: all blocks are looked up anyway, so a map of the point before that is lost is made anew.
    """

    def __init__(
        self, repository: Repository, writer: Writer, parent: Point | None, blocks: int, *, thorough: bool
    ) -> None:
        self._repository = repository
        self._writer = writer
        self._parent = parent
        self._blocks = blocks
        self._thorough = thorough
        self._lock = threading.Lock()
        self.names = [ZERO] * block_count(blocks, MAP)

    def ids(self, work: MapWork) -> bytearray:
        """The map's ids, as the point before has them until they are changed. Raises Missing, Damaged."""
        with self._lock:
            if work.ids is None:
                length = map_length(self._blocks, work.number) * 32
                known = self._parents(work.number)[:length]
                work.ids = bytearray(known + bytes(length - len(known)))
            return work.ids

    def _parents(self, number: int) -> bytes:
        if self._parent is None or number >= len(self._parent.maps):
            return b""
        try:
            return self._repository.map(self._parent, number)
        except (Damaged, Missing):
            if self._thorough:
                return b""
            raise

    def finish(self, work: MapWork) -> None:
        """Name the map, and have it stored where it is a new one: a disk that was cut has a shorter last one."""
        if not work.changed and (same := self._the_same(work.number)) is not None:
            self.names[work.number] = same
            return
        ids = bytes(self.ids(work))
        work.ids = None
        if ids == bytes(len(ids)):
            return
        name = self._repository.codec.id(record.MAP, ids)
        self._writer.store(record.MAP, name, ids)
        self.names[work.number] = name

    def _the_same(self, number: int) -> bytes | None:
        """The map of the point before that names as many blocks."""
        if self._parent is None or number >= len(self._parent.maps):
            return ZERO
        same_length = map_length(self._parent.blocks, number) == map_length(self._blocks, number)
        return self._parent.maps[number] if same_length else None
