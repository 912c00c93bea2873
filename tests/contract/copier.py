"""A small real task for the job package's own tests: copies one text file, and can ask, warn, fail and hold on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from engines.job.contract import (
    Asked,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Log,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
    TextChange,
    Warned,
)
from engines.job.errors import Failed, Refused
from engines.job.lock import name_identity
from engines.job.params import Params, Secret, param


class CopyParams(Params, frozen=True, kw_only=True):
    source: Annotated[str, param("Source", "the text that is copied", kind="file")]
    output: Annotated[str, param("Output", "where the copy goes", kind="output")]
    count: Annotated[int, param("Copies", "how often", ge=1, le=9)] = 1
    ask: Annotated[bool, param("Ask", "ask before the copy is put in place")] = False
    warn: Annotated[bool, param("Warn", "warn on the way")] = False
    trouble: Annotated[str, param("Trouble", "how it fails: failed, crash or nothing")] = ""
    password: Annotated[Secret | None, param("Password", "unlocks nothing")] = None


P = TypeVar("P", bound=Params)


class CopiesText(Engine[P]):
    """The part of a sample task that any copy has: what it works on, and how it is taken back."""

    kind: ClassVar[str] = "change"

    def target(self, params: Any) -> str:
        return name_identity(Path(params.output))

    def undo(self, plan: Plan, context: Context) -> Events:
        output = Path(plan.target)
        yield StepStarted(step="undo")
        output.with_name(f".{output.name}.partial").unlink(missing_ok=True)
        if plan.detail["before"] is None:
            output.unlink(missing_ok=True)
        else:
            output.write_text(plan.detail["before"])
        yield StepEnded(step="undo")
        yield Finished(summary=f"{output} is as it was")


def before_of(output: Path) -> str | None:
    """What a copy would replace."""
    return output.read_text() if output.exists() else None


class Copier(CopiesText[CopyParams]):
    name: ClassVar[str] = "copier"
    verb: ClassVar[str] = "copy"
    title: ClassVar[str] = "copy a text"
    params = CopyParams

    def plan(self, params: CopyParams, cancel: Cancel) -> Plan:
        source, output = Path(params.source), Path(params.output)
        if not source.is_file():
            raise Refused(f"{source} is no file", "name the text to copy")
        before = before_of(output)
        after = source.read_text() * params.count
        return Plan(
            task=self.name,
            target=str(output),
            params={"source": params.source, "output": params.output, "count": params.count, "ask": params.ask,
                    "warn": params.warn, "trouble": params.trouble},
            steps=(
                Step(id="write", title="Write the copy"),
                Step(id="place", title="Put it in place", no_stop="the rename is one moment"),
            ),
            changes=(TextChange(target=str(output), before=before, after=after),),
            confirm=output.name if before is not None else "",
            undo="the old text is put back",
            detail={"before": before, "after": after},
            state={"before": before, "after": after},
        ).sealed()  # fmt: skip

    def execute(self, plan: Plan, context: Context) -> Events:
        output = Path(plan.params.output)
        partial = output.with_name(f".{output.name}.partial")
        text = plan.detail["after"]
        try:
            yield StepStarted(step="write")
            with partial.open("w") as stream:
                for at, char in enumerate(text, 1):
                    stream.write(char)
                    yield Progress(done=at, total=len(text), unit="characters")
            yield StepEnded(step="write")
            if plan.params.warn:
                yield Warned(text="this is only a copy")
            if plan.params.trouble == "failed":
                raise Failed("the pen broke", "sharpen it")
            if plan.params.trouble == "crash":
                raise ZeroDivisionError("surprise")
            if plan.params.ask:
                answer = yield Asked(question="really", choices=("yes", "no"))
                yield Log(text=f"heard {answer}")
            yield StepStarted(step="place")
            partial.replace(output)
            yield StepEnded(step="place")
        finally:
            partial.unlink(missing_ok=True)
        yield Finished(summary=f"copied to {output}", result={"characters": len(text)}, then=("read it",))
