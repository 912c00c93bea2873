"""A journal folded into what a run page shows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from engines.job.contract import (
    Answered,
    Asked,
    Finished,
    Log,
    Progress,
    RunFailed,
    RunStopped,
    Started,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.journal import Entry
from engines.job.units import amount, one_line, span

TAIL = 500  # lines of log kept on the page; the journal and the report keep all


@dataclass
class Stage:
    """A step as far as it got. `began` and `ended` are Unix times."""

    step: Step
    began: float | None = None
    ended: float | None = None

    def line(self, now: float, *, over: bool) -> str:
        """`[x] title  12 s`, with [>] for the one at work and [!] for one that never ended."""
        if self.began is None:
            return f"[ ] {self.step.title}"
        if self.ended is None:
            held = "" if over or not self.step.no_stop else "  (cannot be stopped)"
            return f"[{'!' if over else '>'}] {self.step.title}  {span(now - self.began)}{held}"
        return f"[x] {self.step.title}  {span(self.ended - self.began)}"


@dataclass
class RunView:
    """Everything the entries told so far."""

    stages: list[Stage] = field(default_factory=list)
    progress: Progress | None = None
    first: tuple[float, int] = (0.0, 0)
    at: float = 0.0  # Unix time of the last progress
    log: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    warnings: list[str] = field(default_factory=list)
    question: Asked | None = None
    last: Finished | RunStopped | RunFailed | None = None

    def tell(self, entry: Entry) -> None:
        """Take in the next entry."""
        match entry.event:
            case Started(steps=steps):
                self.stages = [Stage(step) for step in steps]
            case StepStarted(step=step):
                self._stage(step).began = entry.at
                self.progress = None
            case StepEnded(step=step):
                self._stage(step).ended = entry.at
            case Progress() as progress:
                self._progress(progress, entry.at)
            case Finished() | RunStopped() | RunFailed() as last:
                self.last, self.question = last, None
            case event:
                self._said(event)

    def _said(self, event: object) -> None:
        match event:
            case Log(text=text):
                self.log.extend(one_line(line) for line in text.splitlines() or [""])
            case Warned(text=text):
                self.warnings.append(one_line(text))
                self.log.append(f"! {one_line(text)}")
            case Asked(question=question):
                self.question = event
                self.log.append(f"? {one_line(question)}")
            case Answered(text=text):
                self.question = None
                self.log.append(f"  answered: {one_line(text) or '(not recorded)'}")

    def _stage(self, step: str) -> Stage:
        for stage in self.stages:
            if stage.step.id == step:
                return stage
        self.stages.append(Stage(Step(id=step, title=step)))
        return self.stages[-1]

    def _progress(self, progress: Progress, at: float) -> None:
        if self.progress is None or progress.total != self.progress.total:
            self.first = (at, progress.done)
        self.progress, self.at = progress, at

    def now(self) -> Stage | None:
        """The step at work."""
        return next((stage for stage in self.stages if stage.began is not None and stage.ended is None), None)

    def bar(self, width: int) -> str:
        """`[#####.....]  52%  12/23 MiB  ETA 0:12` in at most `width` cells; empty where nothing is counted."""
        if self.progress is None or self.progress.total <= 0:
            return ""
        done, total = self.progress.done, self.progress.total
        words = f" {done * 100 // total:3}%  {amount(done, total, self.progress.unit)}{self._eta()}"
        cells = max(10, min(30, width - len(words) - 2))
        filled = cells * done // total
        return f"[{'#' * filled}{'.' * (cells - filled)}]{words}"

    def _eta(self) -> str:
        assert self.progress is not None
        (began, before), left = self.first, self.progress.total - self.progress.done
        moved, took = self.progress.done - before, self.at - began
        if moved <= 0 or took < 2.0 or left <= 0:  # s; a shorter look promises nonsense
            return ""
        seconds = round(left * took / moved)
        return f"  ETA {seconds // 60}:{seconds % 60:02}"
