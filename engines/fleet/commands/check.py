"""fleet check: does every host answer, with the same crashcart, a right clock and room; is every repository there."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from engines.backup.commands.lines import columns
from engines.backup.repository.repository import Repository
from engines.fleet.agent import wire
from engines.fleet.commands.params import FleetParams
from engines.fleet.config.model import Fleet, Host
from engines.fleet.reach import ssh
from engines.fleet.reach.census import AT_ONCE
from engines.host.version import version
from engines.job import units
from engines.job.errors import CrashcartError, Failed

CLOCK = 60.0  # s that a host's clock may be off: rounds and late backups are told by it
ROOM = 1 << 30  # bytes that a host's state folder has left at the least
NO = 5  # exit code


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. why: what is wrong with it; empty where it is good."""

    what: str
    found: str
    why: str = ""


def answer(params: FleetParams) -> list[Finding]:
    """Look at all of it; nothing is changed. Raises Refused."""
    fleet = params.read()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hosts = [each for found in pool.map(_host, fleet.hosts, fleet.hosts.values()) for each in found]
    return [*hosts, *_repositories(fleet)]


def _host(name: str, host: Host) -> list[Finding]:
    what = f"host {name}"
    before = time.time()
    try:
        told = ssh.one(name, host, wire.About())
    except Failed as failed:
        return [Finding(what=what, found="does not answer", why=str(failed))]
    if not isinstance(told, wire.Host):
        return [Finding(what=what, found="answers something else", why="install the same crashcart there")]
    return [
        Finding(what=what, found=f"{told.machine}, crashcart {told.version}", why=_version(told)),
        Finding(what=f"{what}, clock", found=f"off by {_off(told, before):.0f} s", why=_clock(told, before)),
        Finding(what=f"{what}, room", found=f"{units.size(told.free)} free", why=_room(told)),
    ]


def _version(told: wire.Host) -> str:
    return "" if told.version == version() else f"the controller has {version()}: install the same on both"


def _off(told: wire.Host, before: float) -> float:
    """How far a clock is off, as far as the time that the question took lets it be known."""
    now = time.time()
    return max(0.0, before - told.clock, told.clock - now)


def _clock(told: wire.Host, before: float) -> str:
    return "" if _off(told, before) <= CLOCK else f"more than {CLOCK:.0f} s: set it, by NTP (timedatectl set-ntp true)"


def _room(told: wire.Host) -> str:
    return "" if told.free >= ROOM else f"less than {units.size(ROOM)}: crashcart runs prune, or a larger disk"


def _repositories(fleet: Fleet) -> list[Finding]:
    found = []
    for name, repository in fleet.repositories.items():
        what = f"repository {name}"
        try:
            with Repository.glance(repository.url) as glance:
                found.append(Finding(what=what, found=f"{len(list(glance.names()))} points in {repository.url}"))
        except (CrashcartError, OSError) as error:
            found.append(Finding(what=what, found="cannot be read from here", why=str(error)))
    return found


def table(findings: list[Finding]) -> str:
    """A line each."""
    rows = [("", "looked at", "found", "what is wrong")]
    rows += [("no" if each.why else "ok", each.what, each.found, each.why) for each in findings]
    return "\n".join(map(units.one_line, columns(rows)))


def code(findings: list[Finding]) -> int:
    """5 where something is wrong."""
    return NO if any(each.why for each in findings) else 0
