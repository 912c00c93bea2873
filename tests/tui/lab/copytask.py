"""A small real task with a field of every shape: copies a text file, asks, warns, can be stopped, resumed, undone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from engines.job.contract import (
    Asked,
    BytesChange,
    Cancel,
    Choice,
    CommandChange,
    Context,
    Engine,
    Events,
    Finished,
    Log,
    Measured,
    Option,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
    TextChange,
    Warned,
)
from engines.job.errors import BadParam, Refused
from engines.job.params import Params, Secret, param, plain
from tests.contract.copier import CopiesText, before_of

STEPS = (
    Step(id="read", title="Read the source"),
    Step(id="wait", title="Wait as long as was asked"),
    Step(id="write", title="Write the copy", no_stop="half a file is worse than none"),
)


class CopyParams(Params, frozen=True, kw_only=True):
    """What to copy, where to, and how."""

    source: Annotated[str, param("Source file", "The text that is copied. It is only read.", kind="file")]
    output: Annotated[str, param("Copy", "Where the copy goes; an existing file is replaced.", kind="output")]
    style: Annotated[Literal["as it is", "upper case"], param("Style", "Upper case suits very old printers.")] = (
        "as it is"
    )
    count: Annotated[int, param("Lines", "How many lines are waited for.", ge=0, le=10000)] = 3
    pause: Annotated[int, param("Pause", "Milliseconds a line.", ge=0, le=60000)] = 0
    hold: Annotated[str, param("Hold", "A step stands still while there is a file HOLD.STEP.")] = ""
    ask: Annotated[bool, param("Ask before writing", "The run then waits for an answer.")] = False
    notes: Annotated[tuple[str, ...], param("Notes", "Written to the log.")] = ()
    token: Annotated[Secret | None, param("Token", "Only its length is ever told.")] = None


class Copy(CopiesText[CopyParams]):
    """Copies one text file."""

    name: ClassVar[str] = "copy"
    verb: ClassVar[str] = "file"
    title: ClassVar[str] = "Copy a text file with care"
    params = CopyParams

    def plan(self, params: CopyParams, cancel: Cancel) -> Plan:
        source, output = Path(params.source), Path(params.output)
        if not source.is_file():
            raise BadParam("source", params.source, "a file that exists", "name the text that is to be copied")
        if not output.parent.is_dir():
            raise Refused(f"{output.parent} is no folder", "make it first: mkdir -p")
        if params.count == 666:
            raise ValueError("an engine's own fault")
        cancel.sleep(params.pause / 1000 if params.count == 777 else 0)
        text = source.read_text()
        after = text.upper() if params.style == "upper case" else text
        before = before_of(output)
        options = (
            Option(value="as it is", label="as it is", why="every byte stays"),
            Option(value="upper case", label="UPPER CASE", why="for very old printers"),
        )
        return Plan(
            task=self.name,
            target=str(output),
            params=plain(params),
            steps=STEPS,
            changes=(
                TextChange(target=str(output), before=before, after=after),
                BytesChange(target=str(output), summary="written as a whole", before_size=None, after_size=len(after)),
                CommandChange(where="the log", command="note", expects="noted"),
            ),
            facts=(
                ("source", f"{source}, {len(text)} bytes"),
                ("copy", str(output)),
                ("token", "given" if params.token else "none"),
            ),
            choices=(Choice(param="style", question="How is it written?", options=options, chosen=params.style),),
            warnings=("the file that is there is replaced",) if before is not None else (),
            undo="the earlier text is put back from the run's folder",
            confirm=output.name if before is not None else "",
            detail={"after": after, "before": before},
            state={"before": before},
        ).sealed()

    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="read")
        for note in plan.params.notes:
            yield Log(text=note)
        yield StepEnded(step="read")
        yield from self._wait(plan, context)
        if plan.params.ask:
            said = yield Asked(question="Write it?", choices=("no", "yes"))
            if said == "no":
                raise Refused("the answer was no", "start it again when ready")
            yield Asked(question="Password of the printer", secret=True)
        yield StepStarted(step="write")
        while _held(plan, "write"):
            time.sleep(0.02)
        Path(plan.target).write_text(plan.detail["after"])
        yield StepEnded(step="write")
        if plan.detail["before"] is not None:
            yield Warned(text="the file that was there is gone")
        yield Finished(
            summary=f"{plan.target} written",
            result={"bytes": len(plan.detail["after"])},
            then=("compare the two files", "tell whoever waits for it"),
        )

    def _wait(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="wait")
        total = plan.params.count
        for done in range(total):
            context.cancel.sleep(plan.params.pause / 1000)
            yield Measured(kind="line", data={"done": done + 1})
            yield Progress(done=done + 1, total=total, unit="lines")
            while _held(plan, "wait"):
                context.cancel.sleep(0.02)
        yield StepEnded(step="wait")


ENGINES: tuple[Engine[Any], ...] = (Copy(),)
LOOKS = ()


def _held(plan: Plan, step: str) -> bool:
    return bool(plan.params.hold) and Path(f"{plan.params.hold}.{step}").exists()
