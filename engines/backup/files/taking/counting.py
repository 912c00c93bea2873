"""What a selection amounts to and what of it is there already, looked up without touching anything."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from engines.backup.files.contents import weight
from engines.backup.files.model import shown
from engines.backup.files.selection import Walk
from engines.backup.files.taking.destination import Destination, split
from engines.job.contract import Cancel

NAMED = 50  # conflicts that a plan names


@dataclass
class Counted:
    """files: all that are no folders. bytes: their sizes; weight: what of that is no hole, as far as is known.

    links: chosen paths that are symbolic links, with where they lead to.
    """

    files: int = 0
    folders: int = 0
    bytes: int = 0
    weight: int = 0
    special: int = 0
    conflicts: int = 0
    named: list[str] = field(default_factory=list)
    drivers: set[str] = field(default_factory=set)
    links: list[tuple[str, str]] = field(default_factory=list)


def counted(walk: Walk, path: Path | None, cancel: Cancel) -> Counted:
    """Go over all of it once. `path`: the folder that it would go into, if any. Raises Stopped, BrowseError."""
    found = Counted()
    destination = Destination(path) if path and path.is_dir() else None
    there = {b""} if destination else set()
    try:
        for entry in walk.entries():
            cancel.check()
            node = entry.node
            found.files += not node.is_folder
            found.folders += node.is_folder
            found.bytes += node.size if node.is_file else 0
            found.weight += weight(node)
            found.special += not (node.is_folder or node.is_file or node.is_link)
            if node.is_link and entry.source in walk.chosen:
                found.links.append((shown(entry.source), shown(node.link)))
            if entry.volume:
                found.drivers.add(", ".join(filter(None, [entry.volume.driver, entry.volume.state])))
            if destination and split(entry.place)[0] in there and entry.place:
                _compare(found, destination, entry.place, there, folder=node.is_folder)
    finally:
        if destination:
            destination.close()
    return found


def _compare(found: Counted, destination: Destination, place: bytes, there: set[bytes], *, folder: bool) -> None:
    try:
        seen = destination.seen(place)
    except OSError:
        return  # a name that this disk cannot hold; the run tells it
    if seen is None:
        return
    if folder and stat.S_ISDIR(seen.st_mode):
        there.add(place)
        return
    found.conflicts += 1
    if len(found.named) < NAMED:
        found.named.append(shown(place))
