"""The points that a run made, noted as each comes to be in the folder of the run that began it: what undo takes out."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.backup import names
from engines.backup.repository.point import Point
from engines.backup.store.store import Store

NOTE = "point.json"  # beside the journal of the run that began it


class MadePoints:
    """What is noted there, and what comes to it; a resumed run's points stand with those of the run that was killed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NOTE
        self._points = noted(folder)

    def add(self, point: Point) -> None:
        """Note it, now that it is there. Raises OSError."""
        if (name := str(point.name)) in self._points:
            return
        self._points[name] = None
        partial = self._path.with_name(f".{NOTE}.part")
        partial.write_bytes(msgspec.json.encode({"points": list(self._points)}))
        partial.replace(self._path)  # whole at any moment


def noted(folder: Path | None) -> dict[str, None]:
    """The points by name, in the order they were made."""
    note = folder / NOTE if folder else None
    if note is None or not note.exists():
        return {}
    return dict.fromkeys(msgspec.json.decode(note.read_bytes(), type=dict[str, list[str]])["points"])


def take_out(store: Store, points: dict[str, None]) -> list[str]:
    """Take them out until the next gc; those that were there. Raises OSError."""
    known = {names.parse(text).path(): text for text in points}
    done = store.rename_all([(path, names.parse(text).path("pruned")) for path, text in known.items()])
    return [known[path] for path in done]
