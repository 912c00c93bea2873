"""`vdx diagnose`: both ends of a link looked at, and what is wrong in plain words beside the switches' own."""

from __future__ import annotations

from typing import Any

import msgspec

from engines.job.contract import Cancel
from engines.job.units import one_line
from engines.vdx.judging.neighbour import same_switch
from engines.vdx.judging.verdict import Verdict, judge
from engines.vdx.line import patterns
from engines.vdx.line.transcript import redacted
from engines.vdx.switch.look import End
from engines.vdx.switch.pair import Pair, look_at
from engines.vdx.switch.params import Ends


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnosis: the verdict, both ends, why the mate could not be seen, and what is worth knowing besides."""

    verdict: Verdict
    switch: dict[str, Any]
    mate: dict[str, Any] | None
    mate_trouble: str
    notes: list[str]


def answer(params: Ends) -> dict[str, Any]:
    """Look at both ends and judge. Raises Refused."""
    pair = look_at(params, Cancel(), deeply=False)
    verdict = judge(pair.a, pair.b, patterns.load())
    found = Answered(
        verdict=verdict,
        switch=_end(pair.a),
        mate=_end(pair.b) if pair.b else None,
        mate_trouble=pair.trouble,
        notes=notes(pair, params),
    )
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def _end(end: End) -> dict[str, Any]:
    keys = (
        "address",
        "hostname",
        "label",
        "version",
        "mode",
        "vcsid",
        "rbridge",
        "interface",
        "isl",
        "trunk",
        "wwn",
        "host_key",
        "host_key",
        "line",
    )
    found = {key: getattr(end, key) for key in keys}
    found |= {"config": [redacted(line) for line in end.config], "members": len(end.members)}
    return {**found, "weak_crypto": list(end.weak)}


def notes(pair: Pair, params: Ends) -> list[str]:
    """What a technician should know beyond the verdict."""
    found = []
    seen = pair.a.neighbour
    if not params.mate and seen:
        found.append(f"LLDP sees {seen.remote} of {seen.system} at the other end: look there too, with --mate HOST")
    if not params.mate and not seen:
        found.append("LLDP sees nobody at this port; name the other end yourself: --mate HOST --mate-interface PORT")
    if pair.b and not pair.b.interface:
        found.append(f"the port at {pair.b.label} is not known: name it with --mate-interface")
    if pair.b and seen and seen.system and same_switch(seen, pair.b) is not True:
        found.append(f"LLDP sees {seen.system} at the other end, but --mate calls itself {pair.b.label}")
    for end in (pair.a, pair.b):
        if end and end.weak:
            found.append(f"{end.address} was let use old ssh algorithms: {', '.join(end.weak)}")
    return found


def table(found: dict[str, Any]) -> str:
    """The diagnosis in lines for people."""
    verdict = found["verdict"]
    ends = [found["switch"], *([found["mate"]] if found["mate"] else [])]
    lines = [verdict["words"], verdict["helps"], ""]
    for end in ends:
        lines.append(
            f"{end['hostname']} ({end['address']}): vcsid {_or(end['vcsid'])}, rbridge-id {_or(end['rbridge'])}, "
            f"{end['mode']}, NOS {end['version'] or 'unknown'}"
        )
        lines.append(f"  {end['interface'] or 'port unknown'}: fabric isl {end['isl']}, fabric trunk {end['trunk']}")
        lines += [f"  | {said['line']}" for said in verdict["lines"] if said["who"] == end["label"]]
    if found["mate_trouble"]:
        lines += ["", f"the mate could not be looked at: {found['mate_trouble']}"]
    return "\n".join(map(one_line, [*lines, *(["", *found["notes"]] if found["notes"] else [])]))


def _or(value: object) -> str:
    return "unknown" if value is None else str(value)
