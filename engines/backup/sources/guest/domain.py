"""A guest as libvirt has it now: each disk by the name that the guest's description gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.backup.sources.source import Format
from engines.host.libvirt import Domain, DomainDisk, parsed
from engines.host.virsh import VirshFailed, connect, virsh
from engines.job.errors import BadParam, Refused

REMOVABLE = ("cdrom", "floppy")
STATES = Path("/var/lib/libvirt/swtpm")  # of emulated TPMs, one folder a guest


@dataclass(frozen=True)
class DomainGuest:
    """A domain. text: the description that it starts by. now: the one that it has. running: it may write to disks.

    disks: those that are backed up. left_out: the others, in words. notes: what the technician must read.
    """

    name: str
    uuid: str
    text: str
    now: str
    running: bool
    disks: tuple[DomainDisk, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    nvram: Path | None
    tpm: Path | None

    @property
    def forms(self) -> dict[str, Format]:
        """By path, the format that libvirt has a disk opened by, where that is one that is read."""
        known: dict[str, Format] = {"raw": "raw", "qcow2": "qcow2"}
        return {str(disk.path): known[disk.format] for disk in self.disks if disk.format in known}


def find(name: str, uri: str = "", leave: Sequence[str] = ()) -> DomainGuest:
    """The guest of that name or UUID. leave: disks to leave out, by their names in it. Raises Refused, BadParam."""
    text = _asked("dumpxml", "--inactive", "--domain", name, uri=uri)
    running = _asked("domstate", "--domain", name, uri=uri).strip() not in ("shut off", "crashed")
    live = _asked("dumpxml", "--domain", name, uri=uri) if running else text
    now = _parsed(live, name)
    disks, left_out = [], []
    every = [*now.disks, *(_placed(disk, uri) for disk in now.elsewhere)]
    if unknown := set(leave) - {disk.target for disk in every}:
        known = ", ".join(disk.target for disk in every)
        raise BadParam("leave", sorted(unknown)[0], f"a disk of {now.name}: {known}", "see: virsh domblklist")
    for disk in sorted(every, key=lambda disk: (len(disk.target), disk.target)):
        if disk.device in REMOVABLE or disk.target in leave:
            left_out.append(f"{disk.target} ({disk.device if disk.device in REMOVABLE else disk.words})")
        else:
            disks.append(_readable(disk, now.name))
    if not disks:
        raise Refused(f"{now.name} has no disk that could be backed up", "see what it has: virsh domblklist")
    return DomainGuest(
        now.name, now.uuid, text, live, running, tuple(disks), tuple(left_out),
        notes=tuple(_notes(now, _parsed(text, name), leave)), nvram=now.nvram, tpm=_tpm(now),
    )  # fmt: skip


def _tpm(domain: Domain) -> Path | None:
    return STATES / domain.uuid if domain.tpm == "emulator" and domain.uuid else None


def _notes(now: Domain, stored: Domain, leave: Sequence[str]) -> list[str]:
    named = {disk.target for disk in (*stored.disks, *stored.elsewhere)}
    notes = [
        f"{disk.target} is attached until the guest is shut down only: its stored description has no such disk"
        for disk in now.disks
        if disk.target not in named
    ]
    notes += [f"{name} of {now.name} is left out, as it was wished: a restored guest lacks it" for name in leave]
    if now.nvram and not now.nvram.exists():
        notes.append(f"the NVRAM {now.nvram} is not there: it is made when the guest starts")
    if now.tpm and now.tpm != "emulator":
        notes.append(f"the guest's TPM is this machine's own ({now.tpm}): its state cannot be backed up")
    state = _tpm(now)
    if state and not state.is_dir():
        notes.append(f"no TPM state lies in {state}: it is made when the guest starts")
    return notes


def _placed(disk: DomainDisk, uri: str) -> DomainDisk:
    """A storage volume by its path, where its pool knows one."""
    pool, volume = disk.volume
    if not volume:
        return disk
    try:
        path = virsh("--readonly", "vol-path", "--pool", pool, "--vol", volume, uri=uri).strip()
    except VirshFailed:
        return disk
    return replace(disk, path=Path(path)) if path.startswith("/") else disk


def _readable(disk: DomainDisk, guest: str) -> DomainDisk:
    """Raises Refused: a guest that lacks a disk is no guest."""
    helps = f"or leave it out, which is told each time: --leave {disk.target}"
    if not disk.path.name:
        raise Refused(
            f"{disk.target} of {guest} cannot be backed up: it lies elsewhere ({disk.words})",
            f"back it up where it lies, {helps}",
        )
    if disk.format not in ("", "raw", "qcow2"):
        raise Refused(
            f"{disk.target} of {guest} cannot be backed up: {disk.path} is a {disk.format} image",
            f"convert it: qemu-img convert -O qcow2, {helps}",
        )
    return disk


def _parsed(text: str, name: str) -> Domain:
    found = parsed(text)
    if found is None:
        raise Refused(f"libvirt's description of {name} cannot be read", f"look at it: virsh dumpxml {name}")
    return found


def _asked(*words: str, uri: str) -> str:
    try:
        return virsh("--readonly", *words, uri=uri)
    except VirshFailed as failed:
        helps = "apt-get install libvirt-clients" if failed.missing else f"see the guests: {_shown(uri)} list --all"
        raise Refused(f"libvirt: {failed}", f"{helps}; or name the disks instead of the guest") from None


def _shown(uri: str) -> str:
    return " ".join(["virsh", *connect(uri)])
