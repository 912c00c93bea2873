"""fleet check: does every host answer, with the same crashcart, a right clock, room, a key that is held to the agent,
and every repository open to it; and can notices go out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from engines.backup.commands.lines import columns
from engines.backup.sources.lvm.snapshot import MOST_BEFORE
from engines.backup.store.s3.versions import ObjectVersions
from engines.fleet.agent import wire
from engines.fleet.commands import papers
from engines.fleet.commands.params import FleetParams
from engines.fleet.config.model import CONTROLLER, Fleet, Host
from engines.fleet.morning.telling import rehearse
from engines.fleet.planning import agreed
from engines.fleet.planning.jobs import locking, opening
from engines.fleet.planning.upkeep import lockable, unlocked
from engines.fleet.reach import ssh
from engines.fleet.reach.census import AT_ONCE
from engines.host.version import version
from engines.job import units
from engines.job.errors import CrashcartError, Failed

CLOCK = 60.0  # s that a host's clock may be off: rounds and late backups are told by it
ROOM = 1 << 30  # bytes that a host's state folder, or a repository, has left at the least
NO = 5  # exit code


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. why: what is wrong with it; empty where it is good."""

    what: str
    found: str
    why: str = ""


def answer(params: FleetParams) -> list[Finding]:
    """Look at all of it; a small file is written to each repository and removed, and nothing else. Raises Refused."""
    fleet = params.read()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hosts = pool.map(lambda name: [*_host(fleet, name, fleet.hosts[name])], fleet.hosts)
        found = [each for of in hosts for each in of]
    here = Host(ssh="local", find=())
    cared = [name for name, repository in fleet.repositories.items() if not repository.host]
    found += [_repository(fleet, to, CONTROLLER, here) for to in cared]
    return [*found, *_holds(fleet), *_locks(fleet), *_joining(fleet), *_notices(fleet)]


# ── hosts ───────────────────────────────────────────────────────────────────────────────────────────


def _host(fleet: Fleet, name: str, host: Host) -> Iterator[Finding]:
    what = f"host {name}"
    before = time.time()
    try:
        told = ssh.one(name, host, wire.About())
    except Failed as failed:
        yield Finding(what=what, found="does not answer", why=f"{failed.why}; {failed.what_helps}")
        return
    if not isinstance(told, wire.HostState):
        yield Finding(what=what, found="answers something else", why="install the same crashcart there")
        return
    yield Finding(what=what, found=f"{told.machine}, crashcart {told.version}", why=_version(told))
    yield Finding(what=f"{what}, clock", found=f"off by {_off(told, before):.0f} s", why=_clock(told, before))
    yield Finding(what=f"{what}, room", found=f"{units.size(told.free)} free", why=_room(told.free))
    for pool, full in told.pools.items():
        why = "" if full < MOST_BEFORE else f"no snapshot is made from {MOST_BEFORE:.0f} % on: enlarge it (lvextend)"
        yield Finding(what=f"{what}, thin pool {pool}", found=f"{full:.0f} % full", why=why)
    if host.ssh != "local":
        yield _key(name, host)
    yield from (_repository(fleet, to, name, host) for to in fleet.repositories)


def _version(told: wire.HostState) -> str:
    return "" if told.version == version() else f"the controller has {version()}: install the same on both"


def _off(told: wire.HostState, before: float) -> float:
    """How far a clock is off, as far as the time that the question took lets it be known."""
    now = time.time()
    return max(0.0, before - told.clock, told.clock - now)


def _clock(told: wire.HostState, before: float) -> str:
    return "" if _off(told, before) <= CLOCK else f"more than {CLOCK:.0f} s: set it, by NTP (timedatectl set-ntp true)"


def _room(free: int) -> str:
    return "" if free >= ROOM else f"less than {units.size(ROOM)}: crashcart runs prune, or a larger disk"


def _key(name: str, host: Host) -> Finding:
    """Whoever has the controller has its key: it must open no shell on a hypervisor."""
    what = f"host {name}"
    try:
        held = ssh.held_to_the_agent(name, host)
    except Failed as failed:
        return Finding(what=f"{what}, key", found="is not known", why=f"{failed.why}; {failed.what_helps}")
    if held:
        return Finding(what=f"{what}, key", found="can only ask the agent")
    why = f"whoever has it is {host.ssh.partition('@')[0]} there: put {ssh.FORCED} before it in authorized_keys"
    return Finding(what=f"{what}, key", found="runs any command", why=why)


# ── repositories ────────────────────────────────────────────────────────────────────────────────────


def _repository(fleet: Fleet, name: str, by: str, host: Host) -> Finding:
    """Whether it opens where it is written to, with the key that lies there."""
    repository = fleet.repositories[name]
    what = f"repository {name} from {by}"
    try:
        told = ssh.one(by, host, wire.Fit(repository=opening(repository)))
    except Failed as failed:
        return Finding(what=what, found="cannot be used", why=f"{failed.why}; {failed.what_helps}")
    if not isinstance(told, wire.Fits):
        return Finding(what=what, found="answers something else", why="install the same crashcart there")
    if told.free is None:
        return Finding(what=what, found=f"{told.points} points in {repository.url}")
    full = "" if told.free >= ROOM else f"less than {units.size(ROOM)} free: crashcart backup prune, then gc, or a disk"
    return Finding(what=what, found=f"{told.points} points, {units.size(told.free)} free", why=full)


def _holds(fleet: Fleet) -> Iterator[Finding]:
    """Whether controllers can tell each other who works and what is held."""
    if not fleet.lease:
        return
    what = f"lease and holds in {fleet.lease}"
    try:
        count = agreed.try_out(fleet)
    except (CrashcartError, OSError) as error:
        yield Finding(what=what, found="cannot be read or changed", why=units.one_line(str(error)))
    else:
        yield Finding(what=what, found=f"can be changed, {count} held")


def _locks(fleet: Fleet) -> Iterator[Finding]:
    for text in unlocked(fleet):
        yield Finding(what="lock", found="is wanted and cannot be", why=text)
    for name, repository in fleet.repositories.items():
        if not lockable(repository) or not locking(fleet, name) or repository.host:
            continue  # where the keys lie on a host, it is that host's `backup lock` that says so
        try:
            ObjectVersions(repository.url, lock=True).demand_locks()
        except (CrashcartError, OSError) as error:
            yield Finding(what=f"lock of {name}", found="is wanted and cannot be", why=str(error))
        else:
            yield Finding(what=f"lock of {name}", found="can be")


def _joining(fleet: Fleet) -> Iterator[Finding]:
    for what, found, why in papers.joining(fleet):
        yield Finding(what=what, found=found, why=why)


def _notices(fleet: Fleet) -> Iterator[Finding]:
    for file, why in rehearse(fleet):
        yield Finding(what=f"alerts, {file}", found="could not be sent" if why else "could be sent", why=why)


def table(findings: list[Finding]) -> str:
    """A line each."""
    rows = [("", "looked at", "found", "what is wrong")]
    rows += [("no" if each.why else "ok", each.what, each.found, each.why) for each in findings]
    return "\n".join(map(units.one_line, columns(rows)))


def code(findings: list[Finding]) -> int:
    """5 where something is wrong."""
    return NO if any(each.why for each in findings) else 0
