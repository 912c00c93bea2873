"""Which points stay: the newest of each hour, day, week, month and year, as many of each as asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engines.backup.names import PointName

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


def kept(
    points: Iterable[PointName], rules: Rules, tagged: Mapping[PointName, tuple[str, ...]]
) -> dict[PointName, str]:
    """By point of one disk that stays: why. The newest always does."""
    newest_first = sorted(points, reverse=True)
    reasons: dict[PointName, list[str]] = {}
    for at, name in enumerate(newest_first):
        if at == 0:
            reasons.setdefault(name, []).append("newest")
        if at < rules.last:
            reasons.setdefault(name, []).append("last")
        if set(rules.tags) & set(tagged.get(name, ())):
            reasons.setdefault(name, []).append("tag")
    for period, form in PERIODS.items():
        seen: set[str] = set()
        for name in newest_first:
            when = time.strftime(form, time.strptime(name.time, "%Y%m%dT%H%M%SZ"))
            if when not in seen and len(seen) < getattr(rules, period):
                seen.add(when)
                reasons.setdefault(name, []).append(period)
    return {name: ", ".join(why) for name, why in reasons.items()}
