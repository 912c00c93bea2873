"""What verifies found, kept so that a list can say when a point was last proven whole."""

from __future__ import annotations

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
    for name in sorted(store.names("verified")):
        try:
            found = msgspec.json.decode(store.read(name, 0, 1 << 26), type=VerifyNote)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            continue
        seen |= dict.fromkeys(found.points, found.time)
    return seen
