"""The words of fleet.yaml that mean more than text: durations, windows, patterns."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from engines.backup.limits import throttle
from engines.backup.store import uplink
from engines.job.errors import BadParam, Refused
from engines.job.units import SIZE, SUFFIX

NAME = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z"
NAMED = "a name of letters, digits, . _ and -, up to 64"
UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
DAY = 86400  # s
LONGEST = 366 * DAY  # from one round to the next
SSH = re.compile(r"^(local|[\w.][\w.-]*@([\w.][\w.-]*|\[[0-9a-f:]+\])(:(?P<port>\d{1,5}))?)\Z")
SCHEDULER = re.compile(r"^(tls://([\w.][\w.-]*|\[[0-9a-f:]+\])|tcp://(127\.0\.0\.1|\[::1\])):(?P<port>\d{1,5})\Z")
PLACE = re.compile(r"^(/|sftp://[^/\s]+/|s3://[^/\s]+)[^\n]*\Z")
PERIODS = {"hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400}
DURATION = re.compile(r"^([1-9]\d{0,4})([mhdw])\Z")
WINDOW = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)\Z")


@dataclass(frozen=True)
class Window:
    """From one minute of the day up to another, by the fleet's time zone; over midnight where it ends first."""

    start: int
    end: int

    @property
    def minutes(self) -> int:
        """How long it is; equal ends are the whole day."""
        return (self.end - self.start) % 1440 or 1440


def seconds(text: str) -> int:
    """hour, day, week, month (30 days), or like 90m, 36h, 2d, 1w. Raises ValueError."""
    if text in PERIODS:
        return PERIODS[text]
    if match := DURATION.match(text):
        return int(match[1]) * UNITS[match[2]]
    raise ValueError(text)


def interval(text: str) -> int:
    """A duration that rounds can have: up to a day, or whole days up to a year. Raises ValueError."""
    found = seconds(text)
    if (found > DAY and found % DAY) or found > LONGEST:
        raise ValueError(text)
    return found


def window(text: str) -> Window:
    """Like 22:00-06:00. Raises ValueError."""
    match = WINDOW.match(text)
    if match is None:
        raise ValueError(text)
    return Window(int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4]))


def ssh(text: str) -> None:
    """USER@HOST, USER@HOST:PORT or local. Raises ValueError."""
    _with_port(SSH, text)


def scheduler(text: str) -> None:
    """tls://HOST:PORT, or tcp:// of this machine. Raises ValueError."""
    _with_port(SCHEDULER, text)


def _with_port(form: re.Pattern[str], text: str) -> None:
    match = form.match(text)
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        raise ValueError(text)


def place(text: str) -> None:
    """Where a repository lies: a folder, sftp://HOST/FOLDER or s3://BUCKET. Raises ValueError."""
    if PLACE.match(text) is None:
        raise ValueError(text)


def whole_path(text: str) -> None:
    """A path that is the same for whoever reads it, from whatever folder. Raises ValueError."""
    if text and not text.startswith("/"):
        raise ValueError(text)


def home_path(text: str) -> None:
    """The same, or what ssh itself completes: a home, a token, a variable, or none. Raises ValueError."""
    if text != "none" and not text.startswith(("~", "%", "${")):
        whole_path(text)


def zone(text: str) -> ZoneInfo:
    """A name such as Europe/Berlin. Raises ValueError."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise ValueError(text) from None


def zone_or_none(text: str) -> ZoneInfo | None:
    """A name such as Europe/Berlin, or nothing. Raises ValueError."""
    return zone(text) if text else None


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression with the groups vm and disk. Raises ValueError."""
    try:
        made = re.compile(text)
    except re.error:
        raise ValueError(text) from None
    if not {"vm", "disk"} <= made.groupindex.keys():
        raise ValueError(text)
    return made


def rates(parts: tuple[str, ...]) -> str:
    """An uplink's limits as `backup run --uplink` takes them. Raises ValueError."""
    text = ", ".join(parts) or "none"
    try:
        uplink.parse(text)
    except BadParam:
        raise ValueError(text) from None
    return text


def shared(parts: tuple[str, ...], among: int) -> str:
    """The limits of a line with each rate divided among so many, in bytes a second, as `backup run` takes them."""
    return ", ".join(_share(part, among) for part in ", ".join(parts).split(",") if part.strip()) or "none"


def _share(part: str, among: int) -> str:
    before, _, last = part.strip().rpartition(" ")
    found = SIZE.fullmatch(last)
    if found is None:
        return part.strip()
    return f"{before} {max(1, int(found[1]) * SUFFIX[found[2]] // among)}".strip()


def limit(text: str) -> None:
    """As `backup run --limit` takes it. Raises ValueError."""
    try:
        throttle.parse(text)
    except Refused:
        raise ValueError(text) from None


def word(allowed: str, read: Callable[[Any], Any] | None = None, **bounds: Any) -> msgspec.Meta:
    """What a value of fleet.yaml may be, in words; `read` raises ValueError for one that is not."""
    return msgspec.Meta(extra={"allowed": allowed, "read": read}, **bounds)
