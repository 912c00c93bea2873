"""The points that a run made, noted as each comes to be in the folder of the run that began it: what undo takes out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from engines.backup import names
from engines.backup.repository.point import Head, Point
from engines.backup.repository.repository import Repository
from engines.backup.store.store import Store
from engines.host.files import write_whole

NOTE = "point.json"  # beside the journal of the run that began it


class MadePoints:
    """What is noted there, and what comes to it; a resumed run's points stand with those of the run that was killed.

    session: whose points are made from now on, noted at once: a kill may come before one of them is. Raises OSError.
    """

    def __init__(self, folder: Path, session: str = "") -> None:
        self._path = folder / NOTE
        self._points = noted(folder)
        self._sessions = _sessions(folder)
        if session:
            self._sessions.append(session)
            self._write()

    def add(self, point: Point) -> None:
        """Note it, now that it is there. Raises OSError."""
        if (name := str(point.name)) in self._points:
            return
        self._points[name] = None
        self._write()

    def _write(self) -> None:
        write_whole(self._path, msgspec.json.encode({"points": list(self._points), "sessions": self._sessions}))


def noted(folder: Path | None) -> dict[str, None]:
    """The points by name, in the order they were made."""
    return dict.fromkeys(_read(folder).get("points", []))


def unnoted(repository: Repository, folder: Path | None, disks: Iterable[tuple[str, str]]) -> dict[str, None]:
    """Points of those (VM, disk) that the run made and was killed before it could note them."""
    sessions = _sessions(folder)
    if not sessions:
        return {}
    heads = repository.heads([name for vm, disk in disks for name in repository.disks(vm, disk)])
    return {str(name): None for name, head in heads.items() if isinstance(head, Head) and head.session in sessions}


def begun(folder: Path | None) -> bool:
    """Whether the run came so far that it may have made a point without a note."""
    return bool(_sessions(folder))


def _sessions(folder: Path | None) -> list[str]:
    return _read(folder).get("sessions", [])


def _read(folder: Path | None) -> dict[str, list[str]]:
    note = folder / NOTE if folder else None
    if note is None or not note.exists():
        return {}
    return msgspec.json.decode(note.read_bytes(), type=dict[str, list[str]])


def take_out(store: Store, points: dict[str, None]) -> list[str]:
    """Take them out until the next gc; those that were there. Raises OSError."""
    known = {names.parse(text).path(): text for text in points}
    done = store.rename_all([(path, names.parse(text).path("pruned")) for path, text in known.items()])
    return [known[path] for path in done]
