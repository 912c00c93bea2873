"""An index as a large repository has it, without the repository."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from engines.backup.repository import segment
from engines.backup.repository.repository import Repository


def simulate(repo: Path, *, entries: int, packs: int) -> None:
    """One index file of that many blocks in that many packs, which are there and empty."""
    repository = Repository.open(str(repo))
    owners = [os.urandom(16) for _ in range(packs)]
    (repo / "packs").mkdir(exist_ok=True)
    (repo / "index").mkdir(exist_ok=True)
    for owner in owners:
        (repo / "packs" / f"{owner.hex()}.pack").touch()
    rng = np.random.default_rng(1)
    keys = np.sort(rng.integers(0, 1 << 64, entries, dtype=np.uint64))
    path = repo / "index" / f"{os.urandom(16).hex()}.idx"
    with path.open("wb") as stream:
        stream.write(bytes(segment.SIZE) + b"".join(owners))
        stream.write(keys.tobytes())
        for low in range(0, entries, 1 << 18):
            part = keys[low : low + (1 << 18)]
            rows = np.zeros(len(part), dtype=np.dtype(segment.FIELDS))
            ids = rng.integers(0, 1 << 64, (len(part), 4), dtype=np.uint64)
            ids[:, 0] = part
            rows["id"] = ids.view("V32").reshape(-1)
            rows["pack"] = rng.integers(0, packs, len(part))
            rows["offset"], rows["stored"], rows["length"], rows["kind"] = 64, 600_000, 1 << 20, 1
            stream.write(rows.tobytes())
    sign(path, repository.id, packs, entries)


def sign(path: Path, repository: bytes, packs: int, count: int) -> None:
    """Give an index file the header that fits its body."""
    import xxhash

    hasher = xxhash.xxh3_64()
    with path.open("r+b") as stream:
        stream.seek(segment.SIZE)
        while part := stream.read(1 << 24):
            hasher.update(part)
        stream.seek(0)
        stream.write(segment.header(repository, packs, count, hasher.intdigest()))
