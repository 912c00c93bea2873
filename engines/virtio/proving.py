"""The boot step: the result boots on virtio; where it lacks something, the guest as it was boots too, and decides."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engines.boot.accel import tried
from engines.boot.firmware import HEAD, firmware
from engines.boot.watch import Seen
from engines.guest import overlay
from engines.guest.appliance import Appliance, GuestError
from engines.guest.committing import Work
from engines.guest.system import System
from engines.job.contract import Context, Log, Section, Warned
from engines.job.errors import Failed
from engines.virtio import cards, complaints, reporter, trial
from engines.virtio.evidence import Evidence
from engines.virtio.inventory import SNIPPETS, Loader
from engines.virtio.lines import bls, menus, tables
from engines.virtio.operation import Operation
from engines.virtio.reporter import Report
from engines.virtio.trial import Trial

HELPS = "the image is untouched; see the console lines"
LOADERS = ("grubx64.efi", "shimx64.efi", "systemd-bootx64.efi")


@dataclass(frozen=True)
class Stand:
    """How a boot went and what it was without, by its console and, where it came, its report."""

    seen: Seen
    report: Report | None
    lacks: list[str]


def prove(operation: Operation, context: Context, disk: str, evidence: Evidence) -> Work:
    """What is committed is put aside first: console and reporter are in the throwaway layer only."""
    throwaway = operation.surgery.set_aside()
    system = operation.inventory.system
    uefi = firmware(system.call("pread_device", "/dev/sda", HEAD, 0))
    fstab = tables.without(operation.after("/etc/fstab").decode("latin-1"), operation.foreign)
    _speaking(system, operation.inventory.loader, operation.menu, fstab, _waits(operation, context))
    operation.surgery.end_appliance()
    more = tuple(other.top for other in operation.surgery.others)
    yield Log(text=f"booting with the disk on virtio, {uefi}; what the guest writes is thrown away")
    after = _boot(
        Trial(throwaway, disk, "virtio", uefi, cards.address(system), more=more), "boot.png", context, system, fstab
    )
    yield from _told(after, "Boot test", "boot.png", evidence)
    evidence.result["boot_test"] = after.seen.why
    if after.seen.how == "fails":
        for line in after.seen.lines:
            yield Log(text=f"console: {line}")
        raise Failed(f"the converted guest does not boot from virtio: {after.seen.why}", HELPS)
    if after.lacks:
        yield from _judged(operation, context, after, evidence)
    if after.seen.how == "unsure":
        evidence.unsure = after.seen.why
        yield Warned(text=f"the boot test is not sure: {after.seen.why}")


def _judged(operation: Operation, context: Context, after: Stand, evidence: Evidence) -> Work:
    """What it lacks on virtio and had before is the verdict."""
    for each in after.lacks:
        yield Log(text=f"on virtio: {each}")
    yield Log(text="booting the guest as it was, on its old bus, to see what of this is new")
    before = _before(operation, context)
    yield from _told(before, "Boot as it was", "boot-before.png", evidence)
    if before.seen.how == "fails":
        raise Failed(
            f"the converted guest comes up on virtio without this: {'; '.join(after.lacks)}; whether it had it before "
            f"is not known, as it does not boot here on its old bus ({before.seen.why})",
            "the image is untouched; where the guest was without it before, too, switch the boot test off",
        )
    if before.report is None and after.report is not None:
        evidence.unsure = "; ".join(after.lacks)
        yield Warned(text=f"the guest as it was did not say what it has, so this may be new: {evidence.unsure}")
        after = replace(after, lacks=complaints.said(after.seen.text))
    new = complaints.anew(before.lacks, after.lacks)
    evidence.result["lacks_as_before"] = [each for each in after.lacks if each not in new]
    evidence.result["lacks_anew"] = new
    old = [each for each in new if complaints.of_old_hardware(each)]
    if old:
        yield Warned(text=f"only of the old machine, set it right in the guest after acceptance: {'; '.join(old)}")
    new = [each for each in new if each not in old]
    if new:
        raise Failed(f"the converted guest comes up on virtio without what it had: {'; '.join(new)}", HELPS)
    if not old:
        yield Log(text="the guest was without all of this before, too")


def _boot(wanted: Trial, shot: str, context: Context, system: System, fstab: str) -> Stand:
    seen = trial.boot(wanted, context.folder / shot, context.cancel.check)
    report = reporter.read(seen.text)
    lacks = complaints.said(seen.text)
    if report is not None:
        network = cards.configured(system) or cards.looked_after(system)
        lacks += complaints.lacking(report, fstab, network, cards.addresses(system))
    elif reporter.BEGUN.search(seen.text):
        lacks.append("its report began and did not come to its end")
    return Stand(seen, report, lacks)


def _told(stand: Stand, title: str, shot: str, evidence: Evidence) -> Work:
    seen, report = stand.seen, stand.report
    yield Log(text=f"{title.lower()} after {seen.seconds:.0f} s: {seen.why}")
    evidence.sections.append(Section(title=f"{title}: last console lines", text="\n".join((seen.why, "", *seen.lines))))
    if report is not None:
        rows = [
            *(f"{where} is {device}" for where, device in report.mounts.items()),
            *(f"swap is {device}" for device in report.swaps),
            *(f"{name} is {driver}, {'up' if up else 'down'}" for name, driver, up in report.cards),
            *([f"addresses: {report.addresses}"] if report.addresses is not None else []),
            *(f"address {each}" for each in report.own or ()),
            *(f"{unit} failed" for unit in report.failed),
        ]
        evidence.sections.append(Section(title=f"{title}: what the guest has", text="\n".join(rows)))
        yield Log(text=f"the guest has: {', '.join(rows)}")
    if stand.lacks:
        evidence.sections.append(Section(title=f"{title}: what it complains of", text="\n".join(stand.lacks)))
    if seen.screenshot is not None:
        evidence.sections.append(Section(title=f"{title}: screen", file=shot))


def _speaking(system: System, loader: Loader, menu: str, fstab: str, more: str) -> None:
    """The menu on the serial line, the reporter, and a loader where blank firmware variables look for one."""
    spoken = menus.speaking(loader.generation)
    system.mount_again(writable=True)
    system.call("write", loader.path, spoken(menu, more).encode("latin-1"))
    for path in [f"{SNIPPETS}/{name}" for name in system.names(SNIPPETS)]:
        text = bls.opened((system.read(path) or b"").decode("latin-1"), loader.kernel_options)
        system.call("write", path, bls.for_serial(text, more).encode("latin-1"))
    system.write("/etc/fstab", fstab.encode("latin-1"))
    reporter.install(system, cards.addresses(system))
    _fallback(system)
    system.call("umount_all")
    system.call("sync")


def _waits(operation: Operation, context: Context) -> str:
    """Kernel arguments for a guest under emulation, ten times slower: it waits longer for devices that do come."""
    if tried(check=context.cancel.check).name == "kvm":
        return ""
    root = " rootdelay=180" if operation.inventory.tool.kind == "debian" else ""  # there it is the longest wait
    system = operation.inventory.system
    if not any(path.startswith("/etc/systemd/") for path in (*system.etc, *system.links)):
        return root  # kernels of old take 256 characters in all
    return f"{root} systemd.default_timeout_start_sec=240 systemd.default_device_timeout_sec=240"


def _fallback(system: System) -> None:
    """UEFI without the machine's own variables starts EFI/BOOT/BOOTX64.EFI only."""
    folder = "/boot/efi/EFI"
    vendors = [name for name in system.names(folder) if name.upper() != "BOOT"]
    if "BOOTX64.EFI" in (
        name.upper() for each in ("BOOT", "boot", "Boot") for name in system.names(f"{folder}/{each}")
    ):
        return
    for vendor in vendors:
        there = {name.lower(): name for name in system.names(f"{folder}/{vendor}")}
        for loader in LOADERS:
            if loader in there:
                system.call("mkdir_p", f"{folder}/BOOT")
                system.call("cp", f"{folder}/{vendor}/{there[loader]}", f"{folder}/BOOT/BOOTX64.EFI")
                return


def _before(operation: Operation, context: Context) -> Stand:
    """The guest as it was, on a fresh layer and its old bus."""
    surgery, old = operation.surgery, operation.inventory.system
    folder: Path = surgery.scratch.path / "before"
    folder.mkdir()
    layers = overlay.create(surgery.target, folder)
    try:
        with Appliance(layers.top, folder, context.cancel, [other.top for other in surgery.others]) as appliance:
            system = replace(old, appliance=appliance)
            fstab = tables.without((old.read("/etc/fstab") or b"").decode("latin-1"), operation.foreign)
            _speaking(
                system, operation.inventory.loader, operation.inventory.loader.text, fstab, _waits(operation, context)
            )
            head: bytes = system.call("pread_device", "/dev/sda", HEAD, 0)
            appliance.close()
    except GuestError as error:
        return Stand(Seen("fails", f"it cannot be prepared: {error}", 0.0), None, [])
    bus: Literal["ide", "virtio"] = "virtio" if operation.old_disk.startswith("vd") else "ide"
    name = operation.old_disk if re.match("[hsv]d", operation.old_disk) else "sda"  # an IDE disk's here
    card = cards.model(old) if bus == "ide" else ""
    wanted = Trial(
        layers.top, name, bus, firmware(head), cards.address(old), card, tuple(other.top for other in surgery.others)
    )
    return _boot(wanted, "boot-before.png", context, old, fstab)
