"""A night as data and as Markdown: who stands how, what was done, what it moved, and what somebody must see to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import GOOD, Job
from engines.fleet.morning.standing import BAD, Row, Standing
from engines.job import units
from engines.job.errors import BadParam

NOON = 12  # a night is from noon to noon of the fleet's zone
SLOWEST = 5


class Night(msgspec.Struct, frozen=True, kw_only=True):
    """One night. begins, ends: Unix time in s; jobs: those that were at work in it, in the order of their starts.

    zone: whose hours texts have. read, changed, stored: bytes of all jobs.
    """

    name: str
    begins: float
    ends: float
    zone: str
    standing: Standing
    jobs: tuple[Job, ...]

    @property
    def read(self) -> int:
        """Bytes."""
        return sum(job.read for job in self.jobs)

    @property
    def stored(self) -> int:
        """Bytes."""
        return sum(job.stored for job in self.jobs)


def gather(fleet: Fleet, ledger: Ledger, standing: Standing, night: str = "") -> Night:
    """The night that began on the noon of a date, like 2026-11-29; without one, the one under way or just over.

    Raises BadParam.
    """
    zone = ZoneInfo(fleet.zone)
    begins = _noon(night, zone, standing.at)
    ends = begins + timedelta(days=1)
    since, until = begins.timestamp(), ends.timestamp()
    jobs = ledger.jobs("started < ? and (ended is null or ended >= ?)", (until, since))
    return Night(
        name=begins.date().isoformat(), begins=since, ends=until, zone=fleet.zone, standing=standing,
        jobs=tuple(sorted(jobs, key=lambda job: (job.started or 0.0, job.key))),
    )  # fmt: skip


def _noon(night: str, zone: ZoneInfo, now: float) -> datetime:
    if not night:
        day = (datetime.fromtimestamp(now, zone) - timedelta(hours=NOON)).date()
    else:
        try:
            day = datetime.strptime(night, "%Y-%m-%d").date()
        except ValueError:
            raise BadParam("night", night, "the date on which it began, like 2026-11-29") from None
    return datetime(day.year, day.month, day.day, NOON, tzinfo=zone)


# ── as Markdown ─────────────────────────────────────────────────────────────────────────────────────


def markdown(night: Night) -> str:
    """The report of the night."""
    return "\n".join(_lines(night)) + "\n"


def _lines(night: Night) -> Iterator[str]:
    standing = night.standing
    yield f"# Backups of the night of {night.name}"
    yield ""
    yield headline(standing) + "."
    good = sum(job.state in GOOD for job in night.jobs)
    moved = f"{units.size(night.read)} read, {units.size(night.stored)} stored"
    yield (
        f"{good} of {len(night.jobs)} jobs ended well; {moved}. "
        f"Times are of {night.zone}; looked at {_clock(night, standing.at)}."
    )
    yield from _section("See to these", [_trouble(row) for row in standing.rows if row.light in BAD])
    yield from _section(
        "Hosts without an answer", [f"- {_m(host)}: {_m(why)}" for host, why in standing.silent.items()]
    )
    yield from _section("Hosts without a guest", [f"- {_m(words)}" for words in standing.emptied.values()])
    yield from _section("Held", [f"- {_m(words)}" for words in standing.held])
    bad = [job for job in night.jobs if job.state not in (*GOOD, "running", "waiting")]
    yield from _section("Jobs that did not end well", [_bad(night, job) for job in bad])
    yield from _section(
        "Still at work", [f"- {_m(what(job))} on {_m(job.host)}" for job in night.jobs if not job.ended]
    )
    yield from _table("Guests", ("guest", "stands", "last good", "size", "stored", "where"), [
        (row.name, row.light, "never" if row.good is None else _clock(night, row.good), units.size(row.size),
         units.size(row.stored), ", ".join(row.where) or "-")
        for row in standing.rows
    ])  # fmt: skip
    yield from _table("Repositories", ("repository", "in packs", "free", "last gc", "last verify", "trouble"), [
        (one.name, units.size(one.bytes), "-" if one.free is None else units.size(one.free),
         _clock(night, one.gc), _clock(night, one.verified), one.trouble or one.tight or "-")
        for one in standing.repositories
    ])  # fmt: skip
    yield from _table("Slowest", ("job", "host", "took", "read", "stored"), [
        (what(job), job.host, units.span(took(job, standing.at)), units.size(job.read), units.size(job.stored))
        for job in sorted(night.jobs, key=lambda job: -took(job, standing.at))[:SLOWEST]
    ])  # fmt: skip


def headline(standing: Standing) -> str:
    """How many guests stand how, in one line."""
    counts = standing.counts
    said = ", ".join(f"{count} {light}" for light, count in counts.items()) or "no guest is known"
    total = sum(counts.values())
    return f"{total} guest{'s' * (total != 1)}: {said}" if counts else said


def what(job: Job) -> str:
    """A job in a few words."""
    return " ".join(
        filter(None, (job.kind, job.vm, f"to {job.repository}" if job.kind == "backup" else job.repository))
    )


def took(job: Job, now: float) -> float:
    """Seconds that it was, or has been, at work."""
    return max(0.0, (job.ended or now) - (job.started or now))


def _trouble(row: Row) -> str:
    helps = f" What helps: {_m(row.what_helps)}." if row.what_helps else ""
    return f"- {_m(row.name)} on {_m(row.host)} ({row.light}): {_m(row.why)}.{helps}"


def _bad(night: Night, job: Job) -> str:
    helps = f" What helps: {_m(job.what_helps)}." if job.what_helps else ""
    tries = f", {job.tries} tries" if job.tries > 1 else ""
    run = f" Run {_m(job.run)} on that host." if job.run else ""
    where = f"{_m(what(job))} on {_m(job.host)}, {_clock(night, job.started)}{tries}"
    return f"- {where}: {job.state}: {_m(job.why)}.{helps}{run}"


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ("", f"## {title}", "", *lines)


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield from ("", f"## {title}", "", f"| {' | '.join(head)} |", "|" + "-|" * len(head))
        yield from (f"| {' | '.join(map(_m, row))} |" for row in rows)


def _clock(night: Night, at: float | None) -> str:
    return "never" if at is None else f"{datetime.fromtimestamp(at, ZoneInfo(night.zone)):%Y-%m-%d %H:%M}"


def _m(text: str) -> str:
    return units.marked(text)


def flat(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Rows for a table on a terminal, with its head."""
    head = ("guest", "stands", "last good", "allowed", "size", "stored", "host", "where; why")
    return [
        head,
        *(
            (
                row.name,
                row.light,
                "never" if row.age is None else f"{units.span(row.age)} ago",
                units.span(row.late_after) if row.late_after else "-",
                units.size(row.size),
                units.size(row.stored),
                row.host,
                "; ".join(filter(None, (", ".join(row.where), row.why))),
            )
            for row in rows
        ),
    ]
