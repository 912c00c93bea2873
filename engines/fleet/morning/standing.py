"""How every guest stands: a light, by the newest points that repositories really hold and the policy's own patience."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from engines.fleet.config.model import Fleet, Policy
from engines.fleet.ledger.rows import Job, Known
from engines.fleet.morning.holdings import Holdings
from engines.fleet.planning.assigning import Assigned
from engines.fleet.planning.wanted import AHEAD
from engines.job import units

Light = Literal["uncovered", "failed", "late", "unknown", "gone", "new", "warned", "good", "skipped"]
ORDER: tuple[Light, ...] = ("uncovered", "failed", "late", "unknown", "gone", "new", "warned", "good", "skipped")
BAD: tuple[Light, ...] = ("uncovered", "failed", "late", "unknown")
TREND = ("failed", "refused", "missed")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One guest. good: when the oldest of its disks' newest whole points was begun, Unix time in s; None for never.

    age, late_after: seconds. stored: bytes that all its points brought; size: of its disks. where: repositories that
    have all its disks. why, what_helps: what is wrong, empty where nothing is.
    """

    name: str
    uuid: str
    vm: str
    host: str
    policy: str
    light: Light
    good: float | None = None
    age: float | None = None
    late_after: int = 0
    disks: int = 0
    size: int = 0
    changed: int = 0
    stored: int = 0
    where: tuple[str, ...] = ()
    verified: str = ""
    why: str = ""
    what_helps: str = ""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One repository; gc, verified: when that last ended well, Unix time in s. Bytes; free is None where unknown.

    tight: why the next night may not find room there; empty where it will.
    """

    name: str
    url: str
    bytes: int = 0
    free: int | None = None
    gc: float | None = None
    verified: float | None = None
    trouble: str = ""
    tight: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. at: Unix time in s of looking; silent: hosts that had no answer, and why; held: what is, in words.

    emptied: hosts that answer, and show not one of the guests that they had; in words, with what helps.
    unsure: why others may be held, too, the last line of `held`; empty where all is known.
    """

    at: float
    rows: tuple[Row, ...]
    repositories: tuple[Stored, ...] = ()
    silent: dict[str, str] = {}
    emptied: dict[str, str] = {}
    held: tuple[str, ...] = ()
    unsure: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Guests by light, those that need somebody first."""
        found = Counter(row.light for row in self.rows)
        return {light: found[light] for light in ORDER if found[light]}

    @property
    def bad(self) -> bool:
        """Whether somebody must look."""
        return bool(self.silent or self.emptied or self.unsure) or any(row.light in BAD for row in self.rows)


def rows(
    fleet: Fleet,
    assigned: Sequence[Assigned],
    known: Iterable[Known],
    holdings: Holdings,
    newest_jobs: Mapping[tuple[str, str], Job],
    now: float,
    silent: Mapping[str, str] | None = None,
    proofs: Mapping[tuple[str, str], Job] | None = None,
) -> tuple[Row, ...]:
    """A row a guest, the worst first. known: every guest that was ever seen, those that are gone among them.

    silent: by host, why it had no answer, which is then why a guest of it has no younger point.
    proofs: by guest and repository, the newest try to restore it that came out; it counts where the guest's policy
    proves it, and from there.
    """
    first = {one.uuid: one.first for one in known}
    here = {one.guest.uuid for one in assigned}
    found = [_row(fleet, one, holdings, newest_jobs, now, first.get(one.guest.uuid, now)) for one in assigned]
    unproven = {one.guest.uuid: job for one in assigned if (job := _disproof(fleet, one, proofs or {}))}
    found = [_unproven(_unseen(row, silent or {}), unproven) for row in found]
    found += [_gone(one, holdings, now) for one in known if one.gone is not None and one.uuid not in here]
    return tuple(sorted(found, key=lambda row: (ORDER.index(row.light), row.name, row.uuid)))


def _row(
    fleet: Fleet,
    one: Assigned,
    holdings: Holdings,
    jobs: Mapping[tuple[str, str], Job],
    now: float,
    first: float,
) -> Row:
    guest = one.guest
    row = Row(
        name=guest.name, uuid=guest.uuid, vm=one.vm, host=guest.host, policy=one.policy, light="good",
        disks=len(one.disks),
    )  # fmt: skip
    if one.skipped:
        return msgspec.structs.replace(row, light="skipped", why=one.why)
    if not one.covered:
        helps = "give it a policy, or say skip with a why, under guests: in fleet.yaml"
        return msgspec.structs.replace(row, light="uncovered", why=one.why or "it has no disk", what_helps=helps)
    policy = fleet.policies[one.policy]
    row = _measured(row, one, policy, holdings, now)
    if not one.why and (point := _ahead(one, policy, holdings, now)):
        why = f"{point} says that it was made in the time to come: its host's clock was wrong"
        return _as(row, "failed", why, f"set the clock, back it up, then: crashcart backup prune --drop {point}")
    return _judged(row, one, policy, holdings, jobs, now - first)


def _ahead(one: Assigned, policy: Policy, holdings: Holdings, now: float) -> str:
    """A newest point that is not made yet by our clock; empty where there is none."""
    wanted = {disk.name for disk in one.disks}
    disks = (disk for name in policy.to for disk in holdings.find(name, one.vm, one.guest.uuid))
    return next((disk.point for disk in disks if disk.disk in wanted and disk.taken > now + AHEAD), "")


def _measured(row: Row, one: Assigned, policy: Policy, holdings: Holdings, now: float) -> Row:
    """With its figures."""
    wanted = {disk.name for disk in one.disks}
    good: list[float] = []
    where: list[str] = []
    stored = size = changed = 0
    verified: list[str] = []
    for repository in policy.to:
        disks = [disk for disk in holdings.find(repository, one.vm, one.guest.uuid) if disk.disk in wanted]
        times = [disk.good for disk in disks if disk.good is not None]
        if len(times) == len(wanted):
            where.append(repository)
            good.append(min(times))
        stored += sum(disk.stored for disk in disks)
        size = max(size, sum(disk.size for disk in disks))
        changed = max(changed, sum(disk.changed for disk in disks))
        verified += [disk.verified for disk in disks]
    oldest = min(good) if len(where) == len(policy.to) else None
    return msgspec.structs.replace(
        row, good=oldest, age=None if oldest is None else now - oldest, late_after=policy.late_after, stored=stored,
        size=size, changed=changed, where=tuple(where), verified=min(verified, default=""),
    )  # fmt: skip


def _judged(
    row: Row, one: Assigned, policy: Policy, holdings: Holdings, jobs: Mapping[tuple[str, str], Job], there: float
) -> Row:
    """With its light: never good where a point is not whole, a repository was not read, or a disk has none."""
    silent = [f"{name}: {holdings.silent[name]}" for name in policy.to if name in holdings.silent]
    if one.why:
        return _as(row, "uncovered", f"not of every disk: {one.why}", "see: crashcart fleet guests --uncovered")
    if silent:
        return _as(row, "unknown", "not read: " + "; ".join(silent), "see to that repository, then look again")
    broken = [
        f"{disk.point} in {name}: {disk.trouble}"
        for name in policy.to
        for disk in holdings.find(name, one.vm, one.guest.uuid)
        if disk.trouble and disk.disk in {wanted.name for wanted in one.disks}
    ]
    if broken:
        return _as(row, "failed", "; ".join(broken), "back it up again, then: crashcart backup verify")
    failed = _failure(row, policy, jobs)
    if row.good is None:
        lacking = ", ".join(name for name in policy.to if name not in row.where)
        if failed:
            return _as(row, "failed", failed.why, failed.what_helps)
        light: Light = "new" if there < policy.late_after else "late"
        foreign = ", ".join(name for name in policy.to if holdings.foreign(name, one.vm, row.uuid))
        other = f" ({one.vm} in {foreign} is another guest's)" if foreign else ""
        return _as(row, light, f"no backup yet in {lacking}{other}", "crashcart fleet run --only " + row.name)
    if row.age is not None and row.age > policy.late_after:
        why = f"its newest point is {units.span(row.age)} old, allowed are {units.span(policy.late_after)}"
        return _as(row, "late", failed.why if failed else why, failed.what_helps if failed else "")
    return _as(row, "failed", failed.why, failed.what_helps) if failed else _warned(row, policy, jobs)


def _warned(row: Row, policy: Policy, jobs: Mapping[tuple[str, str], Job]) -> Row:
    """With what the runs of its newest points warned of: such a point is whole, and may be of no clean moment."""
    made = [job for name in policy.to if (job := jobs.get((row.uuid, name))) and job.state == "warned"]
    said = dict.fromkeys(text for job in made for text in job.warnings)
    return _as(row, "warned", "; ".join(said), "see its run: crashcart fleet report") if said else row


def _disproof(fleet: Fleet, one: Assigned, proofs: Mapping[tuple[str, str], Job]) -> Job | None:
    """The proof that its policy wants and that came out badly."""
    policy = fleet.policies.get(one.policy)
    job = proofs.get((one.guest.uuid, policy.to[0])) if policy and policy.prove else None
    return job if job and job.state in ("failed", "refused") else None


def _unproven(row: Row, unproven: Mapping[str, Job]) -> Row:
    """With a restore that was tried and failed: points that are all there, and save nobody."""
    if row.light not in ("good", "warned") or row.uuid not in unproven:
        return row
    job = unproven[row.uuid]
    return _as(row, "failed", f"its restore was tried and failed: {job.why}", job.what_helps)


def _unseen(row: Row, silent: Mapping[str, str]) -> Row:
    """With its host's silence as the reason, where that is all that is known."""
    if row.light != "late" or row.host not in silent:
        return row
    why = f"{row.why}; host {row.host} has no answer: {silent[row.host]}"
    return _as(row, "late", why, row.what_helps or "see to that host: crashcart fleet check")


def _failure(row: Row, policy: Policy, jobs: Mapping[tuple[str, str], Job]) -> Job | None:
    """The newest job that ended badly after the newest point was begun."""
    for name in policy.to:
        job = jobs.get((row.uuid, name))
        if job and job.state in TREND and (job.ended or 0.0) > (row.good or 0.0):
            return job
    return None


def _gone(known: Known, holdings: Holdings, now: float) -> Row:
    """A guest that no host shows any more: its points are kept, and only a word takes them out."""
    disks = [disk for name in holdings.held for disk in holdings.find(name, known.vm, known.uuid)]
    good = [disk.good for disk in disks if disk.good is not None]
    return Row(
        name=known.name, uuid=known.uuid, vm=known.vm, host=known.host, policy=known.policy, light="gone",
        good=max(good, default=None), age=now - max(good) if good else None, disks=len({disk.disk for disk in disks}),
        size=sum(disk.size for disk in disks), stored=sum(disk.stored for disk in disks),
        where=tuple(name for name in holdings.held if holdings.find(name, known.vm, known.uuid)),
        why=f"no host shows it for {units.span(now - (known.gone or now))}; its points are kept",
        what_helps=f"when nobody needs them: crashcart backup prune --only {known.vm} --keep-last 1, then gc",
    )  # fmt: skip


def _as(row: Row, light: Light, why: str, helps: str = "") -> Row:
    return msgspec.structs.replace(row, light=light, why=why, what_helps=helps)
