"""What verifies found, kept so that a list can say when a point was last proven whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import msgspec

from engines.backup.names import stamp
from engines.backup.store.store import Store

KEPT = 12  # files


class VerifyNote(msgspec.Struct, frozen=True, kw_only=True):
    """One verify of every byte: its time, and the points that were whole."""

    time: str
    points: tuple[str, ...]


def put(store: Store, at: float, points: tuple[str, ...]) -> None:
    """Note a verify of every byte; another of the same second keeps what it said."""
    path = f"verified/{stamp(at)}.json"
    before = [point for _, note in _notes(store, [path]) for point in note.points]
    found = VerifyNote(time=stamp(at), points=tuple(dict.fromkeys((*before, *points))))
    store.put(path, msgspec.json.encode(found))
    for name in sorted(store.names("verified"))[:-KEPT]:
        store.delete(name)


def last_verified(store: Store) -> dict[str, str]:
    """By point: when a verify last found it whole."""
    seen: dict[str, str] = {}
    for _, found in _notes(store, sorted(store.names("verified"))):
        seen |= dict.fromkeys(found.points, found.time)
    return seen


def also(store: Store, names: Mapping[str, str]) -> None:
    """Points go by other names as well: theirs by the name that is known."""
    for path, found in list(_notes(store, sorted(store.names("verified")))):
        new = [names[name] for name in found.points if name in names and names[name] not in found.points]
        if new:
            store.put(path, msgspec.json.encode(msgspec.structs.replace(found, points=(*found.points, *new))))


def _notes(store: Store, paths: Iterable[str]) -> Iterator[tuple[str, VerifyNote]]:
    """Those that can be read, with their paths."""
    for name in paths:
        with suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            yield name, msgspec.json.decode(store.read(name, 0, 1 << 26), type=VerifyNote)
