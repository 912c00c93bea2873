"""The list of points, for people and as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Annotated, Any

import msgspec

from engines.backup import names
from engines.backup.errors import Damaged
from engines.backup.names import PointName
from engines.backup.repository import protected, quarantine, sessions
from engines.backup.repository.point import Head
from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.repository.verified import last_verified
from engines.backup.store.store import side_by_side
from engines.job import units
from engines.job.errors import Refused, meant
from engines.job.params import param


class ListParams(RepoParams, frozen=True, kw_only=True):
    """Which points, and how they are shown."""

    only: Annotated[
        str, param("Only", "a VM, VM/DISK or VM/DISK@2026, by whole names; * stands for any characters")
    ] = ""
    last: Annotated[int, param("Last", "this many newest points of each disk; 0 for all", ge=0, le=100000)] = 0
    tag: Annotated[str, param("Tag", "points that have this tag")] = ""
    bad: Annotated[bool, param("Bad", "points that are damaged, unreadable, or lack others of their moment")] = False
    disks: Annotated[bool, param("Disks", "one line a disk: its points, newest, last proven whole, bytes stored")] = (
        False
    )


class PointRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One point in a list; sizes in bytes, `taken` is when it was made (UTC), `seconds` what that took.

    host, source: the machine that made it, and the disk as it was called there. `damaged` counts records that are
    bad and not yet healed. verified: when it was last proven whole.
    together: the other points of its moment. missing: those that should be and are not there, so that it stands alone.
    """

    point: str
    taken: str = ""
    host: str = ""
    source: str = ""
    seconds: float = 0.0
    read: int = 0
    size: int = 0
    changed: int = 0
    stored: int = 0
    consistency: str = ""
    together: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    parent: str = ""
    tags: tuple[str, ...] = ()
    damaged: int = 0
    verified: str = ""
    protected: bool = False
    trouble: str = ""

    @property
    def bad(self) -> bool:
        """Whether somebody should look at it."""
        return bool(self.damaged or self.trouble or self.missing)


class ListedDisk(msgspec.Struct, frozen=True, kw_only=True):
    """One disk: how many points it has, its newest, the last that was proven whole and when, bytes stored for all."""

    disk: str
    points: int
    newest: str
    taken: str
    host: str
    size: int
    stored: int
    bad: int
    last_good: str
    verified: str


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What a repository holds; `bytes` in all packs. `work` tells of those who are at work there or were killed."""

    repo: str
    encrypted: bool
    bytes: int
    points: list[PointRow]
    work: list[str]
    disks: list[ListedDisk] = []


def listed(repository: Repository, params: ListParams | None = None) -> Listed:
    """What `params` ask for; all points without them. Raises Refused where they name what is not there."""
    params = params or ListParams()
    store = repository.store
    looks: list[Callable[[], Any]] = [  # each asks for what no other does: side by side where the store is far
        lambda: repository.heads(repository.names()),
        lambda: sum(size for _, size in store.sizes("packs")),
        lambda: _damaged(repository),
        lambda: last_verified(store),
        lambda: {str(name) for name in protected.every(repository)},
        lambda: [session.explained(alive=sessions.alive(store, session)) for session in sessions.every(store)],
    ]
    every, packed, damaged, verified, safe, work = side_by_side(store, lambda look: look(), looks)
    heads = {str(name): head for name, head in every.items() if isinstance(head, Head)}
    if every and not heads:
        repository.load()  # says so where config.json is of another repository
    chosen = [
        _row(name, found, damaged, verified, heads)
        for name, found in every.items()
        if names.selected(name, params.only)
    ]
    if params.only and not chosen:
        raise names.absent(every, params.only, store.where)
    if params.tag and chosen and not any(params.tag in row.tags for row in chosen):
        raise _untagged(chosen, params.tag, store.where)
    rows = [msgspec.structs.replace(row, protected=True) if row.point in safe else row for row in chosen]
    rows = _filtered(rows, params)
    return Listed(
        repo=store.where,
        encrypted=repository.config.cipher != "none",
        bytes=packed,
        points=[] if params.disks else rows,
        work=work,
        disks=[_disk(disk, list(own)) for disk, own in groupby(rows, key=_disk_of)] if params.disks else [],
    )


def _untagged(rows: Iterable[PointRow], wanted: str, where: str) -> Refused:
    """Why nothing is shown of a tag: which ones those points have instead, guests' own last."""
    known = sorted(
        {units.one_line(tag) for row in rows for tag in row.tags}, key=lambda tag: (bool(names.guest_of([tag])), tag)
    )
    some = ", ".join(known[: names.SHOWN]) + (" …" if len(known) > names.SHOWN else "")
    there = f"there are {some}" if known else "no point has any"
    helps = "; ".join(filter(None, (meant(wanted, known), there, "see all: crashcart backup list")))
    return Refused(f"no point here has the tag {wanted!r} ({where})", helps)


def _filtered(rows: list[PointRow], params: ListParams) -> list[PointRow]:
    found = [row for row in rows if (not params.tag or params.tag in row.tags) and (not params.bad or row.bad)]
    if not params.last:
        return found
    return [row for _, own in groupby(found, key=_disk_of) for row in list(own)[-params.last :]]


def _disk_of(row: PointRow) -> str:
    return row.point.partition("@")[0]


def _disk(disk: str, rows: list[PointRow]) -> ListedDisk:
    good = [row for row in rows if row.verified and not row.bad]
    newest = rows[-1]
    return ListedDisk(
        disk=disk,
        points=len(rows),
        newest=newest.point,
        taken=newest.taken,
        host=newest.host,
        size=newest.size,
        stored=sum(row.stored for row in rows),
        bad=sum(row.bad for row in rows),
        last_good=good[-1].point if good else "",
        verified=good[-1].verified if good else "",
    )


def _damaged(repository: Repository) -> dict[str, int]:
    """By point: records in quarantine that nothing has healed."""
    counts: dict[str, int] = {}
    for number, bad in enumerate(quarantine.every(repository.store)):
        if number == 0:
            repository.load()
        if not any(True for _ in repository.index.find(bytes.fromhex(bad.id))):
            for name in bad.points:
                counts[name] = counts.get(name, 0) + 1
    return counts


def _row(
    name: PointName,
    head: Head | Damaged,
    damaged: Mapping[str, int],
    verified: Mapping[str, str],
    heads: dict[str, Head],
) -> PointRow:
    text = str(name)
    if isinstance(head, Damaged):
        return PointRow(point=text, trouble=head.why)
    others = tuple(other for other in head.together if other != text)
    missing = tuple(other for other in others if other not in heads or heads[other].together != head.together)
    figures = head.figures
    return PointRow(
        point=text,
        taken=head.taken or head.time,
        host=head.host,
        source=head.source,
        seconds=figures.seconds,
        read=figures.read,
        size=head.size,
        changed=figures.changed,
        stored=figures.stored,
        consistency=head.consistency,
        together=() if missing else others,
        missing=missing,
        parent=head.parent,
        tags=head.tags,
        damaged=damaged.get(text, 0),
        verified=verified.get(text, ""),
    )


def table(found: Any) -> str:
    """A list in lines."""
    return "\n".join(map(units.one_line, _lines(found)))


def _lines(found: Listed) -> Iterator[str]:
    yield f"{found.repo}: {units.size(found.bytes)} in packs" + (", encrypted" if found.encrypted else "")
    if found.disks:
        yield from _disk_lines(found.disks)
    else:
        yield from _point_lines(found.points)
    yield from found.work


def _disk_lines(disks: Iterable[ListedDisk]) -> Iterator[str]:
    head = ("disk", "points", "newest (UTC)", "size", "stored", "made on", "last proven whole")
    rows = [
        (
            disk.disk, str(disk.points), _when(disk.taken), units.size(disk.size), units.size(disk.stored), disk.host,
            (f"{disk.last_good.partition('@')[2]}, on {_when(disk.verified)}" if disk.last_good else "never")
            + (f"; {disk.bad} points are bad" if disk.bad else ""),
        )
        for disk in disks
    ]  # fmt: skip
    yield from _columns([head, *rows], right=(1, 3, 4))


def _point_lines(points: Iterable[PointRow]) -> Iterator[str]:
    head = ("point", "made (UTC)", "took", "disk", "changed", "stored", "made on", "from; state")
    rows = [
        (
            row.point, _when(row.taken), f"{row.seconds:.0f} s", units.size(row.size), units.size(row.changed),
            units.size(row.stored), row.host, _state(row),
        )
        for row in points
    ]  # fmt: skip
    yield from _columns([head, *rows], right=(2, 3, 4, 5))


def _state(row: PointRow) -> str:
    state = row.trouble or (f"DAMAGED: {row.damaged} records" if row.damaged else "")
    moment = f"without {', '.join(row.missing)}" if row.missing else ""
    verified = row.verified and f"verified {row.verified}"
    safe = "protected" if row.protected else ""
    return "; ".join(
        filter(None, [units.one_line(row.source), state, safe, row.consistency, moment, *row.tags, verified])
    )


def _when(time_: str) -> str:
    return f"{time_[:4]}-{time_[4:6]}-{time_[6:8]} {time_[9:11]}:{time_[11:13]}" if time_ else ""


def _columns(rows: list[tuple[str, ...]], right: tuple[int, ...]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)] + [0]
    for row in rows:
        cells = (
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
