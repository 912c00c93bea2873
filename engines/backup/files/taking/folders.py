"""The folders of a destination while they are filled: made closed, given their mode and times once nothing follows."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from dataclasses import dataclass, field

from engines.backup.files.selection import SelectedFile
from engines.backup.files.taking import carrying
from engines.backup.files.taking.destination import split
from engines.backup.files.taking.landing import Landing
from engines.backup.files.taking.record import TakenFile
from engines.backup.files.taking.staging import FULL
from engines.job.contract import AnyEvent

SAME_NAME = "this disk takes its name for that of another file"


@dataclass
class _Folder:
    """A folder that is being filled: whether this run made it, and the inodes that it put there."""

    made: bool
    inodes: set[int] = field(default_factory=set)


class Folders:
    """Where each goes. pruned: places that are left out, with all below. before: by source, what was taken before."""

    def __init__(self, landing: Landing, before: dict[bytes, TakenFile]) -> None:
        self.pruned: set[bytes] = set()
        self._destination = landing.destination
        self._staging = landing.staging
        self._conflicts = landing.conflicts
        self._wish = landing.wish
        self._notes = landing.notes
        self._before = before
        self._folders: dict[bytes, _Folder] = {b"": _Folder(landing.made)}
        self._moved: dict[bytes, bytes] = {}
        self._root: SelectedFile | None = None

    def place(self, entry: SelectedFile) -> bytes:
        """Where it goes below the destination, as far as the folders above it were renamed."""
        above, name = split(entry.place)
        above = self._moved.get(above, above)
        return above + b"/" + name if above else name

    def enter(self, entry: SelectedFile) -> Generator[AnyEvent, str | None, bool]:
        """Have the folder there; whether it is. Raises OSError where the disk is full."""
        if not entry.place:
            self._root = entry
            return True
        try:
            place = yield from self._folder(entry, self.place(entry))
        except OSError as error:
            if error.errno in FULL:
                raise
            self._notes(entry.source, f"cannot be made here: {error.strerror}")
            place = None
        if place is None:
            self.pruned.add(entry.place)
            return False
        if place != entry.place:
            self._moved[entry.place] = place
        return True

    def _folder(self, entry: SelectedFile, place: bytes) -> Generator[AnyEvent, str | None, bytes | None]:
        """The folder's real place, there now; None where it is left out."""
        self.above(split(place)[0])
        before = self._before.get(entry.source)
        if before and before.kind == "folder" and self._is_folder(before.place):
            return self._ours(before.place)
        found = self._destination.seen(place)
        if found and stat.S_ISDIR(found.st_mode) and not self.is_twin(place, found) and place != self._staging.name:
            self._folders[place] = _Folder(made=False)
            return place
        if found:
            what = "what is there already is no folder" if not stat.S_ISDIR(found.st_mode) else SAME_NAME
            verdict = yield from self._conflicts.verdict(place, what)
            if verdict == "rename":
                place = self._conflicts.beside(self._destination, place)
            elif verdict == "overwrite" and not self.is_twin(place, found) and not stat.S_ISDIR(found.st_mode):
                self._destination.remove(place)
            else:
                self._notes(entry.source, f"is not taken: {what}")
                return None
        self._staging.record.add([TakenFile("folder", 0, 0, 0, entry.source, place)], durable=False)
        self._destination.make(place)
        return self._ours(place)

    def _is_folder(self, place: bytes) -> bool:
        found = self._destination.seen(place)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def _ours(self, place: bytes) -> bytes:
        self._folders[place] = _Folder(made=True)
        self.remember(place, os.fstat(self._destination.folder(place)).st_ino)
        return place

    def above(self, place: bytes) -> None:
        """Make the folders above a chosen one (--parents), plain ones."""
        if not place or place in self._folders:
            return
        self.above(split(place)[0])
        made = self._destination.seen(place) is None
        if made:
            self._staging.record.add([TakenFile("folder", 0, 0, 0, b"/" + place, place)], durable=False)
            self._destination.make(place)
            os.fchmod(self._destination.folder(place), 0o755)
        self._folders[place] = _Folder(made)

    def leave(self, entry: SelectedFile) -> None:
        """Nothing more comes into it; what is staged for it still does."""
        if not entry.place:
            return
        place = self._moved.pop(entry.place, self.place(entry))

        def finish() -> None:
            if self._folders.pop(place, _Folder(made=False)).made:
                try:
                    carrying.onto(self._destination.folder(place), entry, self._wish, self._notes)
                except OSError as error:
                    if error.errno in FULL:
                        raise
                    self._notes(entry.source, f"is not finished here, its mode and times are missing: {error.strerror}")
            self._destination.forget(place)

        self._staging.after(finish)

    def remember(self, place: bytes, inode: int) -> None:
        """A file that is there now is this run's own."""
        above = self._folders.get(split(place)[0])
        if above:
            above.inodes.add(inode)

    def is_twin(self, place: bytes, found: os.stat_result) -> bool:
        """Whether it is this run that put it there: a disk that takes two names for one."""
        above = self._folders.get(split(place)[0])
        return above is not None and found.st_ino in above.inodes

    def finish(self) -> None:
        """Give the destination itself what its source has, once nothing is put into it any more."""
        if self._root and self._folders[b""].made:
            carrying.onto(self._destination.folder(b""), self._root, self._wish, self._notes)
