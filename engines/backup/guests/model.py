"""Guests and disks as they were found: plain data, the same on the host and on the controller."""

from __future__ import annotations

import msgspec


class GuestDisk(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of a guest.

    name: as the guest has it (vda) or as its volume is named. source: a path, or words for what has none.
    kind: file, block, network or volume. format: raw, qcow2 or another, empty where it is not said.
    why: why it cannot be backed up; empty where it can.
    """

    name: str
    source: str
    kind: str
    format: str = ""
    readonly: bool = False
    shareable: bool = False
    transient: bool = False
    why: str = ""


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """One guest of a host.

    uuid: its identity, which a rename or a migration does not change. found: libvirt or lvm.
    agent, qmp: sockets, empty where it has none. policy, skip: what its metadata or tags say of its backup.
    host: the controller's name for the host it was found on. why: why no disk of it can be backed up, or empty.
    """

    uuid: str
    name: str
    running: bool
    found: str
    disks: tuple[GuestDisk, ...] = ()
    agent: str = ""
    qmp: str = ""
    policy: str = ""
    skip: str = ""
    tags: tuple[str, ...] = ()
    host: str = ""
    why: str = ""

    @property
    def whole(self) -> bool:
        """Whether all of it can be backed up."""
        return not self.why and not any(disk.why for disk in self.disks)

    def reason(self) -> str:
        """Why it is not whole, in a line; empty where it is."""
        return self.why or "; ".join(f"{disk.name}: {disk.why}" for disk in self.disks if disk.why)


class FoundGuests(msgspec.Struct, frozen=True, kw_only=True):
    """The guests of a host, and which ways of looking had no answer."""

    guests: tuple[Guest, ...] = ()
    silent: tuple[str, ...] = ()
