"""Takes files out of a tree into a folder: each appears whole under its name or not at all, and nothing outside it."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

from engines.backup.errors import Damaged, Missing
from engines.backup.files import contents
from engines.backup.files.model import BrowseError
from engines.backup.files.selection import SelectedFile, Walk
from engines.backup.files.taking import carrying
from engines.backup.files.taking.destination import split
from engines.backup.files.taking.folders import SAME_NAME, Folders
from engines.backup.files.taking.landing import Landing
from engines.backup.files.taking.staging import FULL, Staged
from engines.job.contract import AnyEvent, Cancel, Progress, Warned

Steps = Generator[AnyEvent, str | None, None]
Twin = tuple[int, int, int, int, int, int]


@dataclass
class TakeCounts:
    """What was done so far; `bytes` of content."""

    files: int = 0
    folders: int = 0
    others: int = 0
    bytes: int = 0
    skipped: int = 0
    untaken: int = 0


class Taking:
    """One go over the chosen files; total: their weight, for the progress."""

    def __init__(self, walk: Walk, landing: Landing, total: int, cancel: Cancel) -> None:
        self.counts = TakeCounts()
        self._walk = walk
        self._destination = landing.destination
        self._staging = landing.staging
        self._conflicts = landing.conflicts
        self._wish = landing.wish
        self._notes = landing.notes
        self._total = total
        self._cancel = cancel
        self._done = 0
        self._twins: dict[Twin, Staged] = {}
        self._before = {taken.source: taken for taken in landing.staging.record.before}
        self.folders = Folders(landing, self._before)

    def run(self) -> Steps:
        """Take everything. Raises OSError where the destination is full, Stopped."""
        try:
            yield from self._all()
        except OSError as error:
            if error.errno in FULL:
                with suppress(OSError):  # what was written before the disk was full is whole
                    self._flush()
            raise

    def _all(self) -> Steps:
        for moment, entry in self._walk.moments(self.folders.pruned):
            self._cancel.check()
            if moment == "leave":
                self.folders.leave(entry)
            elif entry.node.is_folder:
                yield from self._folder(entry)
            else:
                yield from self._one(entry)
            if self._staging.due:
                self._flush()
            yield from self._warned()
        self._flush()
        yield from self._warned()
        yield from self._told(self._total)

    def _warned(self) -> Steps:
        for line in self._notes.fresh():
            yield Warned(text=line)

    def _folder(self, entry: SelectedFile) -> Steps:
        there = yield from self.folders.enter(entry)
        self.counts.folders += there
        self.counts.untaken += not there

    def _one(self, entry: SelectedFile) -> Steps:
        end = self._done + contents.weight(entry.node)
        try:
            yield from self._taken(entry, end)
        except (BrowseError, Damaged, Missing) as error:
            self._left_out(entry, f"cannot be read: {error.why}")
        except OSError as error:
            if error.errno in FULL:
                raise
            self._left_out(entry, f"cannot be written here: {error.strerror}")
        except (ValueError, OverflowError, struct.error) as error:  # what no sound file has, such as a NUL in a link
            self._left_out(entry, f"cannot be made here: {error}")
        yield from self._told(end)

    def _left_out(self, entry: SelectedFile, why: str) -> None:
        self.counts.untaken += 1
        self._notes(entry.source, why)

    def _told(self, done: int) -> Steps:
        before, self._done = self._done, min(done, self._total)
        if self._done > before:
            yield Progress(done=self._done, total=self._total)

    def _taken(self, entry: SelectedFile, end: int) -> Steps:
        self.folders.above(split(self.folders.place(entry))[0])
        if self._already(entry):
            return
        allowed = yield from self._vetted(entry, self.folders.place(entry))
        if allowed is None:
            return
        place, replace = allowed
        node = entry.node
        if node.is_file:
            if not self._linked(entry, place, replace=replace):
                yield from self._written(entry, place, end, replace=replace)
        elif not stat.S_IFMT(node.mode):
            self._left_out(entry, "is not taken: its inode is damaged")
        elif node.is_link or self._wish.special:
            self._made(entry, place, replace=replace)
        else:
            self._left_out(entry, f"is a {_kind(node.mode)}, and is not made (--special --owner makes it)")

    def _already(self, entry: SelectedFile) -> bool:
        """Whether an earlier go of this run took it."""
        before = self._before.get(entry.source)
        found = self._destination.seen(before.place) if before and before.kind != "folder" else None
        if not before or not found or not before.is_still(found):
            return False
        staged = Staged(entry, before.place, before.place, False, before.kind, before.inode, before.size, before.mtime)
        self._count(staged)
        self._follow(entry, staged)
        return True

    def _vetted(self, entry: SelectedFile, place: bytes) -> Generator[AnyEvent, str | None, tuple[bytes, bool] | None]:
        """Where it goes and whether that replaces something; None where it is left out."""
        found = self._destination.seen(place)
        if found is None:
            return place, False
        folder, twin = stat.S_ISDIR(found.st_mode), self.folders.is_twin(place, found)
        what = SAME_NAME if twin else f"a {_kind(found.st_mode)} of that name is there already"
        verdict = yield from self._conflicts.verdict(place, what)
        if verdict == "rename":
            return self._conflicts.beside(self._destination, place), False
        if verdict == "overwrite" and not folder and not twin:
            return place, True
        self.counts.skipped += 1
        if folder or twin or self._conflicts.refuses:
            self._notes(entry.source, f"is not taken: {what}")
        return None

    def _linked(self, entry: SelectedFile, place: bytes, *, replace: bool) -> bool:
        """Whether it is another name of a file that was taken, and became one here."""
        first = self._twins.get(_twin(entry)) if entry.node.links > 1 else None
        if first is None or not first.at:
            return False
        above, origin = split(first.at)
        name = self._staging.fresh()
        source = os.dup(self._destination.folder(above))
        try:
            os.link(origin, name, src_dir_fd=source, dst_dir_fd=self._staging.folder(), follow_symlinks=False)
        except OSError as error:
            self._notes(entry.source, f"is a copy here, not a hard link: {error.strerror}")
            return False
        finally:
            os.close(source)
        if not first.taken().is_still(self._staging.seen(name)):  # somebody put another file there, or wrote to it
            self._staging.discard(name)
            return False
        self._staging.add(entry, name, place, replace=replace)
        return True

    def _written(self, entry: SelectedFile, place: bytes, end: int, *, replace: bool) -> Steps:
        assert entry.volume is not None
        name, descriptor = self._staging.open()
        try:
            for count in contents.write(descriptor, entry.volume, entry.inner, entry.node, self._cancel):
                self.counts.bytes += count
                yield from self._told(min(self._done + count, end))
            carrying.onto(descriptor, entry, self._wish, self._notes)
        except BaseException:
            self._staging.discard(name)
            raise
        finally:
            os.close(descriptor)
        self._follow(entry, self._staging.add(entry, name, place, replace=replace))

    def _made(self, entry: SelectedFile, place: bytes, *, replace: bool) -> None:
        """A symbolic link as it is stored, or a special file."""
        node, name = entry.node, self._staging.fresh()
        assert entry.volume is not None
        folder = self._staging.folder()
        if node.is_link:
            os.symlink(node.link or entry.volume.stat(entry.inner).link, name, dir_fd=folder)
        else:
            os.mknod(name, stat.S_IFMT(node.mode) | 0o600, os.makedev(*node.device), dir_fd=folder)
        carrying.onto_name(folder, name, entry, self._wish, self._notes)
        self._staging.add(entry, name, place, replace=replace)

    def _follow(self, entry: SelectedFile, staged: Staged) -> None:
        if entry.node.links > 1:
            self._twins[_twin(entry)] = staged

    def _flush(self) -> None:
        for staged in self._staging.flush():
            try:
                self._put(staged)
            except OSError as error:
                if error.errno in FULL:
                    raise
                exists = isinstance(error, FileExistsError)
                why = f"a file of that name came up, or {SAME_NAME}" if exists else error.strerror
                self._left_out(staged.entry, f"cannot be put in place: {why}")
                self._staging.discard(split(staged.at)[1])
                staged.at = b""

    def _put(self, staged: Staged) -> None:
        try:
            self._destination.place(staged.at, staged.place, replace=staged.replace)
        except FileExistsError:
            if not self._conflicts.keeps_both:
                raise
            staged.place = self._conflicts.beside(self._destination, staged.place)
            self._staging.record.add([staged.taken()], durable=True)
            self._destination.place(staged.at, staged.place, replace=False)
        if staged.replace:
            self._staging.discard(split(staged.at)[1])  # a rename onto its own hard link leaves both
        staged.at = staged.place
        self._count(staged)

    def _count(self, staged: Staged) -> None:
        self.folders.remember(staged.place, staged.inode)
        if staged.kind == "file":
            self.counts.files += 1
        else:
            self.counts.others += 1


def _twin(entry: SelectedFile) -> Twin:
    """What all names of one file have in common; the inode alone is not enough where volumes hold volumes (btrfs)."""
    node = entry.node
    return id(entry.volume), node.inode, node.size, node.mtime, node.ctime, node.links


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFREG: "file",
        stat.S_IFLNK: "link",
        stat.S_IFBLK: "device node",
        stat.S_IFCHR: "device node",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
    }
    return kinds.get(stat.S_IFMT(mode), "file of an unknown kind")
