"""All guests of this host, by every way that it has."""

from __future__ import annotations

import msgspec

from engines.backup import names
from engines.backup.guests.domains import domains
from engines.backup.guests.model import FoundGuests, Guest, GuestDisk
from engines.backup.guests.volumes import by_volumes
from engines.host.virsh import VirshFailed
from engines.job.errors import Refused


def find(connect: str, *, libvirt: bool = True, patterns: tuple[str, ...] = ()) -> FoundGuests:
    """Every guest, each once, by name. What had no answer is in `silent`: a host that is not seen must be loud."""
    found: list[Guest] = []
    silent: list[str] = []
    if libvirt:
        try:
            found, unread = domains(connect)
            silent += [f"libvirt: guest {uuid} is there and could not be read" for uuid in unread]
        except VirshFailed as error:
            silent.append(f"libvirt: {error}")
    for pattern in () if silent else patterns:  # without libvirt it is not known whose volumes these are
        try:
            taken = [disk.source for guest in found for disk in guest.disks]
            found += by_volumes(pattern, taken)
        except Refused as refused:
            silent.append(str(refused))
    return FoundGuests(guests=tuple(sorted(map(fit, found), key=lambda guest: guest.name)), silent=tuple(silent))


def fit(guest: Guest) -> Guest:
    """With what its names lack: a repository takes no other ones, and each once."""
    disks = tuple(_named(disk, [each.name for each in guest.disks]) for disk in guest.disks)
    return msgspec.structs.replace(guest, disks=disks)


def _named(disk: GuestDisk, all_: list[str]) -> GuestDisk:
    if disk.why:
        return disk
    if not names.fit(disk.name):
        return msgspec.structs.replace(disk, why=f"its name {disk.name!r} is none that a repository takes")
    if all_.count(disk.name) > 1:
        return msgspec.structs.replace(disk, why=f"another disk of its is called {disk.name}, too: {disk.source}")
    return disk
