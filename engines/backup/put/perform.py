"""Carries out a put: files onto the overlay, looked at again, boot test, undo log, commit."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engines.backup.errors import Damaged
from engines.backup.files import contents
from engines.backup.files.model import Unsupported, shown
from engines.backup.files.pax import NANO, Archive, Member, Spans
from engines.backup.put.guest_view import GuestView
from engines.backup.put.operation import Operation, VolumeTarget
from engines.backup.put.placing import Placed
from engines.backup.put.pouring import Pouring
from engines.guest.committing import Work
from engines.job.contract import Context, Log, Progress, Section, Step, Warned
from engines.job.errors import Failed

WRITE = Step(id="write", title="Write the files on the overlay")
CARRIED = ("user.", "trusted.", "security.", "system.posix_acl_")
CAPABILITY = "security.capability"
TOLD = 20  # lines in the run's own log; the report has all


@dataclass
class Evidence:
    """What the report shows."""

    result: dict[str, Any] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    attributes: dict[tuple[str, bytes], dict[str, bytes]] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)


def write(operation: Operation, context: Context, setuid: bool, evidence: Evidence) -> Work:
    """All files onto the overlay, and a look at what is there then. Raises Failed, GuestError, Stopped."""
    appliance = operation.surgery.appliance
    total = sum(contents.weight(each.node) for target in operation.targets for each in _poured(target))
    done = 0
    for target in operation.targets:
        if not any(each.written for each in target.placing.placed):
            continue  # mounting it would write already
        target.volume.mount(appliance, writable=True)
        with Pouring(appliance, operation.surgery.scratch.path, total) as out:
            archive = Archive(out.write, words=False, pads=False)
            for placed in target.placing.placed:
                if placed.written:
                    for count in _packed(archive, _member(placed, target, setuid, evidence), placed, context):
                        done += count
                        yield Progress(done=min(done, total), total=total)
            archive.end()
        yield from _looked_again(target, GuestView(appliance), evidence)
        appliance.call("umount_all")
        appliance.call("sync")
    yield Progress(done=total, total=total)
    yield from _listed(operation, evidence)


def _poured(target: VolumeTarget) -> Iterator[Placed]:
    return (each for each in target.placing.placed if each.written and not each.hard)


def _member(placed: Placed, target: VolumeTarget, setuid: bool, evidence: Evidence) -> Member:
    attributes: dict[str, bytes] = {}
    entry = placed.entry
    if entry is not None and entry.volume is not None and not placed.hard and not target.volume.foreign:
        try:
            found = entry.volume.attributes(entry.inner)
        except Unsupported:
            found = {}
        attributes = {
            name: value for name, value in found.items() if name.startswith(CARRIED) and (setuid or name != CAPABILITY)
        }
        if CAPABILITY in found and not setuid:
            evidence.lacking.append(f"{shown(placed.place)} goes without its capabilities (--setuid keeps them)")
        evidence.attributes[(target.volume.name, placed.place)] = attributes
    named = {os.fsencode(name): value for name, value in attributes.items()}
    return Member(placed.place[1:], placed.node, stat.S_IMODE(placed.node.mode), named, placed.hard[1:])


def _packed(archive: Archive, member: Member, placed: Placed, context: Context) -> Iterator[int]:
    """One file into the archive; gives each piece's length. A read that fails names the file."""
    entry = placed.entry
    if entry is None or entry.volume is None or member.twin or not member.node.is_file:
        archive.head(member)
        return
    volume, inner = entry.volume, entry.inner

    def read(spans: Spans) -> Iterator[tuple[int, bytes]]:
        return contents.pieces(volume, inner, spans, context.cancel)

    node = member.node
    try:
        spans = contents.data(volume, inner, node.size, allocated=node.allocated)
        yield from archive.file(member, spans, read)
    except Damaged:
        raise
    except Failed as error:
        raise Failed(f"{shown(entry.source)} cannot be read: {error.why}", "the image is untouched") from None


def _looked_again(target: VolumeTarget, ground: GuestView, evidence: Evidence) -> Work:
    """Whether everything is there as planned: tar only warns where a file system cannot hold something."""
    folders: dict[bytes, list[Placed]] = {}
    for placed in target.placing.placed:
        if placed.written:
            folders.setdefault(posixpath.dirname(placed.place), []).append(placed)
    for folder, group in folders.items():
        there = ground.look(folder, [posixpath.basename(each.place) for each in group])
        for placed in group:
            seen = there.get(posixpath.basename(placed.place))
            wanted = placed.node
            if seen is None or stat.S_IFMT(seen.mode) != stat.S_IFMT(wanted.mode):
                raise _amiss(placed, "is not there")
            if wanted.is_file and seen.size != wanted.size:
                raise _amiss(placed, f"has {seen.size} bytes instead of {wanted.size}")
            if target.volume.foreign:
                continue
            if not wanted.is_link and stat.S_IMODE(seen.mode) != stat.S_IMODE(wanted.mode):
                raise _amiss(placed, f"has mode {seen.mode & 0o7777:o} instead of {wanted.mode & 0o7777:o}")
            if (seen.uid, seen.gid) != (wanted.uid, wanted.gid):
                raise _amiss(placed, f"belongs to {seen.uid}:{seen.gid} instead of {wanted.uid}:{wanted.gid}")
            if not placed.hard and seen.mtime // NANO != wanted.mtime // NANO:
                evidence.lacking.append(f"{shown(placed.place)} has a time that the guest's file system cannot hold")
    for (volume, place), wanted_attributes in evidence.attributes.items():
        if volume == target.volume.name and wanted_attributes:
            seen_attributes = ground.attributes(place)
            for name in sorted(set(wanted_attributes.items()) - set(seen_attributes.items())):
                evidence.lacking.append(f"{shown(place)} goes without its attribute {shown(name[0].encode())}")
    yield Log(text=f"{target.volume.name}: {sum(len(group) for group in folders.values())} files are there as planned")


def _amiss(placed: Placed, what: str) -> Failed:
    return Failed(f"{shown(placed.place)} {what} on the overlay", "the image is untouched; send this run's report")


def _listed(operation: Operation, evidence: Evidence) -> Work:
    lines = [f"{target.volume.name}:{line(each)}" for target in operation.targets for each in told(target)]
    evidence.sections.append(Section(title="Files", text="\n".join(lines)))
    actions = [each.action for target in operation.targets for each in target.placing.placed]
    evidence.result |= {
        "created": actions.count("create"),
        "replaced": actions.count("replace"),
        "kept": actions.count("keep"),
        "left_out": actions.count("leave") + len(operation.lost),
    }
    for text in evidence.lacking[:TOLD]:
        yield Warned(text=text)
    if len(evidence.lacking) > TOLD:
        yield Warned(text=f"{len(evidence.lacking) - TOLD} more like these: see the report")
    if evidence.lacking:
        evidence.sections.append(Section(title="Not carried", text="\n".join(evidence.lacking)))


def told(target: VolumeTarget) -> Iterator[Placed]:
    """What a plan and a report show: folders that stay as they are go without saying."""
    return (each for each in target.placing.placed if each.action != "merge")


def line(placed: Placed) -> str:
    """One file of the report."""
    node = placed.node
    owner = f"{stat.filemode(node.mode)} {node.uid}:{node.gid} {node.size} bytes"
    note = f" ({placed.note})" if placed.note else ""
    words = {"create": "created", "replace": "replaced", "keep": "kept", "leave": "left out"}[placed.action]
    return f"{shown(placed.place)}  {words}{note}  {owner}"
