"""backup guests: who is on this host, with which disks, and why one cannot be backed up."""

from __future__ import annotations

from typing import Annotated

from engines.backup.commands.lines import columns
from engines.backup.guests.finding import find
from engines.backup.guests.model import FoundGuests, GuestDisk
from engines.job.contract import Look
from engines.job.errors import BadParam
from engines.job.params import Params, param
from engines.job.units import one_line


class GuestsParams(Params, frozen=True, kw_only=True):
    """Where to look."""

    connect: Annotated[
        str, param("libvirt", "its URI; without it $LIBVIRT_DEFAULT_URI, else qemu:///system", metavar="URI")
    ] = ""
    lvm: Annotated[
        tuple[str, ...],
        param(
            "LVM names",
            "also volumes of such names: a regular expression with the groups (?P<vm>...) and (?P<disk>...)",
            metavar="PATTERN",
        ),
    ] = ()


def answer(params: GuestsParams) -> FoundGuests:
    """Every guest of this host. Raises BadParam."""
    for pattern in params.lvm:
        _checked(pattern)
    return find(params.connect, patterns=params.lvm)


def _checked(pattern: str) -> None:
    import re

    try:
        groups = re.compile(pattern).groupindex
    except re.error:
        groups = {}
    if not {"vm", "disk"} <= set(groups):
        raise BadParam("lvm", pattern, "a regular expression with the groups (?P<vm>...) and (?P<disk>...)")


def table(found: FoundGuests) -> str:
    """A line a disk."""
    rows = [("guest", "state", "disk", "format", "source", "not backed up, because")]
    for guest in found.guests:
        state = "runs" if guest.running else "off"
        for disk in guest.disks or (GuestDisk(name="-", source="-", kind="", why=guest.why),):
            rows.append((guest.name, state, disk.name, disk.format or "-", disk.source or "-", guest.why or disk.why))
    lines = list(columns(rows)) if len(rows) > 1 else ["no guest is here"]
    return "\n".join(map(one_line, [*lines, *(f"! {why}" for why in found.silent)]))


GUESTS = Look("guests", "the guests of this host, and why one cannot be backed up", GuestsParams, answer, table)
