"""What a review and a run say of a guest that is backed up whole, and its record as one more disk of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from engines.backup import names
from engines.backup.commands.run_params import RunParams
from engines.backup.repository.repository import NamesOnly
from engines.backup.sources.source import Source

if TYPE_CHECKING:  # a disk that is named by its path needs nothing of libvirt
    from engines.backup.sources.guest.domain import DomainGuest


def facts(guest: DomainGuest | None) -> list[tuple[str, str]]:
    """What the review shows of it."""
    if guest is None:
        return []
    beside = ["its description", *(["NVRAM"] if guest.nvram else []), *(["TPM state"] if guest.tpm else [])]
    left = [("left out", ", ".join(guest.left_out))] if guest.left_out else []
    state = "running" if guest.running else "shut off"
    return [("guest", f"{guest.name} ({guest.uuid}), {state}"), *left, ("beside its disks", ", ".join(beside))]


def record(guest: DomainGuest | None) -> tuple[str, ...]:
    """What its record is called among its disks; nothing where there is no guest."""
    return (names.GUEST,) if guest else ()


def warnings(guest: DomainGuest | None, params: RunParams, repository: NamesOnly) -> list[str]:
    """What somebody must read: disks that came or went among it."""
    if guest is None:
        return []
    vm = params.vm
    known = {name.disk for name in repository.names() if name.vm == vm}
    if not known:
        return list(guest.notes)
    added = [disk for disk in params.disk if disk not in known]
    gone = sorted(known - {*params.disk, *params.leave, names.GUEST})
    return [
        *guest.notes,
        *(f"{disk} of {vm} has no point yet: it was added to the guest, and is read whole" for disk in added),
        *(f"{disk} of {vm} is no disk of the guest any more: its points stay, and no new one is made" for disk in gone),
    ]


@contextmanager
def recorded(
    disks: Sequence[Source], params: RunParams, guest: DomainGuest | None, folder: Path
) -> Iterator[tuple[Sequence[Source], RunParams]]:
    """With a guest, its record beside its disks, made in their moment, in `folder`. Raises Refused."""
    if guest is None:
        yield disks, params
        return
    from engines.backup.sources.guest import record

    path = folder / "guest.tar"
    with record.opened(guest, path) as source:
        yield (
            (*disks, source),
            structs.replace(params, more=(*params.more, str(path)), disk=(*params.disk, names.GUEST)),
        )
