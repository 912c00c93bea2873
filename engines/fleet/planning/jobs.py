"""The job files that hosts are given: a guest's backup, and the upkeep of a repository."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engines.backup import names
from engines.fleet.config import words
from engines.fleet.config.model import Fleet, Policy, Repository, kept
from engines.fleet.planning.assigning import Assigned
from engines.job.jobfile import Job

LOCKED = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")  # rules that a lock has, too


def opening(repository: Repository) -> dict[str, Any]:
    """What names and unlocks a repository."""
    given = {"repo": repository.url, "key_file": repository.key_file, "passphrase_file": repository.passphrase_file}
    return {name: value for name, value in given.items() if value}


def backup(fleet: Fleet, one: Assigned, repository: str) -> Job:
    """One guest into one repository, all its disks in one moment where that can be."""
    policy = fleet.policies[one.policy]
    to = fleet.repositories[repository]
    params: dict[str, Any] = {
        **opening(to),
        "source": one.disks[0].source,
        "more": [disk.source for disk in one.disks[1:]],
        "vm": one.vm,
        "disk": [disk.name for disk in one.disks],
        "limit": policy.limit,
        "uplink": rate(fleet, to),
        "tag": [names.OF_GUEST + one.guest.uuid],
    }
    forms = {disk.format for disk in one.disks if disk.format}
    if len(forms) == 1 and (form := forms.pop()) in ("raw", "qcow2"):
        params["format"] = form
    if one.guest.qmp and one.guest.running:
        params["qmp"] = one.guest.qmp
    elif one.agent and one.guest.agent and all(disk.kind == "block" for disk in one.disks):
        params["agent"] = one.guest.agent
    return Job(task="backup", params={name: value for name, value in params.items() if value not in ("", [])})


def rate(fleet: Fleet, repository: Repository) -> str:
    """What one of the runs on an uplink may write: the line's limit, shared by as many as may be on it at once."""
    if not repository.uplink:
        return "none"
    uplink = fleet.uplinks[repository.uplink]
    return words.shared(uplink.limit, uplink.slots)


def _held(fleet: Fleet, repository: Repository) -> dict[str, str]:
    """The rate of upkeep, where there is one."""
    return {"uplink": rate(fleet, repository)} if repository.uplink else {}


def prune(fleet: Fleet, policy: str, repository: str, vms: Sequence[str]) -> Job:
    """Take out what a policy does not keep, of its guests alone: who has vanished keeps what it has."""
    params = {**opening(fleet.repositories[repository]), **kept(fleet.policies[policy].keep)}
    return Job(task="backup-prune", params={**params, "zone": fleet.zone, "vms": list(vms)})


def gc(fleet: Fleet, repository: str) -> Job:
    """Free what no point needs any more."""
    to = fleet.repositories[repository]
    return Job(task="backup-gc", params={**opening(to), **_held(fleet, to)})


def verify(fleet: Fleet, repository: str) -> Job:
    """Read a share of what is stored."""
    to = fleet.repositories[repository]
    return Job(task="backup-verify", params={**opening(to), "percent": to.share, **_held(fleet, to)})


def locking(fleet: Fleet, repository: str) -> list[Policy]:
    """The policies that want its points locked."""
    return [policy for policy in fleet.policies.values() if policy.lock and repository in policy.to]


def lock(fleet: Fleet, repository: str) -> Job:
    """Have nobody delete what the policies keep, for the longest time that one of them says; without a rule, all."""
    policies = locking(fleet, repository)
    days = max(-(-words.seconds(policy.lock or "day") // words.DAY) for policy in policies)
    params = {**opening(fleet.repositories[repository]), "days": days}
    rules = [kept(policy.keep) for policy in policies]
    if all(rule.keys() & set(LOCKED) for rule in rules):
        params |= {name: max(rule.get(name, 0) for rule in rules) for name in LOCKED}
    return Job(task="backup-lock", params=params)


def prove(fleet: Fleet, one: Assigned, repository: str) -> Job:
    """Restore the newest point of each of its disks to scratch, list the first and boot from it."""
    first, *more = (f"{one.vm}/{disk.name}@latest" for disk in one.disks)
    params: dict[str, Any] = {**opening(fleet.repositories[repository]), "point": first}
    return Job(task="backup-prove", params={**params, **({"more": more} if more else {})})
