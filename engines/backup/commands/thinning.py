"""What a copy does there once its points are made: protection comes along, and what the rules do not keep goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.backup import names
from engines.backup.names import PointName
from engines.backup.repository import protected, sessions
from engines.backup.repository.repository import Repository
from engines.backup.store.opening import open_store
from engines.host.files import write_whole
from engines.job.contract import AnyEvent, Context, Log, Warned

NOTE = "thinned.json"  # beside the run's journal: what undo puts back
LONGEST = 1 << 16  # bytes of a protection


class ThinningNote(msgspec.Struct, frozen=True):
    """What a run did there: points that it took out, and by point that it protected what it wrote."""

    pruned: tuple[str, ...] = ()
    protected: dict[str, bytes] = {}


@dataclass(frozen=True)
class Thinned:
    """`go`: points of `target` that its rules do not keep. home: folder of the run that began it."""

    target: Repository
    home: Path
    go: tuple[PointName, ...] = ()

    def work(self, source: Repository, known: Sequence[PointName]) -> Iterator[AnyEvent]:
        """Protect there what is protected in `source`, then take out what goes."""
        pins = {pin for session in sessions.living(self.target.store) for pin in session.pins}
        going = [name for name in self.go if name.path() not in pins]
        for name in self.go:
            if name.path() in pins:
                yield Warned(text=f"{name} stays there: it is being used")
        new = self._to_protect(source, known)
        self._note(going, new)
        for name, said in new.items():
            self.target.store.put(name.path(protected.FOLDER), said)
            yield Log(text=f"{name} is protected there, too")
        self.target.store.rename_all([(name.path(), name.path("pruned")) for name in going])
        for name in going:
            yield Log(text=f"{name} is taken out there: the rules do not keep it")

    def _to_protect(self, source: Repository, known: Sequence[PointName]) -> dict[PointName, bytes]:
        """By point what its protection says."""
        there = set(self.target.names())
        new = protected.every(source) - protected.every(self.target)
        found = sorted(new & there & set(known))
        return {name: source.store.read(name.path(protected.FOLDER), 0, LONGEST) for name in found}

    def _note(self, going: Sequence[PointName], new: Mapping[PointName, bytes]) -> None:
        """Before anything is done; with what killed runs of this work did, which is put back, too."""
        before = _noted(self.home)
        note = ThinningNote(
            tuple(dict.fromkeys((*before.pruned, *map(str, going)))),
            before.protected | {str(name): said for name, said in new.items()},
        )
        write_whole(self.home / NOTE, msgspec.json.encode(note))


def put_back(place: str, context: Context) -> None:
    """Put back what the run and those that resumed it took out of the repository at `place`, unless gc has been there.

    What it protected is let go, unless somebody protected it anew.
    """
    note = _noted(context.earlier)
    if not note.pruned and not note.protected:
        return
    store = open_store(place)
    try:
        gone = [names.parse(text) for text in note.pruned]
        store.rename_all([(name.path("pruned"), name.path()) for name in gone])
        for text, said in note.protected.items():
            path = names.parse(text).path(protected.FOLDER)
            with contextlib.suppress(FileNotFoundError):
                if store.read(path, 0, LONGEST) == said:
                    store.delete(path)
    finally:
        store.close()


def _noted(folder: Path | None) -> ThinningNote:
    """What the run of that folder did."""
    note = folder / NOTE if folder else None
    if note is None or not note.exists():
        return ThinningNote()
    return msgspec.json.decode(note.read_bytes(), type=ThinningNote)
