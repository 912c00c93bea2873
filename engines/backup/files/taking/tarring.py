"""The run of `backup get --tar`: one archive, to a file that appears whole, or to stdout."""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os.path import samestat
from pathlib import Path
from typing import Any, BinaryIO

from engines.backup.errors import Damaged, Missing
from engines.backup.files import contents
from engines.backup.files.contents import weight
from engines.backup.files.globs import expanded
from engines.backup.files.model import BrowseError
from engines.backup.files.pax import Archive, Member, Spans, holds
from engines.backup.files.reach import opened, path_of
from engines.backup.files.selection import SelectedFile, Walk, places
from engines.backup.files.taking import carrying
from engines.backup.files.taking.carrying import CarryOptions
from engines.backup.files.taking.counting import counted
from engines.backup.files.taking.destination import Destination
from engines.backup.files.taking.notes import Notes
from engines.backup.names import parse
from engines.backup.new_place import refuse_place
from engines.backup.repository import sessions, unlocking
from engines.backup.repository.repository import Repository
from engines.host.files import content_stamp
from engines.job import units
from engines.job.contract import (
    Cancel,
    Context,
    Events,
    Finished,
    Plan,
    Progress,
    Section,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Failed, Refused, Stopped

STDOUT = "-"
OWN = "archive.stamp"  # in the run's folder
BUFFER = 1024 * 1024  # bytes


def looked_at(dest: Path) -> dict[str, Any]:
    """What is there now. Raises Refused."""
    if str(dest) == STDOUT:
        if sys.stdout is not None and sys.stdout.isatty():
            raise Refused("stdout is a terminal, an archive is no text", "name a file, or pipe it into another command")
        return {"folder": False, "file": False, "room": None}
    refuse_place(str(dest), "an archive")
    if dest.is_dir():
        raise Refused(f"{dest} is a folder", "name the archive's file; for a folder leave --tar")
    if not dest.parent.is_dir():
        raise Refused(f"{dest.parent} does not exist", "make it first, or name another file")
    found = os.statvfs(dest.parent)
    return {"folder": False, "file": dest.exists(), "room": found.f_bavail * found.f_frsize}


def performed(plan: Plan, context: Context) -> Events:
    """Write the archive. Raises Failed, Stopped."""
    params, name = plan.params, parse(plan.params.paths[0].partition(":")[0])
    yield StepStarted(step="look")
    repository = yield from unlocking.opened(params, context)
    notes = Notes(context.folder / "notes.txt")
    with opened(repository, name, params.driver, does=f"get from {name}", cancel=context.cancel) as tree:
        named = [path_of(text.partition(":")[2]) for text in params.paths]
        there = places(expanded(tree, named, notes.unlisted), parents=params.parents)
        total = plan.detail["weight"]
        if not plan.detail["counted"]:
            total = counted(Walk(tree, there), None, context.cancel).weight
        yield StepEnded(step="look")
        yield StepStarted(step="write")
        with _output(Path(plan.target), context, replace=bool(plan.confirm)) as stream:
            packing = Packing(
                Archive(stream.write), CarryOptions(owner=True, special=params.special), notes, total, context.cancel
            )
            yield from packing.run(Walk(tree, there, notes))
            yield StepEnded(step="write")
            yield StepStarted(step="flush")
        yield StepEnded(step="flush")
    for line in notes.last():
        yield Warned(text=line)
    sections = (Section(title="What did not come along", text=notes.text()),) if notes.total else ()
    result = {"files": packing.files, "bytes": packing.bytes, "notes": notes.lines}
    yield Finished(
        summary=f"{packing.files} files, {units.size(packing.bytes)} are in {plan.target}",
        result=result,
        sections=sections,
    )


@contextmanager
def _output(path: Path, context: Context, *, replace: bool) -> Iterator[BinaryIO]:
    """Where the archive goes; a file appears under its name once it is whole and on the disk."""
    try:
        if str(path) == STDOUT:
            with _stdout(context) as stream:
                yield stream
            return
        with _grown(path) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if not _is_at(_partial(path), stream):
                raise Failed(f"{_partial(path)} is another file by now", "see who else writes there, and start again")
            replace = replace or _is_ours(path, context)  # put there by the run that is taken up
            _sign(path, context)
            _put(path, replace=replace)
    except (Stopped, GeneratorExit):
        raise Stopped() from None
    except BrokenPipeError:
        raise Failed("whoever read the archive has gone", "start it again") from None
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}", "make room there, or name another file") from None


@contextmanager
def _grown(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path`; it goes afterwards where it still has that name, and one of another run stays."""
    partial = _partial(path)
    partial.unlink(missing_ok=True)  # of a run that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(partial, flags, 0o600), "wb", BUFFER) as stream:
        try:
            yield stream
        finally:
            with suppress(OSError):
                if _is_at(partial, stream):
                    partial.unlink()


def _is_at(partial: Path, stream: BinaryIO) -> bool:
    """Whether it is still the file of that name: a run of another user or host may write to the same one."""
    try:
        return samestat(partial.lstat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.getting")


def _sign(path: Path, context: Context) -> None:
    """Note which file is this run's own before it appears; a full state disk costs the undo, not the archive."""
    with suppress(OSError):
        (context.home / OWN).write_text(content_stamp(_partial(path).stat()))


def _is_ours(path: Path, context: Context) -> bool:
    """Whether the archive that is there is what this run put there."""
    try:
        return (context.home / OWN).read_text() == content_stamp(path.stat())
    except OSError:
        return False


def _drop(path: Path) -> None:
    with suppress(OSError):
        _partial(path).unlink()


def _put(path: Path, *, replace: bool) -> None:
    folder = Destination(path.parent)
    try:
        folder.place(os.fsencode(_partial(path).name), os.fsencode(path.name), replace=replace)
        folder.flush()
    finally:
        folder.close()


@contextmanager
def _stdout(context: Context) -> Iterator[BinaryIO]:
    """Stdout for the archive alone: what else is told there goes to stderr from now on."""
    if Path("/proc/self/fd/1").resolve().parent == context.folder.resolve():
        raise Refused("a run in a session of its own has no stdout", "name a file, or leave --detach")
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "wb", BUFFER) as stream:
        os.dup2(2, 1)
        yield stream


class Packing:
    """Goes over the files and writes each."""

    def __init__(self, archive: Archive, wish: CarryOptions, notes: Notes, total: int, cancel: Cancel) -> None:
        self.files = 0
        self.bytes = 0
        self._archive = archive
        self._wish = wish
        self._notes = notes
        self._total = total
        self._cancel = cancel
        self._done = 0
        self._twins: dict[tuple[int, int, int, int, int, int], bytes] = {}

    def run(self, walk: Walk) -> Events:
        """All of them, and the end mark."""
        for entry in walk.entries():
            self._cancel.check()
            end = self._done + weight(entry.node)
            try:
                yield from self._one(entry, end)
            except (BrowseError, Damaged, Missing) as error:
                self._notes(entry.source, f"is not whole in the archive: {error.why}")
            except (ValueError, OverflowError, struct.error) as error:  # what no sound file has
                self._notes(entry.source, f"is not in the archive: {error}")
            for line in self._notes.fresh():
                yield Warned(text=line)
            yield from self._told(end)
        self._archive.end()

    def _told(self, done: int) -> Events:
        before, self._done = self._done, min(done, self._total)
        if self._done > before:
            yield Progress(done=self._done, total=self._total)

    def _one(self, entry: SelectedFile, end: int) -> Events:
        node = entry.node
        if not stat.S_IFMT(node.mode):
            self._notes(entry.source, "is not taken: its inode is damaged")
            return
        plain = node.is_folder or node.is_file or node.is_link
        if not holds(node) or (not plain and not self._wish.special):
            self._notes(entry.source, "is a special file, and is left out (--special takes all but sockets)")
            return
        if node.is_link and not node.link and entry.volume:
            node = entry.volume.stat(entry.inner)
        if b"\0" in node.link:
            self._notes(entry.source, "is not in the archive: its target holds a NUL, which no link can")
            return
        name, mode = entry.place or b".", carrying.mode_of(entry, self._wish, self._notes)
        key = (id(entry.volume), node.inode, node.size, node.mtime, node.ctime, node.links)
        twin = self._twins.get(key, b"") if node.links > 1 and not node.is_folder else b""
        self.files += not node.is_folder
        member = Member(name, node, mode, {} if twin else self._attributes(entry), twin)
        if twin or not node.is_file:
            self._archive.head(member)
        else:
            yield from self._content(entry, member, end)
        self._twins.setdefault(key, name)

    def _attributes(self, entry: SelectedFile) -> dict[bytes, bytes]:
        found = carrying.attributes_of(entry, self._notes)
        return {name: value for name, value in found.items() if not carrying.withheld(name, self._wish)}

    def _content(self, entry: SelectedFile, member: Member, end: int) -> Events:
        assert entry.volume is not None
        node, volume = entry.node, entry.volume

        def read(spans: Spans) -> Iterator[tuple[int, bytes]]:
            return contents.pieces(volume, entry.inner, spans, self._cancel)

        spans = contents.data(volume, entry.inner, node.size, allocated=node.allocated)
        for count in self._archive.file(member, spans, read):
            self.bytes += count
            yield from self._told(min(self._done + count, end))


def taken_back(plan: Plan, context: Context) -> Events:
    """Remove the archive. Raises Refused."""
    path = Path(plan.target)
    if plan.target == STDOUT:
        raise Refused("what went to stdout cannot be taken back", "see what read it")
    yield StepStarted(step="undo")
    _drop(path)
    sessions.sweep(Repository.glance(plan.params.repo).store)
    ours = _is_ours(path, context)
    if ours and plan.confirm:
        raise Failed(f"the file that {path} replaced does not come back", f"remove the archive by hand: rm {path}")
    if ours:
        path.unlink()
    yield StepEnded(step="undo")
    there = "is not the archive that this run wrote, and stays as it is" if path.exists() else "was not written yet"
    yield Finished(summary=f"{path} {'is removed' if ours else there}")
