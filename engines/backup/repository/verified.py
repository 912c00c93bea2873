"""What verifies found, kept so that a list can say when a point was last proven whole.

Whoever notes something writes a file of its own: nothing is read to be written back, so that two at once lose nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec

from engines.backup.names import stamp
from engines.backup.store.store import Store

KEPT = 12  # verifies
LONGEST = 1 << 26  # bytes of a file


class VerifyNote(msgspec.Struct, frozen=True, kw_only=True):
    """One verify of every byte: its time, and the points that were whole, or names that they have since."""

    time: str
    points: tuple[str, ...]


def put(store: Store, at: float, points: tuple[str, ...]) -> None:
    """Note a verify of every byte; those before the last ones are forgotten."""
    _put(store, VerifyNote(time=stamp(at), points=points))
    names = list(store.names("verified"))
    kept = sorted({_time(name) for name in names})[-KEPT:]
    for name in names:
        if _time(name) not in kept and name.endswith(".json"):
            with suppress(FileNotFoundError):  # another verify was first
                store.delete(name)


def last_verified(store: Store) -> dict[str, str]:
    """By point: when a verify last found it whole."""
    seen: dict[str, str] = {}
    for found in sorted(_notes(store), key=lambda note: note.time):
        seen |= dict.fromkeys(found.points, found.time)
    return seen


def also(store: Store, names: Mapping[str, str]) -> None:
    """Points go by other names as well: theirs by the name that is known."""
    notes = list(_notes(store))
    for time in sorted({note.time for note in notes}):
        known = {point for note in notes if note.time == time for point in note.points}
        new = sorted(names[point] for point in known & names.keys() if names[point] not in known)
        if new:
            _put(store, VerifyNote(time=time, points=tuple(new)))


def _put(store: Store, note: VerifyNote) -> None:
    store.put(f"verified/{note.time}-{os.urandom(4).hex()}.json", msgspec.json.encode(note))


def _time(name: str) -> str:
    """When the verify of a file was; those of former versions are called by that alone."""
    return name.removeprefix("verified/").removesuffix(".json").partition("-")[0]


def _notes(store: Store) -> Iterator[VerifyNote]:
    """Those that can be read."""
    for _, content in store.read_all(sorted(store.names("verified")), LONGEST):
        if not isinstance(content, OSError):
            with suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                yield msgspec.json.decode(content, type=VerifyNote)
