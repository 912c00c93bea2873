"""Which points stay: the newest of each hour, day, week, month and year, as many of each as asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engines.backup.names import PointName
from engines.job.errors import BadParam

PERIODS = {"hourly": "%Y%m%d%H", "daily": "%Y%m%d", "weekly": "%G%V", "monthly": "%Y%m", "yearly": "%Y"}


@dataclass(frozen=True)
class Rules:
    """How many to keep by period; `last` counts points, `tags` keep whatever has one of them."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    tags: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tags or any(getattr(self, name) for name in ("last", *PERIODS)))


@dataclass(frozen=True)
class SeenPoint:
    """A point as it is counted: the real time at which it was made, in the zone whose days count, and its tags."""

    name: PointName
    at: datetime
    tags: tuple[str, ...] = ()


def kept_of_each(points: Sequence[SeenPoint], rules: Rules) -> dict[PointName, str]:
    """`kept` for points of several disks, one disk after the other."""
    stay: dict[PointName, str] = {}
    for _, disk in groupby(points, key=lambda seen: (seen.name.vm, seen.name.disk)):
        stay |= kept(list(disk), rules)
    return stay


def kept(points: Sequence[SeenPoint], rules: Rules) -> dict[PointName, str]:
    """By point of one disk that stays: why. `points` come oldest first, by their chain. The newest always stays."""
    newest_first = list(reversed(points))
    reasons: dict[PointName, list[str]] = {}
    for number, seen in enumerate(newest_first):
        if number == 0:
            reasons.setdefault(seen.name, []).append("newest")
        if number < rules.last:
            reasons.setdefault(seen.name, []).append("last")
        if set(rules.tags) & set(seen.tags):
            reasons.setdefault(seen.name, []).append("tag")
    by_time = sorted(newest_first, key=lambda seen: seen.at, reverse=True)
    for period, form in PERIODS.items():
        periods: set[str] = set()
        for seen in by_time:
            when = seen.at.strftime(form)
            if when not in periods and len(periods) < getattr(rules, period):
                periods.add(when)
                reasons.setdefault(seen.name, []).append(period)
    return {name: ", ".join(why) for name, why in reasons.items()}


def zone(text: str) -> tzinfo:
    """The zone of that name, such as Europe/Berlin; this machine's for `local`. Raises BadParam."""
    if text == "local":
        found = datetime.now().astimezone().tzinfo
        assert found is not None
        return _local() or found
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadParam(
            "zone", text, "UTC, local, or a name such as Europe/Berlin", "see: timedatectl list-timezones"
        ) from None


def _local() -> tzinfo | None:
    """This machine's zone with its summer times."""
    try:
        with Path("/etc/localtime").open("rb") as stream:
            return ZoneInfo.from_file(stream)
    except (OSError, ValueError):
        return None
