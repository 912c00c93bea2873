"""backup guest: a guest's description, NVRAM and TPM state out of a point, as files, and what differs from now."""

from __future__ import annotations

import difflib
import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.names import PointName
from engines.backup.new_place import refuse_place
from engines.backup.repository.byte_source import PointBytes, open_point
from engines.backup.repository.repository import RepoParams, Repository, where
from engines.backup.repository.unlocking import opened
from engines.backup.sources.guest import domain, record
from engines.host.files import partials, write_whole
from engines.host.libvirt import Domain, DomainDisk, parsed
from engines.host.virsh import VirshFailed, virsh
from engines.job.contract import (
    BytesChange,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Plan,
    Step,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Refused
from engines.job.lock import name_identity
from engines.job.params import param, plain

DIFFERENCE = "domain.diff"
NEW = "a new folder"


class GuestParams(RepoParams, frozen=True, kw_only=True):
    """Which guest, and where its files go."""

    point: Annotated[
        str,
        param(
            "Point",
            "VM@latest, VM@TIME, or VM/guest@TIME as list shows it",
            pattern=r"^[A-Za-z0-9._/-]+@([0-9]{8}T[0-9]{6}Z|latest)$",
            allowed="VM@TIME or VM@latest",
            positional=True,
        ),
    ]
    into: Annotated[str, param("Into", "a new folder for the files", kind="output", positional=True)]
    libvirt: Annotated[
        str, param("libvirt", "whose guest it is; empty for $LIBVIRT_DEFAULT_URI or qemu:///system", metavar="URI")
    ] = ""


class BringGuest(Engine[GuestParams]):
    """`crashcart backup guest`."""

    name: ClassVar[str] = "backup-guest"
    verb: ClassVar[str] = "guest"
    title: ClassVar[str] = "a guest's libvirt XML, NVRAM and TPM state out of a point, and what differs from now"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.GuestFiles
    params = GuestParams

    @override
    def target(self, params: GuestParams) -> str:
        return name_identity(Path(params.into))

    @override
    def plan(self, params: GuestParams, cancel: Cancel) -> Plan:
        into = Path(params.into)
        refuse_place(params.into, "a folder")
        if into.exists() and not (into.is_dir() and not any(into.iterdir())):
            raise Refused(f"{into} is there already", "name a new folder")
        if not into.parent.is_dir():
            raise Refused(f"{into.parent} does not exist", "make it first, or name another folder")
        folder = "an empty folder that is there" if into.exists() else NEW
        with Repository.glance(where(params)) as glance:
            name = glance.resolve(_record_of(params.point))
            return Plan(
                task=self.name,
                target=str(into),
                params={**plain(params), "repo": glance.store.where, "point": str(name), "into": str(into)},
                steps=(Step(id="write", title=f"Write the files of {name} into {into}"),),
                changes=(BytesChange(target=str(into), summary=f"{folder}; libvirt is only asked, never told"),),
                facts=(("point", str(name)), ("folder", str(into)), ("repository", glance.store.where)),
                undo="the files that it wrote are removed",
                state={"point": str(name), "repository": glance.config.id, "folder": folder},
            ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="write")
        params, into = plan.params, Path(plan.params.into)
        name = names.parse(params.point)
        with (yield from opened(params, context)) as repository, open_point(repository, name) as source:
            files = record.read(_whole(source))
            text = files[record.DESCRIPTION].decode("utf-8", "surrogateescape")
            then = parsed(text)
            if then is None:
                raise Refused(f"the description in {name} cannot be read", "take another point: crashcart backup list")
            files[DIFFERENCE], state = _differs(then, text, name, params.libvirt)
            _write(files, into)
            restore = [*_disks(repository, name, then, params.repo), *_next(then, files, into)]
        yield StepEnded(step="write")
        yield Finished(
            summary=f"{name}: {', '.join(sorted(files))} in {into}; the guest {state}",
            result={"point": str(name), "into": str(into), "files": sorted(files), "state": state, "restore": restore},
            then=tuple(restore),
        )

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="write")
        into = Path(plan.params.into)
        made = plan.state.get("folder") == NEW
        if not (made and into.is_symlink()):  # another's, in the place of ours
            try:
                _remove(into)
            except OSError as error:
                raise Refused(f"{error.filename} cannot be removed: {error.strerror}", "remove it by hand") from None
        if made:
            with suppress(OSError):  # what somebody else put there stays, and the folder with it
                into.rmdir()
        yield StepEnded(step="write")
        stays = f"; {into} stays, it holds other files" if made and os.path.lexists(into) else ""
        yield Finished(summary=f"what was written into {into} is removed{stays}")


def _record_of(point: str) -> str:
    """The point of a guest's record that is meant by VM@TIME."""
    disk, _, when = point.partition("@")
    return point if "/" in disk else f"{disk}/{names.GUEST}@{when}"


def _whole(source: PointBytes) -> bytes:
    if source.size > record.LARGEST:
        raise Refused(f"{source.point.name} is a disk, no guest's record", "name a point VM/guest@TIME")
    return bytes(source.read(0, source.size))


def _write(files: dict[str, bytes], into: Path) -> None:
    for inside, content in files.items():
        path = into / inside
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, content)


def _remove(into: Path) -> None:
    """What `_write` may have written, and nothing through a link. Raises OSError."""
    for name in (record.DESCRIPTION, record.NVRAM, DIFFERENCE):
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            for left in (into / name, *partials(into / name)):
                left.unlink(missing_ok=True)
    if (into / "tpm").is_symlink() or not (into / "tpm").is_dir():
        return
    for _, folders, files, here in os.fwalk(into / "tpm", topdown=False):
        for name in files:
            if stat.S_ISREG(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):  # a link is none of ours
                os.unlink(name, dir_fd=here)
        for name in folders:
            with suppress(OSError):
                os.rmdir(name, dir_fd=here)
    with suppress(OSError):
        (into / "tpm").rmdir()


def _differs(then: Domain, text: str, name: PointName, uri: str) -> tuple[bytes, str]:
    """A unified diff from what libvirt has now to what the point has, and words for it."""
    try:
        now = virsh("--readonly", "dumpxml", "--inactive", "--domain", then.uuid or then.name, uri=uri)
    except VirshFailed as failed:
        return f"# libvirt does not have {then.name} now: {failed}\n".encode(), "is not defined here now"
    lines = difflib.unified_diff(now.splitlines(True), text.splitlines(True), "now", str(name))
    found = "".join(lines).encode("utf-8", "surrogateescape")
    return found, f"is defined here now, {'and differs: see ' + DIFFERENCE if found else 'and is the same'}"


def _disks(repository: Repository, name: PointName, then: Domain, repo: str) -> list[str]:
    """The command for each disk of the same moment."""
    targets = {disk.target: disk for disk in then.disks}
    head = repository.point(name).head
    mates = [names.parse(one) for one in head.together] or [
        one for one in repository.names() if one.vm == name.vm and one.time == name.time
    ]
    return [
        f"restore {one.disk}: crashcart backup restore --repo {shlex.quote(repo)} {one} {_to(targets.get(one.disk))}"
        for one in mates
        if one.disk != names.GUEST
    ]


def _to(disk: DomainDisk | None) -> str:
    """The target's words, and what makes of the bytes there what the description says they are."""
    if disk is None:
        return "TARGET"
    place = shlex.quote(str(disk.path))
    if disk.format != "qcow2":
        return place
    raw = shlex.quote(f"{disk.path}.raw")
    return f"{raw} && qemu-img convert -f raw -O qcow2 {raw} {place}"


def _next(then: Domain, files: dict[str, bytes], into: Path) -> list[str]:
    """What puts the rest in its place."""
    commands = []
    if record.NVRAM in files and then.nvram:
        commands.append(f"NVRAM: cp {shlex.quote(str(into / record.NVRAM))} {shlex.quote(str(then.nvram))}")
    if any(inside.startswith("tpm/") for inside in files):
        place = shlex.quote(str(domain.STATES / then.uuid))
        commands.append(f"TPM state: mkdir -p {place} && cp -a {shlex.quote(str(into / 'tpm'))}/. {place}/")
    return [*commands, f"description: virsh define {shlex.quote(str(into / record.DESCRIPTION))}"]
