"""What a copy does there once its points are made: protection comes along, and what the rules do not keep goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.backup import names
from engines.backup.names import PointName
from engines.backup.repository import protected, sessions
from engines.backup.repository.repository import Repository
from engines.backup.store.opening import open_store
from engines.job.contract import AnyEvent, Context, Log, Warned

NOTE = "thinned.json"  # beside the run's journal: what undo puts back
LONGEST = 1 << 16  # bytes of a protection


@dataclass(frozen=True)
class Thinned:
    """`go`: points of `target` that its rules do not keep. folder: of the run; earlier: of the one it goes on with."""

    target: Repository
    folder: Path
    earlier: Path | None = None
    go: tuple[PointName, ...] = ()

    def work(self, source: Repository, known: Sequence[PointName]) -> Iterator[AnyEvent]:
        """Protect there what is protected in `source`, then take out what goes."""
        yield from self._protect(source, known)
        pins = {pin for session in sessions.living(self.target.store) for pin in session.pins}
        going = [name for name in self.go if name.path() not in pins]
        for name in self.go:
            if name.path() in pins:
                yield Warned(text=f"{name} stays there: it is being used")
        said = [*_noted(self.earlier), *(str(name) for name in going)]  # a killed run's are put back, too
        self.folder.joinpath(NOTE).write_bytes(msgspec.json.encode({"pruned": said}))
        self.target.store.rename_all([(name.path(), name.path("pruned")) for name in going])
        for name in going:
            yield Log(text=f"{name} is taken out there: the rules do not keep it")

    def _protect(self, source: Repository, known: Sequence[PointName]) -> Iterator[AnyEvent]:
        there = set(self.target.names())
        new = protected.every(source) - protected.every(self.target)
        for name in sorted(new & there & set(known)):
            said = source.store.read(name.path(protected.FOLDER), 0, LONGEST)
            self.target.store.put(name.path(protected.FOLDER), said)
            yield Log(text=f"{name} is protected there, too")


def put_back(place: str, context: Context) -> None:
    """Put back what the earlier run took out of the repository at `place`, as far as gc has not been there."""
    gone = [names.parse(text) for text in _noted(context.earlier)]
    if not gone:
        return
    store = open_store(place)
    try:
        store.rename_all([(name.path("pruned"), name.path()) for name in gone])
    finally:
        store.close()


def _noted(folder: Path | None) -> list[str]:
    """What the run of that folder took out."""
    note = folder / NOTE if folder else None
    if note is None or not note.exists():
        return []
    return msgspec.json.decode(note.read_bytes(), type=dict[str, list[str]])["pruned"]
