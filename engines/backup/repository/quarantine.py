"""Records that were found damaged: never used again, and stored anew by the next backup that sees their content."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from engines.backup.repository.pack import RecordPlace
from engines.backup.store.store import Store

FILE = re.compile(r"^quarantine/([0-9a-f]{32})-([0-9]{1,10})\.json$")


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """One damaged record. `points` are those that need it."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    kind: int
    pack: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    offset: int
    why: str
    found: str
    points: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Its file."""
        return f"quarantine/{self.pack}-{self.offset}.json"


def put(store: Store, place: RecordPlace, why: str, points: tuple[str, ...] = ()) -> Bad:
    """Take a place out of use."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    bad = Bad(
        id=place.id.hex(),
        kind=place.kind,
        pack=place.pack.hex(),
        offset=place.offset,
        why=why,
        found=now,
        points=points,
    )
    store.put(bad.path, msgspec.json.encode(bad))
    return bad


def end(store: Store, place: RecordPlace) -> None:
    """Take a place back into use."""
    with contextlib.suppress(FileNotFoundError):
        store.delete(f"quarantine/{place.pack.hex()}-{place.offset}.json")


def also(store: Store, names: Mapping[str, str]) -> None:
    """Points that need a damaged record go by other names as well: theirs by the name that is known."""
    for bad in every(store):
        new = [names[name] for name in bad.points if name in names and names[name] not in bad.points]
        if new and bad.path in set(store.names("quarantine")):  # a verify may have ended it since it was read
            store.put(bad.path, msgspec.json.encode(msgspec.structs.replace(bad, points=(*bad.points, *new))))


def places(store: Store) -> frozenset[tuple[bytes, int]]:
    """(pack, offset) of every record that is out of use; the file names alone say it."""
    found = (FILE.match(name) for name in store.names("quarantine"))
    return frozenset((bytes.fromhex(match[1]), int(match[2])) for match in found if match)


def every(store: Store) -> Iterator[Bad]:
    """All of them; a file that cannot be read still takes its place out of use, but tells nothing."""
    for _, content in store.read_all(store.names("quarantine"), 1 << 20):
        if not isinstance(content, OSError):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                yield msgspec.json.decode(content, type=Bad)
