"""The conversion: plans the move from the old disk name to virtio, does it, resumes it and takes it back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import msgspec
from typing_extensions import override

from engines.guest import copying
from engines.guest.surgery import Surgery
from engines.guest.target import Target
from engines.host.files import write_whole
from engines.job.contract import (
    BytesChange,
    Cancel,
    Change,
    Choice,
    CommandChange,
    Context,
    Events,
    Option,
    Plan,
    TextChange,
)
from engines.job.errors import Refused
from engines.job.params import plain
from engines.job.runs import Run
from engines.virtio import advice, cards, domain, edits, initrd, naming, operation, volumes
from engines.virtio.edits import FileEdit, custom_name
from engines.virtio.inventory import Choice as Kernels
from engines.virtio.inventory import GuestInventory, choose
from engines.virtio.lines import menus, modprobe
from engines.virtio.lines.disks import NAMED, Disks, partition
from engines.virtio.naming import Naming
from engines.virtio.operation import Operation, Rebuild
from engines.virtio.params import ConvertParams
from engines.virtio.perform import OnOldGuest, carry_out, steps
from engines.virtio.results import Changed

PUTS_BACK = "crashcart undo puts every original byte back, until the guest has run; then virtio putback, file by file"
REMOVES = "crashcart undo removes the new image, until somebody has used it; the original is only read"
KUDZU = re.compile(r"/etc/(?:rc\.d/)?rc[2-5]\.d/S\d\dkudzu")


class Convert(OnOldGuest[ConvertParams]):
    """`crashcart virtio convert`."""

    name: ClassVar[str] = "virtio"
    verb: ClassVar[str] = "convert"
    title: ClassVar[str] = "Move an old guest to virtio"
    result: ClassVar[type[Changed]] = Changed
    params: type[ConvertParams] = ConvertParams

    @override
    def decide(self, params: ConvertParams, cancel: Cancel) -> tuple[Plan, Operation]:
        params = params.found()
        operation.refuse_boot_test(params)
        surgery, patient = operation.begin(params, cancel, foreign=True)
        with operation.closing_on_error(surgery):
            return _plan(_placed(params, surgery), surgery, patient)

    @override
    def carry_out(self, decided: Operation, plan: Plan, context: Context) -> Events:
        params: ConvertParams = plan.params
        result = _result(params, decided.surgery)
        then = advice.after_convert(params, result, decided.inventory.tool.kind)
        if new := plan.detail.get("domain", ""):
            place = context.folder / f"{Path(params.domain).name}.xml"
            write_whole(place, new.encode())
            then = (f"Define the domain with its disks and cards on virtio: virsh define {place}", *then[1:])
        proof = f"boots from virtio as {params.to_disk}" if params.boot_test else "is converted; no boot proves it"
        done = f"{result.path.name} {proof}"
        return carry_out(decided, context, params.to_disk, then, params.boot_test, done, params.into)

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        if not plan.params.into:
            return super().resume(plan, context)
        assert context.earlier is not None
        undoing = Run(context.earlier).info().mode == "undo"
        return copying.undo(context, Path(plan.params.into)) if undoing else copying.resume(self, plan, context)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        if not plan.params.into:
            return super().undo(plan, context)
        return copying.undo(context, Path(plan.params.into))


def _placed(params: ConvertParams, surgery: Surgery) -> ConvertParams:
    """With the new image's place, where there is to be one. Raises Refused."""
    if not params.into and surgery.target.writable:
        return params
    place = copying.place(surgery.target, params.into)
    copying.refuse_without_room(surgery.target, place)
    return msgspec.structs.replace(params, into=str(place))


def _result(params: ConvertParams, surgery: Surgery) -> Target:
    """What holds the result."""
    if not params.into:
        return surgery.target
    place = Path(params.into)
    return replace(surgery.target, path=place, format=copying.form(place), block=False)


def _plan(params: ConvertParams, surgery: Surgery, patient: GuestInventory) -> tuple[Plan, Operation]:
    given = bool(params.from_disk)
    named = naming.of(patient, params.from_disk, params.to_disk, len(params.also))
    disks = named.disks
    params = msgspec.structs.replace(params, from_disk=disks.old)
    kernels = choose(patient, params.kernel)
    volumes.refuse_blind(patient.system)
    found = edits.all_edits(patient, kernels, disks)
    if not found:
        raise Refused(
            f"the guest is converted to {disks.new} already: no file would change",
            f"after acceptance: crashcart virtio restock {params.image}",
        )
    if given:
        _refuse_other_disk(patient, found, disks)
    kept = [each for each in found if each.path not in params.keep]
    decided = Operation(
        surgery=surgery,
        inventory=patient,
        edits=kept,
        commands=["chkconfig kudzu off"] if any(KUDZU.fullmatch(path) for path in patient.system.links) else [],
        rebuilds=[_rebuild(patient, kernels, version) for version in (each.version for each in kernels.rebuilt)],
        old_disk=params.from_disk,
        foreign=named.foreign,
    )
    decided.refuse_full_boot()
    mentioned = edits.mentions(patient.system, {each.path for each in found}, disks)
    plan = Plan(
        task="virtio",
        target=params.image,
        params=plain(params),
        steps=steps(params.boot_test, params.into),
        changes=(*_changes(decided), *_copied(params, surgery), *_domain(params, _result(params, surgery))),
        facts=_facts(params, decided, kernels, mentioned, named),
        choices=tuple(_switch(each, params.keep) for each in found),
        warnings=(*_warnings(params, decided, found, named), *patient.system.warnings),
        undo=REMOVES if params.into else PUTS_BACK,
        confirm="" if params.into else params.path.name,
        detail={
            **({"domain": _moved(params, _result(params, surgery))} if params.domain else {}),
            "initrds": {each.version: each.image for each in decided.rebuilds},
            "mentions": mentioned,
        },
        state=decided.state(),
    )
    return plan.sealed(), decided


def _rebuild(patient: GuestInventory, kernels: Kernels, version: str) -> Rebuild:
    kernel = next(each for each in kernels.rebuilt if each.version == version)
    entry = patient.offered(kernel)
    assert entry is not None
    stock, image = entry.initrd.rsplit("/", 1)[-1], custom_name(entry.initrd)
    old = (patient.system.read("/etc/modprobe.conf") or b"").decode("latin-1")
    spec = patient.system.root.replace("/dev/sda", "/dev/vda")
    command = patient.tool.command(kernel, image, xen=modprobe.names_xen(old), root=spec)
    return Rebuild(version, image, stock, command, initrd.must_hold(patient.system, kernel))


def _refuse_other_disk(patient: GuestInventory, found: list[FileEdit], disks: Disks) -> None:
    """A wrong --from-disk would change nothing that matters: say what the guest really names."""
    if any(disks.named_in((each.before or b"").decode("latin-1")) for each in found):
        return
    texts = [
        patient.loader.text,
        *(text.decode("latin-1") for path, text in patient.system.etc.items() if path == "/etc/fstab"),
    ]
    named = sorted({name for text in texts for name in NAMED.findall(text)} - {"hdc", "hdd"})
    if named and disks.old not in named:
        if disks.new in named:
            raise Refused(f"the guest names {disks.new} already", "it is converted; see: crashcart virtio inspect")
        raise Refused(
            f"nothing in the guest names {disks.old}, it names {', '.join(named)}", f"give --from-disk {named[0]}"
        )


def _changes(decided: Operation) -> tuple[Change, ...]:
    shell = [CommandChange(where="the guest", command=each, expects="status 0") for each in decided.commands]
    built = [
        CommandChange(
            where="the guest", command=each.command, expects=f"/boot/{each.image} holds {', '.join(each.wanted)}"
        )
        for each in decided.rebuilds
    ]
    return (*(each.change for each in decided.edits), *shell, *built)


def _copied(params: ConvertParams, surgery: Surgery) -> tuple[Change, ...]:
    if not params.into:
        return ()
    target = surgery.target
    words = f"new, {copying.form(Path(params.into))}: a whole copy of {target.path} ({target.format}), as changed here"
    return (BytesChange(target=params.into, summary=f"{words}; that one is only read"),)


def _domain(params: ConvertParams, result: Target) -> tuple[Change, ...]:
    """The domain's description as it must be afterwards: shown, written into the run's folder, defined by nobody."""
    if not params.domain:
        return ()
    text = domain.text_of(params.domain)
    target = f"domain {params.domain} (written beside, not defined)"
    return (TextChange(target=target, before=text, after=_moved(params, result)),)


def _moved(params: ConvertParams, result: Target) -> str:
    """The domain's description afterwards, with the new image where one is made."""
    new = domain.Replaced(params.path, result.path, result.format) if params.into else None
    return domain.moved(domain.text_of(params.domain), new)


def _switch(edit: FileEdit, keep: tuple[str, ...]) -> Choice:
    others = [path for path in keep if path != edit.path]
    return Choice(
        param="keep",
        question=f"{edit.path}",
        options=(Option(value=others, label="change it"), Option(value=[*others, edit.path], label="leave it alone")),
        chosen=[*others, edit.path] if edit.path in keep else others,
    )


def _called(device: str, disk: str) -> str:
    """A device of the appliance by the guest's own name, where it is a partition of its disk."""
    return partition(disk, device.removeprefix("/dev/sda")) if device.startswith("/dev/sda") else device


def _facts(
    params: ConvertParams, decided: Operation, kernels: Kernels, mentioned: list[str], named: Naming
) -> tuple[tuple[str, str], ...]:
    patient, target = decided.inventory, decided.surgery.target
    system = patient.system
    rows = [
        ("image", f"{params.path.name}: {target.kind}, disk of {target.disk >> 20} MiB"),
        ("guest", f"{patient.hostname}: {patient.release}"),
        ("disk's name", f"{params.from_disk} becomes {params.to_disk} ({named.where})"),
        *(("further disk", f"{old} becomes {new}") for old, new in named.disks.more),
        *(("named for good", f"{old} becomes {new}") for old, new in named.disks.stable.items()),
        ("root", f"{_called(system.root, params.from_disk)}, {system.types.get(system.root, 'unknown')}"),
        ("boot loader", f"{menus.NAMES[patient.loader.generation]}, {patient.loader.path}"),
        *(("network card", words) for words in cards.told(system)),
        ("kernel", kernels.chosen.version),
        *(("also rebuilt", each.version) for each in kernels.rebuilt[1:]),
        *(("kernel skipped", f"{version}: {why}") for version, why in kernels.skipped.items()),
        ("initrd tool", patient.tool.path),
        ("free in /boot", f"{patient.room >> 20} MiB"),
        *(("internal snapshot", f"{name}: stays as it is") for name in target.snapshots),
        *((("backing file", f"{target.backing}: only read"),) if target.backing else ()),
        *(("names it too, stays", line) for line in mentioned),
        ("afterwards", advice.domain(params, _result(params, decided.surgery))),
        ("by hand", advice.by_hand(params)),
    ]
    return tuple(rows)


def _warnings(params: ConvertParams, decided: Operation, found: list[FileEdit], named: Naming) -> list[str]:
    warnings = advice.before(decided.inventory.tool.kind)
    left = [each.path for each in found if each.path in params.keep]
    if left:
        warnings.append(f"left alone on request: {', '.join(left)}; the guest may not boot from virtio without them")
    selinux = decided.inventory.system.etc.get("/etc/selinux/config", b"")
    if re.search(rb"^SELINUX=(enforcing|permissive)", selinux, re.MULTILINE):
        warnings.append("SELinux is on: after the first boot run restorecon -R /boot /etc/rc.d in the guest")
    if tools := edits.leftovers(decided.inventory.system):
        warnings.append(f"{' and '.join(tools)} are in the guest and stay: remove them there after acceptance")
    if named.foreign:
        warnings.append(f"on a disk that is not given, left as it is: {', '.join(named.foreign)}")
    if params.powered_off:
        warnings.append("no lock proves that the guest is off: it rests on the technician's word")
    return warnings
