"""Carries out an operation: edits, initrds, boot test, undo log, commit; the image changes in the last step only."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import msgspec
from typing_extensions import override

from engines.guest import copying
from engines.guest.committing import COMMIT, SAVE, Work, commit, save, told
from engines.guest.copying import COPY
from engines.guest.operation import OnGuest
from engines.host.files import write_whole
from engines.job.contract import (
    Context,
    Finished,
    Log,
    Plan,
    Progress,
    Section,
    Step,
    StepEnded,
    Warned,
)
from engines.job.errors import Failed
from engines.job.runs import Run
from engines.virtio import initrd
from engines.virtio.evidence import Evidence
from engines.virtio.operation import Operation, Rebuild
from engines.virtio.params import ImageParams
from engines.virtio.proving import prove

Image = TypeVar("Image", bound=ImageParams)
EDIT = Step(id="edit", title="Change files on the overlay")
INITRD = Step(id="initrd", title="Rebuild initrds in the guest")
BOOT = Step(id="boot", title="Boot the result on virtio")


def steps(boot_test: bool, into: str = "") -> tuple[Step, ...]:
    """The steps of every operation. into: where the result goes, if not into the image itself."""
    return (EDIT, INITRD, *((BOOT,) if boot_test else ()), *((COPY,) if into else (SAVE, COMMIT)))


def carry_out(
    operation: Operation,
    context: Context,
    disk: str,
    then: tuple[str, ...],
    boot_test: bool,
    done: str,
    into: str = "",
) -> Work:
    """All steps, from behind the start of EDIT. disk: its name on virtio. done: the summary. into: as of `steps`.

    Raises Failed and GuestError, with the image untouched before COMMIT.
    """
    evidence = Evidence()
    surgery = operation.surgery
    yield from _edit(operation)
    yield StepEnded(step=EDIT.id)
    yield from told(INITRD, _initrds(operation, disk, evidence))
    _leave(operation)
    if boot_test:
        yield from told(BOOT, prove(operation, context, disk, evidence))
    else:
        surgery.end_appliance()
    if into:
        yield from told(COPY, copying.copy(surgery, context, Path(into), evidence.result))
    else:
        yield from told(SAVE, _save(operation, context, evidence))
        yield from told(COMMIT, commit(surgery))
    evidence.sections.append(Section(title="What the appliance said", text="\n".join(surgery.appliance.messages)))
    written = Path(into).name if into else surgery.target.path.name
    unsure = f"{written} is written, and its boot test is not sure: {evidence.unsure}"
    yield Finished(
        summary=unsure if evidence.unsure else done,
        result=evidence.result,
        sections=tuple(evidence.sections),
        then=(*then, f"Take it back: crashcart undo {context.folder.name}"),
    )


def _edit(operation: Operation) -> Work:
    system = operation.inventory.system
    system.mount_again(writable=True)
    for edit in operation.edits:
        if edit.after is None:
            system.call("rm_f", edit.path)
            yield Log(text=f"removed {edit.path}")
        else:
            if edit.before is None:
                system.call("mkdir_p", edit.path.rpartition("/")[0])
            system.write(edit.path, edit.after)
            yield Log(text=f"wrote {edit.path}")
    for command in operation.commands:
        status, said = system.run(command)
        yield Log(text=f"in the guest: {command}: status {status} {said.strip()[-300:]}".rstrip())
        if status:
            yield Warned(text=f"{command} ended with status {status} in the guest: {said.strip()[-200:]}")


def _initrds(operation: Operation, disk: str, evidence: Evidence) -> Work:
    total = len(operation.rebuilds)
    if total:
        operation.inventory.system.name_disk(disk)
    for number, rebuild in enumerate(operation.rebuilds):
        yield Progress(done=number, total=total, unit="initrds")
        yield Log(text=f"in the guest: {rebuild.command}")
        status, said = operation.inventory.system.run(rebuild.command)
        evidence.sections.append(
            Section(title=f"In the guest: {rebuild.command}", text=f"{said.strip()}\n(status {status})")
        )
        if status:
            last = (said.strip().splitlines() or ["no message"])[-1]
            raise Failed(f"{rebuild.command.split()[0]} ended with status {status}: {last}", "the image is untouched")
        listed = _verified(operation, rebuild)
        evidence.sections.append(Section(title=f"Contents of /boot/{rebuild.image}", text="\n".join(listed)))
        yield Log(text=f"/boot/{rebuild.image} holds {', '.join(rebuild.wanted)}")
    for path in operation.removed:
        operation.inventory.system.call("rm_f", path)
        yield Log(text=f"removed {path}")
    evidence.result["initrds"] = {each.version: f"/boot/{each.image}" for each in operation.rebuilds}
    yield Progress(done=total, total=total, unit="initrds")


def _verified(operation: Operation, rebuild: Rebuild) -> list[str]:
    """An initrd tool may end with status 0 and leave a driver out: only the contents count."""
    listed = initrd.contents(operation.inventory.system, f"/boot/{rebuild.image}")
    if lacking := initrd.missing(listed, rebuild.wanted):
        raise Failed(
            f"/boot/{rebuild.image} lacks {', '.join(lacking)} although its tool reported success",
            "the image is untouched; run the command in the guest by hand and see what it says",
        )
    if initrd.lacks_lvm(operation.inventory.system, listed):
        raise Failed(
            f"/boot/{rebuild.image} lacks LVM's program, and the root is on LVM",
            "the image is untouched; see in the guest that its initrd tool knows LVM (Debian: the package lvm2)",
        )
    return listed


def _leave(operation: Operation) -> None:
    """Everything unmounted and on the overlay."""
    operation.inventory.system.call("umount_all")
    operation.inventory.system.call("sync")


def _save(operation: Operation, context: Context, evidence: Evidence) -> Work:
    saved = msgspec.json.encode(operation.saved())
    write_whole(context.folder / "files.json", saved)
    yield from save(operation.surgery, context.folder, evidence.result)


class OnOldGuest(OnGuest[Image, Operation], Protocol[Image]):
    """An operation on a guest that moves, has moved or moves back; one that has run since gets single files back."""

    begins: ClassVar[str] = EDIT.id

    @override
    def image(self, params: Image) -> Path:
        return params.path

    @override
    def instead(self, plan: Plan, run: Run) -> str:
        command = f"crashcart virtio putback {plan.params.image} --run {run.id}"
        return f"bring the edited files back inside it: {command}"
