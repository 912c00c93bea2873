"""The last word of a run by vcsid: what was reached, what differs from the copy, and what the technician does next."""

from __future__ import annotations

from engines.job.contract import Finished, Section
from engines.vdx.fix.fix_run import FixRun
from engines.vdx.fix.restore import Restored
from engines.vdx.judging.planning import Side
from engines.vdx.line.transcript import redacted
from engines.vdx.switch import config

ADVICE = "Give every fabric a vcsid of its own when it is commissioned: two with the factory's 1 meet like this again."


def last_word(ground: FixRun, side: Side, wanted: int, before: str, restored: Restored, *, undoing: bool) -> Finished:
    """Finished, once everything is verified."""
    differ = config.differences(config.blocks(before), config.blocks(restored.running))
    equal = before == restored.running
    both = ground.detail.other is not None and not undoing
    link = "the link is not judged" if undoing else "both ends are up" if both else "this end is up"
    copy = (
        "equal to the copy"
        if equal
        else f"back but for {len(differ)} lines"
        if differ
        else "the copy's in another order"
    )
    result = {
        "hostname": side.hostname,
        "vcsid": wanted,
        "old_vcsid": side.vcsid,
        "config_equals_copy": equal,
        "lines_put_back": restored.sent,
        "left_out": restored.left_out,
        "other_end_verified": both,
        "weak_crypto": sorted(ground.weak),
        "host_keys": [f"{where}: {key}" for where, key in ground.host_keys.items()],
        "question": ground.progress.question,
        "stages": [f"{seconds} s {stage}" for stage, seconds in ground.progress.stages],
    }
    sections = (Section(title="Configuration that differs from the copy", text=redacted("\n".join(differ))),)
    then = (f"Look at the {len(differ)} lines of {side.label} that differ from the copy.",) if differ else ()
    return Finished(
        summary=f"{side.label} has vcsid {wanted}, {link}, its configuration is {copy}",
        result=result,
        sections=sections if differ else (),
        then=then if undoing else (*then, ADVICE),
    )
