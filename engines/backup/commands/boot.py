"""backup boot: a restore point started as a virtual machine, on a throwaway layer and without a network."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, ClassVar, Literal

from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.on_repository import OnRepository
from engines.backup.nbd import overlay
from engines.backup.nbd.server import NbdServer, serving
from engines.backup.repository.byte_source import open_point
from engines.backup.repository.repository import WHICH_POINT, NamesOnly, RepoParams, where
from engines.backup.repository.unlocking import opened
from engines.boot.firmware import HEAD, firmware
from engines.boot.scratch import Scratch
from engines.boot.trials import AUTO, Bus, Trials
from engines.boot.watch import Seen
from engines.job.contract import (
    Cancel,
    Context,
    Events,
    Finished,
    Plan,
    Section,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import BadParam
from engines.job.params import param

STEP = Step(id="boot", title="Boot the point and watch its screen")
TOLD = 5


class BootParams(RepoParams, frozen=True, kw_only=True):
    """Which point, and on what machine."""

    point: Annotated[str, WHICH_POINT]
    memory: Annotated[int, param("Memory", "MiB for the guest", ge=64, le=65536)] = 512
    expect: Annotated[
        str,
        param("Expect", "a regular expression that must show; without it a login prompt and the like", metavar="RE"),
    ] = ""
    deadline: Annotated[int, param("Deadline", "seconds for each disk bus that is tried", ge=5, le=7200)] = 300
    bus: Annotated[
        Literal["auto", "ide", "virtio", "ahci"],
        param("Bus", "what the disk hangs on; auto tries ide, then virtio, then ahci, until the guest starts"),
    ] = "auto"
    firmware: Annotated[
        Literal["auto", "bios", "ovmf"], param("Firmware", "auto goes by whether the disk has boot code for a BIOS")
    ] = "auto"


class Boot(OnRepository[BootParams]):
    """`crashcart backup boot`."""

    name: ClassVar[str] = "backup-boot"
    verb: ClassVar[str] = "boot"
    title: ClassVar[str] = "start a restore point in QEMU and see whether it comes up"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Booted
    irreversible: ClassVar[str] = "a trial boot changes nothing that could be taken back; the point is as it was"
    params = BootParams

    @override
    def target(self, params: BootParams) -> str:
        return f"backup boot {where(params)} {params.point}"

    @override
    def plan(self, params: BootParams, cancel: Cancel) -> Plan:
        pattern(params.expect)
        return super().plan(params, cancel)

    @override
    def plan_on(self, glance: NamesOnly, params: BootParams, cancel: Cancel) -> Plan:
        point = glance.resolve(params.point)
        return Plan(
            task=self.name,
            target=str(point),
            params={"point": str(point)},
            steps=(STEP,),
            facts=(
                ("point", str(point)),
                ("machine", f"{params.memory} MiB, disk on {params.bus}, firmware {params.firmware}, no network"),
                ("waits for", params.expect or "a login prompt, or another sign of life"),
                ("repository", glance.store.where),
            ),
            undo="nothing to take back: what the guest writes is thrown away",
            state={"repository": glance.config.id, "point": str(point)},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step=STEP.id)
        with (yield from opened(plan.params, context)) as repository:
            name = names.parse(plan.params.point)
            with open_point(repository, name, "booting") as source, serving(source) as server, Scratch() as scratch:
                params = plan.params
                wanted: Bus | Literal["auto"] = params.bus
                trials = Trials(
                    lay=partial(overlay.lay, server.path),
                    scratch=scratch.path,
                    shots=context.folder,
                    cancel=context.cancel,
                    firmware=firmware(source.read(0, HEAD), params.firmware),
                    buses=AUTO if wanted == "auto" else (wanted,),
                    memory=params.memory,
                    expect=pattern(params.expect),
                    deadline=params.deadline,
                )
                bus, seen = yield from trials.run()
                for fault in server.faults[:TOLD]:
                    yield Warned(
                        text=f"{fault.length} bytes at {fault.offset} were not given to the guest: {fault.why}"
                    )
                if seen.how != "boots":
                    yield Warned(text=f"{name} on {bus}: {seen.why}")
                yield StepEnded(step=STEP.id)
                yield _finished(name, bus, seen, trials, server)


def pattern(expect: str) -> re.Pattern[str] | None:
    """What must show on the screen; None for a usual sign of life. Raises BadParam."""
    try:
        return re.compile(expect, re.MULTILINE) if expect else None
    except re.error as error:
        raise BadParam("expect", expect, f"a regular expression ({error})") from None


def _finished(name: names.PointName, bus: Bus, seen: Seen, trials: Trials, server: NbdServer) -> Finished:
    words = {"boots": "boots", "fails": "DOES NOT BOOT", "unsure": "may boot: see the screen"}[seen.how]
    sections = [Section(title="Last lines", text="\n".join((seen.why, "", *seen.lines)))]
    if seen.screenshot is not None:
        sections.append(Section(title="Screen", file=seen.screenshot.name))
    return Finished(
        summary=f"{name} {words}: {seen.why}, the disk on {bus}",
        result={
            "verdict": seen.how,
            "why": seen.why,
            "bus": bus,
            "firmware": trials.firmware,
            "seconds": round(seen.seconds, 1),
            "bytes_read": server.bytes,
            "errors": server.faulty,
        },
        sections=tuple(sections),
        then=() if seen.how == "boots" else ("try another machine: --bus, --firmware, --memory, --deadline",),
    )
