"""What taking a run back will do, as a plan of its own: what is put back, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engines.job.contract import BytesChange, Change, CommandChange, Plan, Step, TextChange

ONCE = "taking back is not itself taken back; to do the work again, start it anew"


def way_back(plan: Plan) -> Plan:
    """The plan of the undo of a run that had this plan: its changes turned round, the last one first.

    What was sent as a command stands among the facts: the engine answers it with commands of its own, or not at all.
    """
    sent = [change for change in plan.changes if isinstance(change, CommandChange)]
    facts = [(f"was sent to {change.where}", next(iter(change.command.splitlines()), "")) for change in sent]
    return msgspec.structs.replace(
        plan,
        steps=(Step(id="undo", title=f"Take it back: {plan.undo or 'as its task does it'}"),),
        changes=tuple(_turned(plan.changes)),
        facts=tuple(facts),
        choices=(),
        warnings=(),
        undo=ONCE,
        undoable=False,
        detail={},
    )


def _turned(changes: tuple[Change, ...]) -> Iterator[Change]:
    for change in reversed(changes):
        match change:
            case TextChange():
                yield TextChange(target=change.target, before=change.after, after=change.before)
            case BytesChange(before_size=before, after_size=after):
                new = before is None and after is not None
                summary = "is removed: it was not there before" if new else "is put back as it was before"
                yield BytesChange(target=change.target, summary=summary, before_size=after, after_size=before)
