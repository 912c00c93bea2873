"""backup boot: a restore point started as a virtual machine, on a throwaway layer and without a network."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from engines.backup import names
from engines.backup.boot_watch import Seen, watched
from engines.backup.byte_source import PointBytes, open_point
from engines.backup.nbd import overlay
from engines.backup.nbd.server import NbdServer, serving
from engines.backup.repository import RepoParams, Repository, where
from engines.backup.unlocking import opened
from engines.boot.machine import Machine, NotStarted
from engines.boot.media import OVMF, Disk, Hardware
from engines.boot.scratch import Scratch
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
    Events,
    Finished,
    Log,
    Plan,
    Progress,
    Section,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import BadParam, Failed, Refused
from engines.job.params import param, plain

Bus = Literal["ide", "virtio", "ahci"]
AUTO: tuple[Bus, ...] = ("ide", "virtio", "ahci")  # the old guest's first: nearly everything knows it
BOOT_CODE = 440  # bytes at the disk's beginning; zeros where only UEFI firmware can start it
STEP = Step(id="boot", title="Boot the point and watch its screen")
TOLD = 5


class BootParams(RepoParams, frozen=True, kw_only=True):
    """Which point, and on what machine."""

    point: Annotated[
        str,
        param("Point", "which restore point", pattern=names.POINT, allowed="VM/DISK@TIME or @latest", positional=True),
    ]
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


class Boot:
    """See Engine."""

    name: ClassVar[str] = "backup-boot"
    verb: ClassVar[str] = "boot"
    title: ClassVar[str] = "start a restore point as a virtual machine and see whether it comes up"
    kind: ClassVar[str] = "work"
    params = BootParams

    def target(self, params: BootParams) -> str:
        """See Engine."""
        return f"backup boot {where(params)} {params.point}"

    def plan(self, params: BootParams, cancel: Cancel) -> Plan:  # noqa: ARG002  nothing here takes long
        """See Engine."""
        _pattern(params.expect)
        glance = Repository.glance(where(params))
        point = glance.resolve(params.point)
        return Plan(
            task=self.name,
            target=str(point),
            params={**plain(params), "repo": glance.store.where, "point": str(point)},
            steps=(STEP,),
            facts=(
                ("point", str(point)),
                ("machine", f"{params.memory} MiB, disk on {params.bus}, firmware {params.firmware}, no network"),
                ("waits for", params.expect or "a login prompt, or another sign of life"),
                ("repository", glance.store.where),
            ),
            undo="nothing to take back: what the guest writes is thrown away",
            state={"repository": glance.config.id, "point": str(point)},
        ).sealed()

    def execute(self, plan: Plan, context: Context) -> Events:
        """See Engine."""
        yield StepStarted(step=STEP.id)
        repository = yield from opened(plan.params, context)
        name = names.parse(plan.params["point"])
        with open_point(repository, name, "booting") as source, serving(source) as server, Scratch() as scratch:
            trials = Trials(plan, context, server, scratch, _firmware(source, plan.params["firmware"]))
            bus, seen = yield from trials.run()
            for fault in server.faults[:TOLD]:
                yield Warned(text=f"{fault.length} bytes at {fault.offset} were not given to the guest: {fault.why}")
            if seen.how != "boots":
                yield Warned(text=f"{name} on {bus}: {seen.why}")
            yield StepEnded(step=STEP.id)
            yield _finished(name, bus, seen, trials, server)

    def resume(self, plan: Plan, context: Context) -> Events:
        """See Engine."""
        yield from self.execute(plan, context)

    def undo(self, plan: Plan, context: Context) -> Events:  # noqa: ARG002  it refuses whatever is given
        """See Engine."""
        raise Refused("a trial boot changed nothing that can be taken back", "the point is as it was")


@dataclass(frozen=True)
class Trials:
    """One boot a bus, each on a fresh layer, until one is not a failure."""

    plan: Plan
    context: Context
    server: NbdServer
    scratch: Scratch
    firmware: Literal["bios", "ovmf"]

    def run(self) -> Generator[AnyEvent, str | None, tuple[Bus, Seen]]:
        """The bus that decided it, and how it went. Raises Failed, Stopped."""
        wanted = self.plan.params["bus"]
        buses: tuple[Bus, ...] = AUTO if wanted == "auto" else (wanted,)
        for number, bus in enumerate(buses):
            yield Log(text=f"booting with the disk on {bus}, {self.firmware}; what the guest writes is thrown away")
            seen = yield from self._boot(bus, number, len(buses))
            yield Log(text=f"{bus}: {seen.why}")
            if seen.how != "fails" or bus == buses[-1]:
                break
        return bus, seen

    def _boot(self, bus: Bus, number: int, count: int) -> Generator[AnyEvent, str | None, Seen]:
        layer = self.scratch.path / f"{bus}.qcow2"
        overlay.lay(self.server.path, layer)
        params = self.plan.params
        hardware = Hardware(
            media=(Disk(layer, format="qcow2", bus=bus, snapshot=False),),
            memory=params["memory"],
            firmware=self.firmware,
        )
        deadline, shot = params["deadline"], self.context.folder / f"boot-{bus}.png"
        try:
            with Machine(hardware, check=self.context.cancel.check) as machine:
                watching = watched(machine, _pattern(params["expect"]), deadline, layer, shot)
                while True:
                    try:
                        seconds = next(watching)
                    except StopIteration as ended:
                        seen: Seen = ended.value
                        return seen
                    done = number * deadline + min(int(seconds), deadline)
                    yield Progress(done=done, total=count * deadline, unit="s")
        except NotStarted as refused:
            raise Failed(refused.why, refused.what_helps) from None
        finally:
            layer.unlink(missing_ok=True)


def _pattern(expect: str) -> re.Pattern[str] | None:
    try:
        return re.compile(expect, re.MULTILINE) if expect else None
    except re.error as error:
        raise BadParam("expect", expect, f"a regular expression ({error})") from None


def _firmware(source: PointBytes, wanted: str) -> Literal["bios", "ovmf"]:
    if wanted in ("bios", "ovmf"):
        return "ovmf" if wanted == "ovmf" else "bios"
    return "ovmf" if not any(source.read(0, BOOT_CODE)) and OVMF.exists() else "bios"


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
            "bytes read": server.bytes,
            "errors": server.faulty,
        },
        sections=tuple(sections),
        then=() if seen.how == "boots" else ("try another machine: --bus, --firmware, --memory, --deadline",),
    )
