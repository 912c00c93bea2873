"""Which switch gets the new vcsid, and which id is free."""

from __future__ import annotations

from engines.job.errors import Refused
from engines.vdx.line.address import seen_before
from engines.vdx.switch.pair import Pair
from engines.vdx.switch.params import FixParams

LARGEST = 8192  # BROCADE-VCS-MIB


def side(params: FixParams, pair: Pair) -> tuple[str, str]:
    """("switch" or "mate", why)."""
    if params.change == "mate" and pair.b is None:
        raise Refused(
            "change is 'mate', but the mate cannot be looked at", "name it with --mate, or choose --change switch"
        )
    if params.change != "auto":
        return params.change, "chosen by you"
    if pair.b is None:
        return "switch", "the mate is not seen"
    a, b = pair.a, pair.b
    if (a.mode == "fabric-cluster") != (b.mode == "fabric-cluster"):
        return ("switch" if a.mode == "fabric-cluster" else "mate"), "the other is no plain fabric cluster"
    if len(a.members) != len(b.members):
        fewer = "switch" if len(a.members) < len(b.members) else "mate"
        return fewer, f"its fabric is the smaller one ({len(a.members)} and {len(b.members)} members)"
    if bool(params.console) != bool(params.mate_console):
        return ("switch" if params.console else "mate"), "its console line is at hand"
    return "switch", "both are alike; it is the one you named first"


def taken(params: FixParams, pair: Pair) -> dict[int, str]:
    """Every vcsid known to be in use, and by whom."""
    found = {number: "given as taken" for number in params.taken()}
    found |= {seen.vcsid: f"of {seen.hostname}, looked at earlier" for seen in seen_before()}
    for end in (pair.a, pair.b):
        if end and end.vcsid is not None:
            found[end.vcsid] = f"of {end.label}"
    return found


def vcsid(params: FixParams, pair: Pair) -> int:
    """The new id. Raises Refused where the wanted one is taken."""
    used = taken(params, pair)
    if params.vcsid == "auto":
        free = next((number for number in range(2, LARGEST + 1) if number not in used), None)
        if free is None:
            raise Refused("every vcsid from 2 to 8192 is taken", "correct --used-vcsids")
        return free
    if params.vcsid in used:
        raise Refused(f"vcsid {params.vcsid} is taken ({used[params.vcsid]})", "choose another, or auto")
    return params.vcsid
