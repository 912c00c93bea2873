"""What verifies found, kept so that a list can say when a point was last proven whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """Note a verify of every byte."""
    found = VerifyNote(time=stamp(at), points=points)
    store.put(f"verified/{found.time}.json", msgspec.json.encode(found))
    for name in sorted(store.names("verified"))[:-KEPT]:
        store.delete(name)


def last_verified(store: Store) -> dict[str, str]:
    """By point: when a verify last found it whole."""
    seen: dict[str, str] = {}
    for _, found in _every(store):
        seen |= dict.fromkeys(found.points, found.time)
    return seen


def also(store: Store, names: Mapping[str, str]) -> None:
    """Points go by other names as well: theirs by the name that is known."""
    for path, found in list(_every(store)):
        new = [names[name] for name in found.points if name in names and names[name] not in found.points]
        if new:
            store.put(path, msgspec.json.encode(msgspec.structs.replace(found, points=(*found.points, *new))))


def _every(store: Store) -> Iterator[tuple[str, VerifyNote]]:
    for name in sorted(store.names("verified")):
        with suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            yield name, msgspec.json.decode(store.read(name, 0, 1 << 26), type=VerifyNote)
