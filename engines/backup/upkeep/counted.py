"""The times by which points are counted: those inside them, and names only where no clock seems to have been wrong."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import groupby, pairwise

from engines.backup import names
from engines.backup.errors import Damaged
from engines.backup.names import PointName
from engines.backup.repository import history
from engines.backup.repository.point import Head
from engines.backup.upkeep.retention import SeenPoint
from engines.job.errors import Refused, meant

SHOWN = 5  # points with a wrong clock that are named


def by_heads(heads: Mapping[PointName, Head | Damaged], zone: tzinfo, now: float) -> list[SeenPoint]:
    """Points by what they say of themselves, a damaged one by its name. Raises Refused where one is yet to come."""
    return [_seen(name, head, zone, now) for name, head in heads.items()]


def odd(points: Sequence[SeenPoint]) -> tuple[str, ...]:
    """Points of several disks, in the order of their chains, whose clock seems to have been wrong: in words.

    They are the fewest without which every point of a disk is later than the one before it.
    """
    found: list[str] = []
    for _, disk in groupby(points, key=lambda seen: (seen.name.vm, seen.name.disk)):
        of_one = list(disk)
        found += [
            f"{seen.name} says that it was made on {history.said(seen.at.timestamp())}, which does not fit the points"
            " around it: a clock was wrong. It is counted there; what must stay whatever the rules say is protected by"
            f" crashcart backup protect {seen.name}"
            for seen in (of_one[number] for number in _misfits([seen.at.timestamp() for seen in of_one]))
        ]
    return (*found[:SHOWN], f"{len(found) - SHOWN} more points with a wrong clock") if len(found) > SHOWN else (*found,)


def untagged(points: Sequence[SeenPoint], tags: Sequence[str]) -> tuple[str, ...]:
    """Tags by which a rule was to keep points, and which none of them has though others have some: in words."""
    known = {tag for seen in points for tag in seen.tags if not tag.startswith(names.OF_GUEST)}
    some = f"there are {', '.join(sorted(known)[:SHOWN])}"
    return tuple(
        f"no point here has the tag {tag!r}, and none is kept by it: {meant(tag, known) or some}"
        for tag in tags
        if known and tag not in known
    )


def _misfits(times: Sequence[float]) -> list[int]:
    """Numbers of the fewest without which `times` never fall, as far as they are further off than two clocks may be."""
    ends: list[float] = []  # by length of a rise: the smallest time that one of that length ends with
    last: list[int] = []  # the same by number
    before: list[int] = []
    for number, at in enumerate(times):
        length = bisect_right(ends, at)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [at]
        last[length : length + 1] = [number]
    rise: list[int] = []
    number = last[-1] if last else -1
    while number >= 0:
        rise.append(number)
        number = before[number]
    rise.reverse()
    found = []
    for number in sorted(set(range(len(times))).difference(rise)):
        at = bisect_left(rise, number)
        earlier, later = rise[at - 1 : at], rise[at : at + 1]
        if any(times[one] > times[number] + history.SLACK for one in earlier) or any(
            times[one] < times[number] - history.SLACK for one in later
        ):
            found.append(number)
    return found


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
