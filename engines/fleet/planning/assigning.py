"""Which policy each guest has, by which name it goes in repositories, and who has none and why."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, count

import msgspec

from engines.backup import names
from engines.backup.guests.domains import IN_USE
from engines.backup.guests.model import Guest, GuestDisk
from engines.fleet.config.model import Fleet, Match, Policy, Rule
from engines.fleet.ledger.rows import Known


class Assigned(msgspec.Struct, frozen=True, kw_only=True):
    """A guest with what is done for it.

    vm: its name in repositories. policy: its name, empty for none. disks: those that can be backed up.
    why: why it is not backed up, or not wholly; empty where it is. skipped: whether that is meant.
    agent: whether its guest agent is asked to write everything out.
    """

    guest: Guest
    vm: str
    policy: str = ""
    disks: tuple[GuestDisk, ...] = ()
    why: str = ""
    skipped: bool = False
    agent: bool = False

    @property
    def covered(self) -> bool:
        """Whether anything of it is backed up."""
        return bool(self.policy and self.disks)


def assign(
    fleet: Fleet, guests: Sequence[Guest], known: Iterable[Known] = (), tagged: Mapping[str, str] | None = None
) -> list[Assigned]:
    """Every guest with its policy, in the order given. known: who had a name in repositories before; tagged: by UUID,
    the names that points there have.
    """
    called = call(guests, known, tagged)
    return [_assigned(fleet, guest, called[guest.uuid]) for guest in guests]


def _assigned(fleet: Fleet, guest: Guest, vm: str) -> Assigned:
    if guest.skip:
        return Assigned(guest=guest, vm=vm, why=f"its own metadata: {guest.skip}", skipped=True)
    rule = next((rule for rule in fleet.guests if fits(rule, guest)), None)
    if rule is None:
        why = f"no rule fits it, and no policy is called {guest.policy!r}" if guest.policy else "no rule fits it"
        return Assigned(guest=guest, vm=vm, why=why)
    if rule.skip:
        return Assigned(guest=guest, vm=vm, why=rule.why, skipped=True)
    policy = rule.policy or guest.policy
    disks = tuple(_eased(disk, rule) for disk in guest.disks)
    guest = msgspec.structs.replace(guest, disks=disks)
    fit = () if guest.why else tuple(disk for disk in disks if not disk.why)
    return Assigned(guest=guest, vm=vm, policy=policy, disks=fit, why=guest.reason(), agent=rule.agent)


def _eased(disk: GuestDisk, rule: Rule) -> GuestDisk:
    """What is in use can be read all the same where the rule says so."""
    return msgspec.structs.replace(disk, why="") if disk.why == IN_USE and rule.running == "read" else disk


def fits(rule: Rule, guest: Guest) -> bool:
    """Whether a rule is for the guest."""
    if rule.skip:
        return fnmatchcase(guest.name, rule.skip)
    if not isinstance(rule.match, Match):
        return rule.match == "all"
    match = rule.match
    return (
        (not match.metadata or match.metadata == guest.policy)
        and (not match.name or fnmatchcase(guest.name, match.name))
        and (not match.tag or match.tag in guest.tags)
        and (not match.host or fnmatchcase(guest.host, match.host))
    )


def policy_of(fleet: Fleet, assigned: Assigned) -> Policy:
    """The policy of one that is covered."""
    return fleet.policies[assigned.policy]


def call(guests: Iterable[Guest], known: Iterable[Known], tagged: Mapping[str, str] | None = None) -> dict[str, str]:
    """By UUID: the name in repositories. Who had one keeps it, whatever it is called now; no two have the same.

    tagged: names by the tags of points, for guests that the ledger does not know: it is new, or was lost.
    """
    called = {one.uuid: one.vm for one in known}
    taken = set(called.values())
    free: dict[str, str] = {}
    for uuid, vm in (tagged or {}).items():
        if uuid not in called and vm not in taken:
            free[uuid] = vm
            taken.add(vm)
    for guest in guests:
        if guest.uuid not in called and guest.uuid in free:
            called[guest.uuid] = free[guest.uuid]
        if guest.uuid not in called:
            called[guest.uuid] = _free(guest, taken)
            taken.add(called[guest.uuid])
    return called


def _free(guest: Guest, taken: set[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", guest.name).strip("-.")[: names.LONGEST - 9] or "guest"
    if plain == guest.name and plain not in taken:
        return plain
    told = hashlib.sha256(guest.uuid.encode()).hexdigest()  # made UUIDs begin alike
    ends = chain([guest.uuid[:8]], (f"{told[:6]}{number:02x}" for number in count()))
    return next(name for end in ends if (name := f"{plain}-{end}") not in taken)
