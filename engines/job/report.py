"""A run's report for the ticket, made from its journal: Markdown, JSON or one self-contained HTML page."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from engines.job import journal
from engines.job.contract import (
    Answered,
    Asked,
    BytesChange,
    Change,
    CommandChange,
    Finished,
    Log,
    Plan,
    RunFailed,
    RunStopped,
    Section,
    Started,
    StepEnded,
    StepStarted,
    TextChange,
    Warned,
)
from engines.job.diff import unified
from engines.job.runs import Info, Run, status_of
from engines.job.units import clean, marked

SAID = {
    "done": "done",
    "warned": "done, with warnings",
    "failed": "FAILED",
    "refused": "refused, nothing was touched",
    "stopped": "stopped",
    "interrupted": "INTERRUPTED: the process was killed before its last word",
}


class Timed(msgspec.Struct):
    """A step as it went: seconds it took, None where it never ended."""

    id: str
    title: str
    seconds: float | None


class Report(msgspec.Struct, kw_only=True):
    """Everything a ticket needs, as data."""

    info: Info
    status: str
    began: float | None = None
    ended: float | None = None
    plan: Plan | None = None
    steps: list[Timed] = []
    warnings: list[str] = []
    log: list[str] = []
    summary: str = ""
    what_helps: str = ""
    left_behind: tuple[str, ...] = ()
    result: dict[str, Any] = {}
    sections: tuple[Section, ...] = ()
    then: tuple[str, ...] = ()


def gather(run: Run) -> Report:
    """The report of `run` as its journal tells it so far."""
    found = journal.entries(run.journal)
    holder = run.holder()
    report = Report(info=run.info(), plan=run.plan(), status=status_of(found, bool(holder and holder.alive())))
    if found:
        report.began, report.ended = found[0].at, found[-1].at
    titles: dict[str, str] = {}
    begun: dict[str, float] = {}
    for entry in found:
        match entry.event:
            case Started(steps=steps):
                titles = {step.id: step.title for step in steps}
            case StepStarted(step=step):
                begun[step] = entry.at
                report.steps.append(Timed(step, titles.get(step, step), None))
            case StepEnded(step=step):
                for timed in report.steps:
                    if timed.id == step and timed.seconds is None:
                        timed.seconds = round(entry.at - begun[step], 3)
            case _:
                _note(report, entry.event)
    return report


def _note(report: Report, event: object) -> None:
    match event:
        case Warned(text=text):
            report.warnings.append(text)
        case Log(text=text):
            report.log.append(text)
        case Asked(question=question):
            report.log.append(f"asked: {question}")
        case Answered(text=text):
            report.log.append(f"answered: {text or '(not recorded)'}")
        case Finished():
            report.summary, report.result = event.summary, event.result
            report.sections, report.then = event.sections, event.then
        case RunStopped(left_behind=left_behind):
            report.summary, report.left_behind = "stopped by request", left_behind
        case RunFailed():
            report.summary, report.what_helps, report.left_behind = event.why, event.what_helps, event.left_behind


def markdown(report: Report) -> str:
    """The report as Markdown."""
    info = report.info
    lines = [f"# crashcart {info.task}: {marked(info.target)}", ""]
    lines += [f"- run: {info.id}", f"- outcome: {SAID.get(report.status, report.status)}"]
    if report.began and report.ended:
        lines.append(f"- time: {_utc(report.began)} to {_utc(report.ended)} ({report.ended - report.began:.1f} s)")
    if info.earlier:
        lines.append(f"- {info.mode} of: {info.earlier}")
    if report.summary:
        lines += ["", f"**{marked(report.summary)}**"]
    if report.what_helps:
        lines += ["", f"What helps: {marked(report.what_helps)}"]
    lines += _listed("Left behind", report.left_behind)
    lines += _listed("Warnings", (*(report.plan.warnings if report.plan else ()), *report.warnings))
    lines += _numbered("What to do next", report.then)
    lines += _steps(report.steps)
    lines += _planned(report.plan)
    lines += [line for section in report.sections for line in _section(section)]
    if report.result:
        lines += ["", "## Result", "", *_tree(report.result)]
    lines += _fenced("Log", "\n".join(report.log))
    return "\n".join(lines) + "\n"


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def _listed(title: str, items: tuple[str, ...]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {marked(item)}" for item in items)] if items else []


def _numbered(title: str, items: tuple[str, ...]) -> list[str]:
    return ["", f"## {title}", "", *(f"{at}. {marked(item)}" for at, item in enumerate(items, 1))] if items else []


def _steps(steps: list[Timed]) -> list[str]:
    if not steps:
        return []
    rows = [
        f"| {marked(step.title)} | {'not ended' if step.seconds is None else f'{step.seconds:.1f} s'} |"
        for step in steps
    ]
    return ["", "## Steps", "", "| step | took |", "|---|---|", *rows]


def _planned(plan: Plan | None) -> list[str]:
    if plan is None:
        return []
    lines = ["", "## Plan", ""]
    lines += [f"- {marked(name)}: {marked(value)}" for name, value in plan.facts]
    lines += [f"- how it is taken back: {marked(plan.undo)}"] if plan.undo else []
    lines += [f"- digest: {plan.digest}"]
    for change in plan.changes:
        lines += _change(change)
    return lines


def _change(change: Change) -> list[str]:
    match change:
        case TextChange():
            return _fenced(f"Change: {change.target}", unified(change), "diff", level=3)
        case BytesChange():
            return ["", f"### Change: {marked(change.target)}", "", marked(change.summary)]
        case CommandChange():
            expects = f"\n(expects: {change.expects})" if change.expects else ""
            return _fenced(f"Command at {change.where}", change.command + expects, level=3)


def _section(section: Section) -> list[str]:
    if section.file:
        return ["", f"## {marked(section.title)}", "", f"![{marked(section.title)}]({section.file})"]
    return _fenced(section.title, section.text)


def _fenced(title: str, text: str, kind: str = "", level: int = 2) -> list[str]:
    if not text:
        return []
    fence = "```"
    while fence in text:
        fence += "`"
    shown = clean(text)
    return ["", f"{'#' * level} {marked(title)}", "", f"{fence}{kind}", shown.rstrip("\n"), fence]


def _tree(value: Any, indent: str = "") -> list[str]:
    lines = []
    for name, item in value.items():
        if isinstance(item, dict):
            lines += [f"{indent}- {marked(str(name))}:", *_tree(item, indent + "  ")]
        elif isinstance(item, list):
            lines += [f"{indent}- {marked(str(name))}:", *(f"{indent}  - {marked(_words(part))}" for part in item)]
        else:
            lines.append(f"{indent}- {marked(str(name))}: {marked(str(item))}")
    return lines


def _words(value: Any) -> str:
    """A value inside a list, on one line: nobody reads the brackets of a program."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items() if item not in ("", None, [], {}))
    if isinstance(value, list | tuple):
        return " ".join(map(_words, value))
    return {True: "yes", False: "no", None: "-"}[value] if value is None or isinstance(value, bool) else str(value)


def as_json(report: Report) -> bytes:
    """The report as one JSON object."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def write_reports(run: Run) -> None:
    """Write report.md into the run's folder; a disk too full for it leaves the journal to make it from later."""
    try:
        run.keep("report.md", markdown(gather(run)).encode())
    except OSError:
        run.report.unlink(missing_ok=True)
