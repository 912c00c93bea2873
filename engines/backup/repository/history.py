"""What the points of a disk say against the one that is made now: a clock that went wrong, another machine's disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from engines.backup import names
from engines.backup.repository.point import Head, Point
from engines.backup.repository.repository import Repository
from engines.job import units

SLACK = 120.0  # s that two machines' clocks may differ
EMPTY = "the disk has no bytes: its point holds nothing. Is it the right file, and is it written?"
SHOWN = 5  # points of a wrong clock that are named


def warnings(repository: Repository, parent: Point, now: float, host: str, source: str, size: int) -> Iterator[str]:
    """What a technician must know before a point of this source follows `parent`."""
    yield from _clock(repository, parent, now)
    head = parent.head
    if head.host and head.host != host:
        yield (
            f"{parent.name} was made on {head.host}, this one on {host}: are these two VMs of one name? They share one"
            " history, and prune counts them as one; give one of them another name (--vm)"
        )
    if head.source and head.source != source:
        yield f"{parent.name} was read from {head.source}, now it is {source}: is it the same disk?"
    if not size:
        yield EMPTY
    if head.size > size:
        yield (
            f"the disk shrank from {_bytes(head.size)} to {_bytes(size)} since {parent.name}:"
            " what lay behind is in the points before only"
        )
    if head.size < size:
        yield f"the disk grew from {_bytes(head.size)} to {_bytes(size)} since {parent.name}"


def first(repository: Repository, now: float, size: int) -> Iterator[str]:
    """The same of a disk's first point."""
    yield from before_it_was_made(repository, now)
    if not size:
        yield EMPTY


def _clock(repository: Repository, parent: Point, now: float) -> Iterator[str]:
    """Nothing once the points whose clock was wrong are taken out: those after them know their real time."""
    if names.seconds(parent.name.time) <= now + SLACK:
        return
    every = repository.disks(parent.name.vm, parent.name.disk)
    heads = repository.heads([name for name in every if names.seconds(name.time) > now + SLACK])
    later = [name for name, head in heads.items() if isinstance(head, Head) and head.real > now + SLACK]
    if not later:
        return
    after = f"The new point comes after {parent.name} by name, with what this machine's clock says inside"
    behind = list(before_it_was_made(repository, now))
    if behind:
        yield f"{behind[0]}. {after}"
        return
    some = f"{later[-1]} says" if len(later) == 1 else f"{len(later)} points, {later[-1]} the last of them, say"
    drops = ", ".join(f"--drop {name}" for name in later[:SHOWN]) + (" …" if len(later) > SHOWN else "")
    yield (
        f"the clock: {some} that it was made {_away(names.seconds(parent.name.time) - now)} from now; this machine's"
        f" clock says {said(now)}. One of the two is wrong: mend this one (timedatectl) if it is behind. {after}. If"
        f" this machine's is right, prune refuses until the others are out: {drops}"
    )


def before_it_was_made(repository: Repository, now: float) -> Iterator[str]:
    """A clock that says a time before there was this repository."""
    made = _made(repository)
    if made > now + SLACK:
        yield (
            f"the clock: this machine's says {said(now)}, and the repository was made at {said(made)}. One of the two"
            " was wrong: mend this one (timedatectl) if it is behind, and make another point, since prune counts by"
            " what the clock said"
        )


def _made(repository: Repository) -> float:
    """When the repository was made, by the clock of that machine; 0 where it does not say."""
    try:
        return datetime.fromisoformat(repository.config.created).timestamp()
    except ValueError:
        return 0.0


def said(at: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _away(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


def _bytes(size: int) -> str:
    return f"{units.size(size)} ({size} bytes)"
