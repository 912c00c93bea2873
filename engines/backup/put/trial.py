"""Boots the guest as a put would leave it, on a throwaway layer, before the image is touched."""

from __future__ import annotations

from pathlib import Path

from engines.backup.put.operation import Operation
from engines.backup.put.perform import Evidence
from engines.boot.firmware import HEAD, firmware
from engines.boot.trials import Trials
from engines.guest.committing import Work
from engines.guest.target import qemu_img
from engines.job.contract import Context, Section, Step, Warned
from engines.job.errors import Failed

BOOT = Step(id="boot", title="Boot the result")


def boot(operation: Operation, context: Context, evidence: Evidence) -> Work:
    """Ends the appliance. Raises Failed where the guest says itself that it does not come up."""
    surgery = operation.surgery
    code: bytes = surgery.appliance.call("pread_device", "/dev/sda", HEAD, 0)
    surgery.end_appliance()
    top = surgery.layers.top

    def lay(layer: Path) -> Path:
        qemu_img("create", "-q", "-f", "qcow2", "-b", str(top), "-F", "qcow2", str(layer))
        return layer

    trials = Trials(
        lay=lay,
        scratch=surgery.scratch.path,
        shots=context.folder,
        cancel=context.cancel,
        firmware=firmware(code),
    )
    bus, seen = yield from trials.run()
    text = "\n".join((f"disk on {bus}: {seen.why}", "", *seen.lines))
    evidence.sections.append(Section(title="Boot test: last lines", text=text))
    if seen.screenshot is not None:
        evidence.sections.append(Section(title="Boot test: screen", file=seen.screenshot.name))
    evidence.result["boot_test"] = seen.why
    if seen.how == "fails":
        raise Failed(
            f"the guest does not boot with these files: {seen.why}", "the image is untouched; see the last lines"
        )
    if seen.how == "unsure":
        yield Warned(text=f"the boot test is not sure: {seen.why}")
