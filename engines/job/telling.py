"""A plan in lines for people: the command line, the suite's questions and the report say it in the same words."""

from __future__ import annotations

from engines.job.contract import BytesChange, Change, CommandChange, Plan, TextChange
from engines.job.diff import unified
from engines.job.units import one_line


def plan_lines(plan: Plan) -> list[str]:
    """A plan in full."""
    lines = [f"{plan.task}: {one_line(plan.target)}"]
    lines += [f"  {one_line(name)}: {one_line(value)}" for name, value in plan.facts]
    for choice in plan.choices:
        lines.append(f"  {one_line(choice.question)}")
        lines += [
            f"    {'(x)' if o.value == choice.chosen else '( )'} {one_line(o.label)}  {one_line(o.why)}".rstrip()
            for o in choice.options
        ]
    for at, step in enumerate(plan.steps, 1):
        held = f"  (cannot be stopped: {one_line(step.no_stop)})" if step.no_stop else ""
        lines.append(f"  {at}. {one_line(step.title)}{held}")
    lines += [line for change in plan.changes for line in change_lines(change)]
    lines += [f"! {one_line(warning)}" for warning in plan.warnings]
    lines += [f"taken back: {one_line(plan.undo)}"] if plan.undo else []
    return lines


def change_lines(change: Change) -> list[str]:
    """One change: a diff, a sentence, or a command and its answer."""
    match change:
        case TextChange():
            return ["  " + one_line(line) for line in unified(change).splitlines()]
        case BytesChange():
            return [f"  {one_line(change.target)}: {one_line(change.summary)}"]
        case CommandChange():
            expects = f"   (expects: {one_line(change.expects)})" if change.expects else ""
            return [f"  at {one_line(change.where)}: {one_line(change.command)}{expects}"]
