"""All hosts asked at once which guests they have; each guest once, wherever it moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec

from engines.backup.guests.model import FoundGuests, Guest
from engines.fleet.agent import wire
from engines.fleet.config.model import ByLvm, Host
from engines.fleet.ledger.rows import Known
from engines.fleet.reach import ssh
from engines.job.errors import Failed

AT_ONCE = 16  # hosts
STALE = "{} is shut off on {} as well, which is not taken for it while {} is silent"
TWICE = "it is seen on {} at once: end the migration, or undefine the copy"


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """Who is there. silent: by host, why it, or a way of looking on it, had no answer. answered: hosts that had."""

    guests: tuple[Guest, ...] = ()
    silent: dict[str, str] = {}
    answered: tuple[str, ...] = ()


def take(hosts: Mapping[str, Host], known: Iterable[Known] = ()) -> Census:
    """Ask them all. known: where guests were seen before."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(hosts, pool.map(_asked, hosts, hosts.values()), strict=True))
    guests = [
        msgspec.structs.replace(guest, host=name)
        for name, answer in found.items()
        if isinstance(answer, FoundGuests)
        for guest in answer.guests
    ]
    silent = {name: answer for name, answer in found.items() if isinstance(answer, str)}
    partly = {
        name: "; ".join(answer.silent)
        for name, answer in found.items()
        if isinstance(answer, FoundGuests) and answer.silent
    }
    answered = tuple(name for name in hosts if name not in silent | partly)
    there, stale = at_home(each_once(guests), known, silent | partly)
    return Census(guests=tuple(there), silent=stale, answered=answered)


def at_home(
    guests: Iterable[Guest], known: Iterable[Known], silent: Mapping[str, str]
) -> tuple[list[Guest], dict[str, str]]:
    """Without those who are off where they are seen, and were last seen on a host that is silent now: what a migration
    left behind is a disk of long ago. And the silent hosts, with who that is.
    """
    home = {one.uuid: one.host for one in known if one.gone is None and one.host in silent}
    there: list[Guest] = []
    said = dict(silent)
    for guest in guests:
        host = home.get(guest.uuid, guest.host)
        if guest.running or host == guest.host:
            there.append(guest)
        else:
            said[host] = f"{said[host]}; {STALE.format(guest.name, guest.host, host)}"
    return there, said


def _asked(name: str, host: Host) -> FoundGuests | str:
    patterns = tuple(way.lvm for way in host.find if isinstance(way, ByLvm))
    request = wire.Find(connect=host.connect, libvirt="libvirt" in host.find, patterns=patterns)
    try:
        answer = ssh.one(name, host, request)
    except Failed as failed:
        return str(failed)
    return answer.found if isinstance(answer, wire.Guests) else f"host {name} answers something else"


def each_once(guests: Iterable[Guest]) -> list[Guest]:
    """By UUID: of one that is on several hosts, as in a migration, where it runs; told where that is not one."""
    by: dict[str, list[Guest]] = {}
    for guest in guests:
        by.setdefault(guest.uuid, []).append(guest)
    return sorted((_one(same) for same in by.values()), key=lambda guest: (guest.name, guest.uuid))


def _one(same: list[Guest]) -> Guest:
    running = [guest for guest in same if guest.running]
    if len(same) == 1 or len(running) == 1:
        return (running or same)[0]
    hosts = " and ".join(f"{guest.host} ({guest.name})" for guest in same)
    return msgspec.structs.replace(same[0], why=TWICE.format(hosts))
