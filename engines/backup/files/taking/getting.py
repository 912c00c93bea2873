"""The run of `backup get` into a folder: look, write, have it on the disk; taken up and taken back by its record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engines.backup.files.globs import expanded
from engines.backup.files.model import shown
from engines.backup.files.reach import opened, path_of
from engines.backup.files.selection import Walk, places
from engines.backup.files.taking import record
from engines.backup.files.taking.carrying import CarryOptions
from engines.backup.files.taking.conflicts import Conflicts
from engines.backup.files.taking.counting import counted
from engines.backup.files.taking.destination import Destination
from engines.backup.files.taking.landing import Landing
from engines.backup.files.taking.notes import Notes
from engines.backup.files.taking.staging import FULL, PREFIX, Staging
from engines.backup.files.taking.taking import Taking
from engines.backup.names import parse
from engines.backup.new_place import refuse_place
from engines.backup.repository import sessions, unlocking
from engines.backup.repository.repository import Repository
from engines.host import mountinfo
from engines.job import units
from engines.job.contract import Context, Events, Finished, Plan, Section, StepEnded, StepStarted, Warned
from engines.job.errors import Failed, Refused, Stopped

KEPT_AS = "taken.tsv"  # the record, in the run's folder once the work is done
WHOLE = ("vfat", "msdos", "exfat", "hfs", "hfsplus", "fuse.exfat")  # file systems without holes
LISTED = 2000  # names in the report


def looked_at(dest: Path) -> dict[str, Any]:
    """What is there now. Raises Refused."""
    refuse_place(str(dest), "a file")
    if not dest.exists():
        if not dest.parent.is_dir():
            raise Refused(f"{dest.parent} does not exist", "make it first, or name another folder")
        return {"folder": False, "room": _room(dest.parent), "holes": _holes(dest.parent)}
    if not dest.is_dir():
        raise Refused(f"{dest} is no folder", "name a folder; for an archive give --tar")
    if not os.access(dest, os.W_OK | os.X_OK):
        raise Refused(f"{dest} cannot be written to", "name another folder, or run as root")
    return {"folder": True, "room": _room(dest), "holes": _holes(dest)}


def _holes(folder: Path) -> bool:
    """Whether a hole takes no room there."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    return not any(each.number == number and each.kind in WHOLE for each in mountinfo.mounts())


def _room(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def performed(plan: Plan, context: Context) -> Events:
    """Take the files. Raises Failed, Stopped, which say what is there."""
    params, name = plan.params, parse(plan.params.paths[0].partition(":")[0])
    yield StepStarted(step="look")
    repository = yield from unlocking.opened(params, context)
    notes = Notes(context.folder / "notes.txt")
    with opened(repository, name, params.driver, does=f"get from {name}", cancel=context.cancel) as tree:
        named = [path_of(text.partition(":")[2]) for text in params.paths]
        there = places(expanded(tree, named, notes.unlisted), parents=params.parents)
        weight = plan.detail["weight"]
        if not plan.detail["counted"]:
            weight = counted(Walk(tree, there), Path(plan.target), context.cancel).weight
        yield StepEnded(step="look")
        with _at(plan, context) as (destination, staging):
            conflicts = Conflicts(params.conflict, f".from-{name.time}")
            wish = CarryOptions(owner=params.owner, special=params.special)
            landing = Landing(destination, staging, conflicts, wish, notes, made=not plan.detail["existed"])
            taking = Taking(Walk(tree, there, notes), landing, weight, context.cancel)
            yield StepStarted(step="write")
            yield from taking.run()
            yield StepEnded(step="write")
            yield StepStarted(step="flush")
            taken = _settled(destination, staging, taking, context.home)
            yield StepEnded(step="flush")
    for line in notes.last():
        yield Warned(text=line)
    yield _finished(plan, taking, notes, taken)


@contextmanager
def _at(plan: Plan, context: Context) -> Iterator[tuple[Destination, Staging]]:
    """The destination, made where it is not there; on the way out the errors say what it holds."""
    path = Path(plan.target)
    try:
        if not plan.detail["existed"]:
            path.mkdir(mode=0o700, exist_ok=True)
        destination = Destination(path)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "name another folder") from None
    try:
        staging = Staging(destination, context.home.name, fresh=context.earlier is None)
        try:
            yield destination, staging
        except (Stopped, GeneratorExit):
            raise Stopped(_left(plan, destination, staging, context)) from None
        except OSError as error:
            staging.abandon()
            raise _broken(path, error, _left(plan, destination, staging, context)) from None
        except Failed as failed:
            left = _left(plan, destination, staging, context)
            raise Failed(failed.why, failed.what_helps, left) from None
        finally:
            staging.close()
    except OSError as error:
        raise _broken(path, error, ()) from None
    finally:
        destination.close()


def _broken(path: Path, error: OSError, left: tuple[str, ...]) -> Failed:
    if error.errno in FULL:
        return Failed(f"the disk of {path} is full", "make room there, then go on: crashcart resume last", left)
    return Failed(f"{path} cannot be written: {error.strerror}", "look at that disk (dmesg)", left)


def _left(plan: Plan, destination: Destination, staging: Staging, context: Context) -> tuple[str, ...]:
    """What is there already, in words; where that is nothing, the traces are removed."""
    staging.abandon()
    taken = [each for each in record.read(staging.record.raw()) if _is_there(destination, each)]
    if not taken:
        with suppress(OSError):
            staging.remove()
            if not plan.detail["existed"]:
                Path(plan.target).rmdir()
            return ()
    with suppress(OSError):
        (context.home / KEPT_AS).write_bytes(staging.record.raw())
    files = [each for each in taken if each.kind != "folder"]
    first = ", ".join(shown(each.place) for each in files[:5])
    return (
        f"{len(files)} files are in {plan.target}, each whole" + (f": {first} …" if len(files) > 5 else f": {first}"),
        f"all of them by name: {context.home / KEPT_AS}",
        "go on with crashcart resume, or take them back with crashcart undo",
    )


def _is_there(destination: Destination, taken: record.TakenFile) -> bool:
    try:
        found = destination.seen(taken.place)
    except OSError:
        return False
    return found is not None and (taken.kind == "folder" or taken.is_still(found))


def _settled(destination: Destination, staging: Staging, taking: Taking, folder: Path) -> list[record.TakenFile]:
    """Everything on the disk, the record moved to the run's folder, no trace left in the destination."""
    raw = staging.record.raw()
    destination.flush()
    with suppress(OSError):  # a full state disk: the run cannot be taken back then, its work is done
        (folder / KEPT_AS).write_bytes(raw)
    staging.remove()
    taking.folders.finish()
    destination.flush()
    return record.read(raw)


def _finished(plan: Plan, taking: Taking, notes: Notes, taken: list[record.TakenFile]) -> Finished:
    counts = taking.counts
    if counts.untaken and not counts.files + counts.others + counts.folders + counts.skipped:
        raise Failed(f"nothing could be taken: {notes.lines[0]}", "try another driver: --driver libguestfs")
    parts = [f"{counts.files} files ({units.size(counts.bytes)}), {counts.folders} folders, {counts.others} links"]
    parts += [f"{counts.skipped} were there already"] if counts.skipped else []
    parts += [f"{counts.untaken} could not be taken"] if counts.untaken else []
    names = "\n".join(shown(each.place) for each in taken[:LISTED])
    if len(taken) > LISTED:
        names += f"\nand {len(taken) - LISTED} more"
    sections = [Section(title="What was taken", text=names)]
    if notes.total:
        sections.append(Section(title="What did not come along", text=notes.text()))
    return Finished(
        summary=f"in {plan.target}: " + "; ".join(parts),
        result={
            "files": counts.files,
            "folders": counts.folders,
            "links": counts.others,
            "bytes": counts.bytes,
            "skipped": counts.skipped,
            "untaken": counts.untaken,
            "notes": notes.lines,
        },
        sections=tuple(sections),
    )


def taken_back(plan: Plan, context: Context) -> Events:
    """Remove what was taken, as far as nobody changed it since. Raises Refused."""
    yield StepStarted(step="undo")
    path = Path(plan.target)
    sessions.sweep(Repository.glance(plan.params.repo).store)
    assert context.earlier is not None
    removed = 0
    try:
        if path.is_dir():
            destination = Destination(path)
            try:
                taken, traces = _known(destination, context.earlier)
                for each in reversed(taken):
                    try:
                        removed += _removed(destination, each)
                    except OSError as error:
                        yield Warned(text=f"{shown(each.place)} stays: {error.strerror}")
                if traces:
                    traces.remove()
                    traces.close()
            finally:
                destination.close()
            if not plan.detail["existed"]:
                with suppress(OSError):  # something else is in it
                    path.rmdir()
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}", "look at that folder") from None
    yield StepEnded(step="undo")
    yield Finished(summary=f"{removed} files and folders are removed from {path}", result={"removed": removed})


def _known(destination: Destination, run: Path) -> tuple[list[record.TakenFile], Staging | None]:
    """The record, and the staging folder where there is still one. Raises Refused."""
    if destination.seen(PREFIX + run.name.encode()) is not None:
        staging = Staging(destination, run.name)
        return staging.record.before, staging
    try:
        return record.read((run / KEPT_AS).read_bytes()), None
    except FileNotFoundError:
        events = (run / "journal.jsonl").read_bytes()
        if b'"step":"write"' not in events:
            return [], None
        raise Refused(f"the list of what was taken is gone ({run / KEPT_AS})", "remove the files by hand") from None


def _removed(destination: Destination, taken: record.TakenFile) -> bool:
    found = destination.seen(taken.place)
    if found is None or (taken.kind != "folder" and not taken.is_still(found)):
        return False
    destination.remove(taken.place)
    return True
