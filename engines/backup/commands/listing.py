"""The list of points, for people and as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from engines.backup.errors import Damaged
from engines.backup.names import PointName
from engines.backup.repository import quarantine, sessions
from engines.backup.repository.point import Head, Point
from engines.backup.repository.repository import Repository
from engines.backup.repository.verified import last_verified


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One point in a list; sizes in bytes. `damaged` counts records that are bad and not yet healed.

    together: the other points of its moment. missing: those that should be and are not there, so that it stands alone.
    """

    point: str
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
    trouble: str = ""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What a repository holds. `work` tells of those who are at work there or were killed."""

    repo: str
    encrypted: bool
    bytes: int
    points: list[Row]
    work: list[str]


def listed(repository: Repository, wanted: str = "") -> Listed:
    """The points whose name begins with `wanted`."""
    repository.load()
    damaged = _damaged(repository)
    verified = last_verified(repository.store)
    every = dict(repository.every())
    heads = {str(name): found.head for name, found in every.items() if isinstance(found, Point)}
    rows = [
        _row(name, found, damaged, verified, heads) for name, found in every.items() if str(name).startswith(wanted)
    ]
    store = repository.store
    return Listed(
        repo=store.where,
        encrypted=repository.config.cipher != "none",
        bytes=sum(_size(repository, name) for name in store.names("packs")),
        points=rows,
        work=[session.explained(alive=sessions.alive(store, session)) for session in sessions.every(store)],
    )


def _size(repository: Repository, name: str) -> int:
    try:
        return repository.store.size(name)
    except FileNotFoundError:
        return 0


def _damaged(repository: Repository) -> dict[str, int]:
    """By point: records in quarantine that nothing has healed."""
    counts: dict[str, int] = {}
    for bad in quarantine.every(repository.store):
        if not any(True for _ in repository.index.find(bytes.fromhex(bad.id))):
            for name in bad.points:
                counts[name] = counts.get(name, 0) + 1
    return counts


def _row(
    name: PointName, found: Point | Damaged, damaged: dict[str, int], verified: dict[str, str], heads: dict[str, Head]
) -> Row:
    if isinstance(found, Damaged):
        return Row(point=str(name), trouble=found.why)
    head: Head = found.head
    others = tuple(other for other in head.together if other != str(name))
    missing = tuple(other for other in others if other not in heads or heads[other].together != head.together)
    return Row(
        point=str(name),
        size=head.size,
        changed=head.figures.changed,
        stored=head.figures.stored,
        consistency=head.consistency,
        together=() if missing else others,
        missing=missing,
        parent=head.parent,
        tags=head.tags,
        damaged=damaged.get(str(name), 0),
        verified=verified.get(str(name), ""),
    )


def table(found: Any) -> str:
    """A list in lines."""
    return "\n".join(_lines(found))


def _lines(found: Listed) -> Iterator[str]:
    yield f"{found.repo}: {_mib(found.bytes)} in packs" + (", encrypted" if found.encrypted else "")
    width = max([len(row.point) for row in found.points], default=5)
    yield f"{'point':{width}} {'disk':>12} {'changed':>11} {'stored':>11}  state"
    for row in found.points:
        state = row.trouble or (f"DAMAGED: {row.damaged} records" if row.damaged else "")
        moment = f"without {', '.join(row.missing)}" if row.missing else ""
        words = ", ".join(
            filter(None, [state, row.consistency, moment, *row.tags, row.verified and f"verified {row.verified}"])
        )
        yield f"{row.point:{width}} {_mib(row.size):>12} {_mib(row.changed):>11} {_mib(row.stored):>11}  {words}"
    yield from found.work


def _mib(count: int) -> str:
    return f"{count / 1048576:.1f} MiB"
