"""What a backup is told: which disks of which VM, and in what manner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import structs
from typing_extensions import override

from engines.backup import names
from engines.backup.repository.repository import RepoParams
from engines.backup.sources.options import Hints
from engines.backup.sources.source import Format
from engines.job.errors import BadParam
from engines.job.params import param

if TYPE_CHECKING:  # a disk that is named by its path needs nothing of libvirt
    from engines.backup.sources.guest.domain import DomainGuest


class RunParams(RepoParams, frozen=True, kw_only=True):
    """One disk to back up, or several of one VM."""

    source: Annotated[
        str,
        param(
            "Disk",
            "an image file or a block device; it is only ever read",
            kind="file",
            metavar="SOURCE",
            positional=True,
        ),
    ] = ""
    guest: Annotated[
        str,
        param(
            "Guest",
            "a libvirt domain instead of disks: all its disks in one moment, its XML, NVRAM and TPM state",
            metavar="NAME",
        ),
    ] = ""
    libvirt: Annotated[
        str, param("libvirt", "whose guest it is; empty for $LIBVIRT_DEFAULT_URI or qemu:///system", metavar="URI")
    ] = ""
    leave: Annotated[
        tuple[str, ...],
        param("Leave out", "a disk of the guest by its name in it, such as vdb; each run tells of it", metavar="DISK"),
    ] = ()
    more: Annotated[
        tuple[str, ...],
        param("More disks", "of the same VM, in the same moment", kind="file", metavar="SOURCE", positional=True),
    ] = ()
    vm: Annotated[
        str,
        param(
            "VM", "whose disk it is; empty for the name of the guest", pattern=f"^$|{names.NEW}", allowed=names.ALLOWED
        ),
    ] = ""
    disk: Annotated[
        tuple[str, ...],
        param(
            "Disk name",
            "which of the VM's disks; one name a disk, in their order",
            allowed=names.ALLOWED,
        ),
    ] = ("disk0",)
    limit: Annotated[
        str, param("Limit", "share of the disk's speed (60%), bytes a second (40M), or none", metavar="LIMIT")
    ] = "60%"
    uplink: Annotated[
        str,
        param(
            "Uplink",
            "how fast the repository is written: bytes a second (30M), none, or '07:00-22:00 30M, else none'",
            metavar="RATE",
        ),
    ] = "none"
    format: Annotated[Format, param("Image format", "raw or qcow2; auto goes by libvirt and by the name")] = "auto"
    backing: Annotated[
        tuple[str, ...],
        param(
            "Backing files",
            "a file below a qcow2 image that lies in another folder, named to say that it is meant",
            kind="file",
            metavar="FILE",
        ),
    ] = ()
    strict: Annotated[bool, param("Strict", "compare every block by BLAKE3 instead of the faster position hash")] = (
        False
    )
    agent: Annotated[
        str, param("Guest agent", "its socket: it has the VM write its files out before the snapshot", kind="file")
    ] = ""
    qmp: Annotated[
        str,
        param(
            "QMP socket",
            "of the running QEMU that has these disks open: it holds one moment of them while they are read",
            kind="file",
        ),
    ] = ""
    snapshot_size: Annotated[
        str, param("Snapshot size", "room for what the VM writes meanwhile, like 20G; empty for a fifth of the volume")
    ] = ""
    hints: Annotated[
        Hints,
        param(
            "Hints",
            "read only what is known to have changed, by thin (the last snapshot of a thin volume is kept) or by bitmap"
            " (one is kept in the qcow2 image)",
        ),
    ] = "none"
    sample: Annotated[
        int, param("Sample", "percent of what hints call unchanged that is read all the same", ge=1, le=100)
    ] = 1
    tag: Annotated[tuple[str, ...], param("Tag", "a word for this point; prune can keep what has it")] = ()

    @override
    def asks(self) -> tuple[str, ...]:
        complete(self)
        return super().asks()


def complete(params: RunParams) -> None:
    """Raises BadParam where neither disks nor a guest are named."""
    lacks = [words for words, given in (("SOURCE", params.source), ("--vm VM", params.vm)) if not given]
    if lacks and not params.guest:
        raise BadParam(
            "vm" if params.source else "source", "", "a disk and whose it is, or a libvirt domain",
            f"give {', '.join(lacks)}; or --guest NAME; all there is: crashcart backup run --help",
        )  # fmt: skip


def disks(params: RunParams) -> tuple[str, ...]:
    """The names of the disks, one for each source. Raises BadParam."""
    complete(params)
    if not params.guest and (params.leave or params.libvirt):
        raise BadParam("guest", "", "a libvirt domain, with --leave or --libvirt", "give --guest NAME")
    sources = (params.source, *params.more)
    called = params.disk
    for tag in params.tag:
        if not tag.strip() or tag != tag.strip() or "," in tag or not tag.isprintable():
            raise BadParam("tag", tag, "a word or more, without commas", "give --tag once for each tag")
    if len(sources) > 1 and called == ("disk0",):
        called = tuple(f"disk{number}" for number in range(len(sources)))
    for what, name in (("vm", params.vm), *(("disk", name) for name in called)):
        if not names.fit(name):
            raise BadParam(what, name, f"{names.ALLOWED}, up to {names.LONGEST} of them", f"give --{what} NAME")
    if len(called) != len(sources):
        raise BadParam(
            "disk", ", ".join(called), f"one name for each of the {len(sources)} disks", "give --disk NAME for each"
        )
    for what, each in (("source", sources), ("disk", called)):
        if twice := [one for one in each if each.count(one) > 1]:
            raise BadParam(what, twice[0], "each disk once", "name it once")
    return called


def settled(params: RunParams) -> tuple[RunParams, DomainGuest | None]:
    """With a guest, its disks in the place of the disks; the guest as it is now. Raises Refused, BadParam."""
    complete(params)
    if not params.guest:
        return params, None
    from engines.backup.sources.guest import domain

    found = domain.find(params.guest, params.libvirt, params.leave)
    paths = tuple(str(disk.path) for disk in found.disks)
    given = (params.source, *params.more)
    if given not in (("",), paths):
        raise BadParam("source", given[0], "empty, with --guest", "name the guest or its disks, not both")
    called = params.disk if params.disk != ("disk0",) else tuple(disk.target for disk in found.disks)
    if names.GUEST in called:
        raise BadParam("disk", names.GUEST, "another name", "its description is called so")
    vm = params.vm or found.name
    if not names.fit(vm):
        raise BadParam("vm", vm, f"{names.ALLOWED}, up to {names.LONGEST} of them", "give --vm NAME for this guest")
    return structs.replace(params, source=paths[0], more=paths[1:], disk=called, vm=vm, qmp=_qmp(params, found)), found


def _qmp(params: RunParams, guest: DomainGuest) -> str:
    """The QMP socket that a running guest on images has for others, where none was named."""
    from engines.backup.guests import domains

    described = domains.guest(guest.now) if guest.running and not params.agent else None
    images = all(disk.path.is_file() for disk in guest.disks)
    return params.qmp or (described.qmp if described and images else "")
