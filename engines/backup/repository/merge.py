"""Joins index files into one, range by range of ids, so that memory does not grow with the repository."""

from __future__ import annotations

import os
from collections.abc import Collection
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from engines.backup.repository import segment
from engines.backup.repository.segment import Segment
from engines.backup.store.store import Store

if TYPE_CHECKING:
    import numpy as np

RANGE = 262144  # entries joined at a time; about 40 MiB with their copies


def merge(store: Store, repository: bytes, segments: list[Segment], present: Collection[bytes]) -> str | None:
    """A new index file of all entries whose packs are present, one for each place; None where nothing is left.

    The old files are deleted once the new one is durable.
    """
    packs = sorted({known for found in segments for known in found.packs} & set(present))
    most = sum(found.count for found in segments)
    name = f"index/{os.urandom(16).hex()}.idx"
    if packs:
        path = store.scratch(name)
        try:
            _build(path, repository, segments, packs, most)
            store.adopt(path, name)
        finally:
            path.unlink(missing_ok=True)
    for found in segments:
        try:
            store.delete(found.name)
        except FileNotFoundError:
            continue
    return name if packs else None


def _build(path: Any, repository: bytes, segments: list[Segment], packs: list[bytes], most: int) -> None:
    import numpy as np

    numbers = [_numbers(found, packs) for found in segments]
    keys_at = segment.SIZE + len(packs) * 16
    count = 0
    with path.open("xb") as keys, path.with_name(path.name + ".e").open("x+b") as entries:
        path.with_name(path.name + ".e").unlink()
        keys.write(bytes(segment.SIZE) + b"".join(packs))
        for low, high in _ranges(most):
            joined = _joined(segments, numbers, low, high)
            keys.write(np.ascontiguousarray(joined["id"]).view("<u8").reshape(-1, 4)[:, 0].tobytes())
            entries.write(joined.tobytes())
            count += len(joined)
        entries.seek(0)
        while part := entries.read(1 << 22):
            keys.write(part)
    assert path.stat().st_size == keys_at + count * (8 + segment.ENTRY.size)
    _sign(path, repository, len(packs), count)


def _numbers(found: Segment, packs: list[bytes]) -> np.ndarray[Any, Any]:
    """The new number of each of its packs, -1 where the pack is gone."""
    import numpy as np

    known = {pack: number for number, pack in enumerate(packs)}
    return np.array([known.get(pack, -1) for pack in found.packs] or [-1], dtype=np.int64)


def _ranges(most: int) -> list[tuple[int, int]]:
    """Ranges of keys [low, high) with about RANGE entries each; ids are evenly spread."""
    parts = max(1, -(-most // RANGE))
    edges = [(part << 64) // parts for part in range(parts)] + [1 << 64]
    return list(pairwise(edges))


def _joined(segments: list[Segment], numbers: list[Any], low: int, high: int) -> np.ndarray[Any, Any]:
    import numpy as np

    found = []
    for at, number in zip(segments, numbers, strict=True):
        keys = at.keys()
        first = int(np.searchsorted(keys, np.uint64(low)))
        last = len(keys) if high == 1 << 64 else int(np.searchsorted(keys, np.uint64(high)))
        rows = at.entries()[first:last].copy()
        rows["pack"] = np.minimum(rows["pack"], len(number) - 1)
        new = number[rows["pack"]]
        rows = rows[new >= 0]
        rows["pack"] = new[new >= 0]
        found.append(rows)
    rows = np.concatenate(found)
    ids = np.ascontiguousarray(rows["id"]).view("<u8").reshape(-1, 4)
    order = np.lexsort((rows["offset"], rows["pack"], ids[:, 3], ids[:, 2], ids[:, 1], ids[:, 0]))
    rows = rows[order]
    same = (rows["pack"][1:] == rows["pack"][:-1]) & (rows["offset"][1:] == rows["offset"][:-1])
    return rows[np.concatenate(([True], ~same))] if len(rows) else rows


def _sign(path: Any, repository: bytes, packs: int, count: int) -> None:
    import xxhash

    hasher = xxhash.xxh3_64()
    with path.open("r+b") as stream:
        stream.seek(segment.SIZE)
        while part := stream.read(1 << 22):
            hasher.update(part)
        stream.seek(0)
        stream.write(segment.header(repository, packs, count, hasher.intdigest()))
