"""A BIOS update disc is built, read back, boot-tested and only then put in place."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from engines.biosiso.build import boottest, place, review
from engines.biosiso.build.params import BuildParams
from engines.biosiso.media import making
from engines.biosiso.media.making import Detail
from engines.biosiso.results import Disc
from engines.job.contract import (
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Log,
    Plan,
    Progress,
    Section,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Refused
from engines.job.lock import name_identity

THEN = (
    "boot the disc on the board and compare the board's name with the ROM's once more",
    "keep the power steady until the flasher says that it is done",
    "take AC off for a minute afterwards: pull the cord, a reset is not enough",
    "power on, enter Setup, load defaults, save",
)
REHEARSED = ("name a FreeDOS as DOS and build it again: this disc cannot flash", *THEN)


class Build(Engine[BuildParams]):
    """`biosiso build`."""

    name: ClassVar[str] = "biosiso"
    verb: ClassVar[str] = "build"
    title: ClassVar[str] = "Build a BIOS update disc"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[Disc]] = Disc
    params = BuildParams

    @override
    def target(self, params: BuildParams) -> str:
        """The output's name in its folder."""
        return name_identity(Path(params.output))

    @override
    def plan(self, params: BuildParams, cancel: Cancel) -> Plan:
        """Look at firmware, DOS, board and output. Raises Refused."""
        return review.plan(params, cancel.check)

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        """Write, verify, boot, place; until the last step nothing is at the output that was not there."""
        detail = msgspec.convert(plan.detail, Detail)
        output = Path(detail.output)
        partial = place.partial(output, context.folder.name)
        if place.identity(output) != detail.was:
            raise Refused(f"{output} changed since the review", "review again")
        place.reserve(context.folder)
        try:
            swept = [Log(text=f"removed {name}, left by a run that was killed") for name in place.sweep(output)]
            if detail.volume and detail.form != "uefi":
                yield StepStarted(step="image")
                yield from _told(making.fat_volume(detail, partial))
                yield StepEnded(step="image")
            yield StepStarted(step="write")
            yield from swept
            yield from _told(making.write(detail, partial))
            yield StepEnded(step="write")
            yield StepStarted(step="verify")
            yield from _told(making.verified(detail, partial))
            sha256 = place.sha256_of(partial)
            yield StepEnded(step="verify")
            trial = boottest.Trial(detail, partial, context.folder, context.cancel.check)
            if detail.boot_test:
                yield StepStarted(step="boot")
                yield from boottest.run(trial)
                yield StepEnded(step="boot")
            yield StepStarted(step="place")
            placed = place.put(output, context.folder.name, context.folder, sha256, detail.was)
            yield StepEnded(step="place")
            yield _finished(detail, placed, tuple(trial.sections))
        finally:
            partial.unlink(missing_ok=True)
            making.image_beside(partial).unlink(missing_ok=True)

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """Do the stored plan anew, unless the killed run had put its disc in place already."""
        placed = place.recorded(context.earlier)
        if placed and place.is_in_place(placed):
            detail = msgspec.convert(plan.detail, Detail)
            place.reserve(context.folder)
            place.record(context.folder, placed)
            for step in plan.steps:
                yield StepStarted(step=step.id)
                yield StepEnded(step=step.id)
            yield _finished(detail, placed, ())
            return
        yield from self.execute(plan, context)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        """Put back what was at the output. Raises Refused where it changed since."""
        detail = msgspec.convert(plan.detail, Detail)
        placed = place.recorded(context.earlier)
        yield StepStarted(step="undo")
        swept = place.sweep(Path(detail.output))
        said = place.take_back(placed) if placed else f"{detail.output} is as it was; that run put nothing in place"
        yield from (Log(text=f"removed {name}") for name in swept)
        yield StepEnded(step="undo")
        yield Finished(summary=said, result={"output": detail.output})


def _told(pairs: Generator[tuple[int, int], None, None]) -> Events:
    """Progress of work that must have ended, its threads and files with it, before a stop goes on."""
    with closing(pairs):
        for done, total in pairs:
            yield Progress(done=done, total=total)


def _finished(detail: Detail, placed: place.Placed, sections: tuple[Section, ...]) -> Finished:
    output = Path(placed.output)
    manifest = detail.entry("MANIFEST.TXT").source.text
    result: dict[str, Any] = {
        "output": placed.output,
        "sha256": placed.sha256,
        "bytes": output.stat().st_size,
        "command": detail.command,
    }
    result |= {"before": placed.before} if placed.before else {}
    return Finished(
        summary=_summary(output, detail),
        result=result,
        sections=(*sections, Section(title="Manifest", text=manifest.replace("\r\n", "\n"))),
        then=REHEARSED if detail.dos_kind == "probe" else THEN,
    )


def _summary(output: Path, detail: Detail) -> str:
    if detail.dos_kind == "probe":
        return f"{output.name} is rehearsed: its DOS is the boot probe, which flashes nothing"
    if not detail.command:
        return f"{output.name} is ready: choose the file on it in the flash page of Setup"
    where = "boot the board's UEFI shell" if detail.form == "uefi" else "boot it"
    return f"{output.name} is ready: {where} and type {detail.command}"
