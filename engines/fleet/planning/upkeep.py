"""What a round does for repositories once its backups are made: prune, gc, verify a share, lock, and prove guests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import msgspec

from engines.fleet.config import words
from engines.fleet.config.model import CONTROLLER, Fleet, Policy, Repository, kept
from engines.fleet.ledger.holds import holds, over
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import GOOD, Job, Kind, key
from engines.fleet.planning import jobs
from engines.fleet.planning.assigning import Assigned
from engines.fleet.planning.wanted import AHEAD, calendar_of
from engines.fleet.schedule.calendar import Calendar
from engines.job.jobfile import Job as JobFile

EARLY = 0.9  # of an interval: a night's work does not slip by a day because it began a minute sooner than the last


class Upkeep(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of it. subject: a policy (prune) or a guest's UUID (prove), else empty."""

    key: str
    kind: Kind
    subject: str
    vm: str
    host: str
    repository: str
    job: JobFile


def upkeep(fleet: Fleet, assigned: Sequence[Assigned], ledger: Ledger, round_: str, now: float) -> list[Upkeep]:
    """What is due, in the order in which it is best done: prune, gc, verify, and a lock on what is left.

    round_: what this pass is called, as no other is, since what is done under a key is not done again.
    """
    held = holds(ledger)
    assigned = [one for one in assigned if not over(held, uuid=one.guest.uuid, host=one.guest.host)]
    found = [*_prunes(fleet, assigned, ledger, round_, now)]
    for name, repository in fleet.repositories.items():
        if _old(ledger, "gc", name, words.seconds(repository.gc), now):
            found.append(_of(fleet, "gc", name, round_, jobs.gc(fleet, name)))
        if _old(ledger, "verify", name, words.seconds(repository.verify), now):
            found.append(_of(fleet, "verify", name, round_, jobs.verify(fleet, name)))
        if lockable(repository) and jobs.locking(fleet, name) and _old(ledger, "lock", name, words.DAY, now):
            found.append(_of(fleet, "lock", name, round_, jobs.lock(fleet, name)))
    found += _proofs(fleet, assigned, ledger, round_, now)
    return [each for each in found if not over(held, host=each.host, repository=each.repository)]


def lockable(repository: Repository) -> bool:
    """Whether there can be a lock at all: only buckets have them."""
    return repository.url.startswith("s3://")


def unlocked(fleet: Fleet) -> Iterator[str]:
    """Where a policy wants a lock and none can be, in words."""
    for name, policy in fleet.policies.items():
        for to in policy.to if policy.lock else ():
            if not lockable(fleet.repositories[to]):
                yield f"policy {name} wants a lock of {policy.lock}, and {to} is no bucket: whoever has its key deletes"


def _of(
    fleet: Fleet, kind: Kind, repository: str, round_: str, job: JobFile, subject: str = "", vm: str = ""
) -> Upkeep:
    host = fleet.repositories[repository].host or CONTROLLER
    name = key(kind, round_, subject, repository)
    return Upkeep(key=name, kind=kind, subject=subject, vm=vm, host=host, repository=repository, job=job)


def _prunes(fleet: Fleet, assigned: Sequence[Assigned], ledger: Ledger, round_: str, now: float) -> Iterator[Upkeep]:
    """Once a day, and where points were made since the last."""
    pruned, made = ledger.newest_good("prune", now + AHEAD), ledger.newest_good("backup", now + AHEAD)
    for name, policy in fleet.policies.items():
        whose = [one for one in assigned if one.policy == name]
        for repository in policy.to if whose and kept(policy.keep) else ():
            last = pruned.get((name, repository))
            points = (made.get((one.guest.uuid, repository)) for one in whose)
            newest = max((job.ended or 0.0 for job in points if job), default=0.0)
            if last and newest <= (last.started or 0.0) and (last.started or 0.0) > now - EARLY * words.DAY:
                continue
            vms = sorted(one.vm for one in whose)
            yield _of(fleet, "prune", repository, round_, jobs.prune(fleet, name, repository, vms), subject=name)


def _old(ledger: Ledger, kind: Kind, repository: str, interval: int, now: float) -> bool:
    """Whether none ended well for so long."""
    last = ledger.newest_good(kind, now + AHEAD).get(("", repository))
    return last is None or (last.started or 0.0) <= now - EARLY * interval


def _proofs(fleet: Fleet, assigned: Sequence[Assigned], ledger: Ledger, round_: str, now: float) -> Iterator[Upkeep]:
    """Guests whose own day of the interval it is, so that not all are proven in the same, whether its window is still
    open or not; and of those that had none on theirs as many more as a day has of its own.
    """
    good, tried = ledger.newest_good("prove", now + AHEAD), ledger.newest_tried("prove", now + AHEAD)
    first = {one.uuid: one.first for one in ledger.guests()}
    own: list[Upkeep] = []
    missed: list[tuple[tuple[float, float, str], Upkeep]] = []
    share = 0.0
    for one in assigned:
        policy = fleet.policies.get(one.policy)
        if not one.covered or policy is None or policy.prove is None:
            continue
        share += words.DAY / words.seconds(policy.prove)
        latest = _proving(fleet, one, policy, policy.prove).latest(now)
        subject = (one.guest.uuid, policy.to[0])
        well, bad = good.get(subject), _badly(tried.get(subject))
        if (well and well.planned >= latest.opens) or (bad and bad.planned > now - EARLY * words.DAY):
            continue
        again = bad.planned if bad and bad.planned >= latest.opens else 0.0
        name = f"{latest.name}.{round_}" if again else latest.name  # what failed stays told until this one is over
        job = jobs.prove(fleet, one, policy.to[0])
        found = _of(fleet, "prove", policy.to[0], name, job, subject=one.guest.uuid, vm=one.vm)
        if latest.opens > now - words.DAY:
            own.append(found)
        elif first.get(one.guest.uuid, now) <= latest.opens:
            missed.append(((again, latest.opens, one.guest.uuid), found))
    missed.sort(key=lambda each: each[0])  # those that failed last of all: others have their turn
    yield from (*own, *(found for _, found in missed[: ceil(share)]))


def _proving(fleet: Fleet, one: Assigned, policy: Policy, every: str) -> Calendar:
    proof = msgspec.structs.replace(policy, every=every)
    return calendar_of(proof, fleet.zone_of(one.guest.host), one.guest.uuid)


def _badly(last: Job | None) -> Job | None:
    """It, if it came out badly: it is tried again once a night then, and not in each pass."""
    return last if last and last.state not in GOOD else None
