"""Which packs of a far repository were seen to be whole: a cache here, so that a morning asks only for the others."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from engines.backup.repository.repository import Repository
from engines.host.files import write_whole
from engines.job import folders
from engines.job.errors import Refused

ENTRY = struct.Struct("<16sQ")  # a pack, and its bytes
CHECK = 16  # bytes behind the entries
TURNS = 8  # days within which each pack is asked for once more
MOST = 1 << 26  # bytes of the file; packs of 700 TB

Ends = dict[tuple[bytes, int], bool]


def known(repository: Repository) -> Ends:
    """True by (pack, bytes) of those that need not be asked for today; packs never change under their name."""
    if repository.store.at_once < 2:
        return {}
    try:
        with _path(repository).open("rb") as stream:
            raw = stream.read(MOST)
    except (OSError, Refused):
        return {}
    entries, check = raw[:-CHECK], raw[-CHECK:]
    if len(entries) % ENTRY.size or _check(entries) != check:
        return {}
    today = int(time.time() // 86400) % TURNS
    return {(pack, size): True for pack, size in ENTRY.iter_unpack(entries) if pack[0] % TURNS != today}


def keep(repository: Repository, ends: Ends, present: Iterable[bytes]) -> None:
    """Remember those that are whole, of packs that are there; a cache that cannot be written costs the next look."""
    if repository.store.at_once < 2:
        return
    there = set(present)
    whole = sorted(one for one, found in ends.items() if found and one[0] in there)
    entries = b"".join(ENTRY.pack(*one) for one in whole)
    with suppress(OSError, Refused):
        path = _path(repository)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, entries + _check(entries))


def _path(repository: Repository) -> Path:
    """By place, too: a copy of a repository has its own packs of the same names."""
    name = hashlib.sha256(f"{repository.config.id} {repository.store.where}".encode()).hexdigest()[:32]
    return folders.cache("proven") / name


def _check(entries: bytes) -> bytes:
    return hashlib.blake2b(entries, digest_size=CHECK).digest()
