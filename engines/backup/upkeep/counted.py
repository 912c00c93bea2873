"""The times by which points are counted: those inside them, and names only where no clock seems to have been wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import pairwise

from engines.backup import names
from engines.backup.errors import Damaged
from engines.backup.names import PointName
from engines.backup.repository import history
from engines.backup.repository.point import Head
from engines.backup.upkeep.retention import SeenPoint
from engines.job.errors import Refused


def by_heads(heads: Mapping[PointName, Head | Damaged], zone: tzinfo, now: float) -> list[SeenPoint]:
    """Points by what they say of themselves, a damaged one by its name. Raises Refused where one is yet to come."""
    return [_seen(name, head, zone, now) for name, head in heads.items()]


def _seen(name: PointName, head: Head | Damaged, zone: tzinfo, now: float) -> SeenPoint:
    at, tags = (head.real, head.tags) if isinstance(head, Head) else (names.seconds(name.time), ())
    if at > now + history.SLACK:
        raise _future(name, at, now)
    return SeenPoint(name, datetime.fromtimestamp(at, zone), tags)


def by_names(known: Sequence[PointName], zone: tzinfo, now: float) -> list[SeenPoint]:
    """Points by their names alone, as in a locked repository. Raises Refused where a clock seems to have been wrong."""
    for before, name in pairwise(known):
        same = (before.vm, before.disk) == (name.vm, name.disk)
        if same and names.seconds(name.time) - names.seconds(before.time) == 1:
            raise Refused(
                f"{before} and {name} are one second apart by name, as after a clock that was wrong; their real times"
                " are locked",
                "give the repository's key (--key-file or --passphrase-file), so that they can be counted by those",
            )
    found = []
    for name in known:
        at = names.seconds(name.time)
        if at > now + history.SLACK:
            raise _future(name, at, now)
        found.append(SeenPoint(name, datetime.fromtimestamp(at, zone)))
    return found


def _future(name: PointName, at: float, now: float) -> Refused:
    return Refused(
        f"{name} says that it was made on {history.said(at)}, and it is {history.said(now)} here: one of the clocks is"
        " wrong, and days would be counted wrongly",
        f"mend the clock (timedatectl); a point whose time is wrong is taken out, and not counted, by --drop {name}",
    )
