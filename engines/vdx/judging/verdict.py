"""Why a port is down, in plain words, each with the switch's own lines beside it."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from engines.vdx.line.patterns import Patterns, fits
from engines.vdx.switch.look import End

Kind = Literal[
    "up",
    "admin-down",
    "no-light",
    "segmented",
    "same-vcsid-isl-off",
    "different-vcsid",
    "not-understood",
    "no-such-port",
]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A switch's own line: who said it, to which command."""

    who: str
    line: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The cause, in words, and what helps. `fixable` is whether `vdx fix` mends it."""

    kind: Kind
    words: str
    helps: str
    lines: list[Said]
    fixable: bool = False


class Saying(Protocol):
    """Makes a verdict of what was found, with the lines of both ends."""

    def __call__(self, kind: Kind, words: str, helps: str, fixable: bool = False) -> Verdict:
        """The verdict."""
        ...


def judge(a: End, b: End | None, patterns: Patterns) -> Verdict:
    """The verdict on the port of `a`; `b` is the other end where it could be seen."""
    lines = _lines(a) + (_lines(b) if b else [])

    def say(kind: Kind, words: str, helps: str, fixable: bool = False) -> Verdict:
        return Verdict(kind=kind, words=words, helps=helps, lines=lines, fixable=fixable)

    for end in (a, b):
        if end and end.interface and end.port is None:
            return say(
                "no-such-port",
                f"{end.hostname} gives no state of {end.interface}.",
                "Check the port's name; the rbridge-id comes first (such as TenGigabitEthernet 1/0/5).",
            )
    for end in (a, b):
        if end and end.port and _is(patterns.reason_admin_down, end):
            return say(
                "admin-down",
                f"{end.interface} of {end.hostname} is switched off by its configuration.",
                f"If it is meant to be on: no shutdown on {end.interface} of {end.hostname}.",
            )
    for end in (a, b):
        if end and end.port and not end.port.up and _is(patterns.reason_no_light, end):
            return say(
                "no-light",
                f"{end.interface} of {end.hostname} sees no signal: the cable, the SFP or the other end's power.",
                "Check the cable and both SFPs; no setting helps here.",
            )
    return _of_fabric(a, b, patterns, say)


def _is(wordings: tuple[str, ...], end: End) -> bool:
    assert end.port is not None
    return fits(wordings, f"{end.port.state} ({end.port.reason})") is not None


def _of_fabric(a: End, b: End | None, patterns: Patterns, say: Saying) -> Verdict:
    ends = [end for end in (a, b) if end]
    if all(end.port and end.port.up for end in ends if end.interface):
        return say("up", _up(a), "Nothing to mend here.")
    for end in ends:
        if (end.port and _is(patterns.reason_segmented, end)) or (
            end.islport and fits(patterns.islport_segmented, end.islport.says)
        ):
            return say(
                "segmented",
                f"The fabric link is segmented ({end.islport.says if end.islport else end.line}): "
                "both switches want to join and something of theirs collides, most often the rbridge-id.",
                "Give one of them another rbridge-id, or settle what the reason names; a new vcsid is another fix.",
            )
    off = [end for end in ends if end.interface and (end.isl == "off" or end.trunk == "off")]
    if b is not None and a.vcsid is not None and b.vcsid is not None and a.vcsid != b.vcsid:
        return say(
            "different-vcsid",
            f"The vcsids differ already ({a.hostname} {a.vcsid}, {b.hostname} {b.vcsid}) and the port is still down.",
            "A new vcsid does not help. Compare speed, cable type, LACP and the port's log (show logging raslog).",
        )
    known = all(end.port and _is(patterns.reason_isl_off, end) for end in ends if end.interface)
    if off and known and a.vcsid is not None and (b is None or a.vcsid == b.vcsid):
        return say("same-vcsid-isl-off", _seed(a, b, off), _seed_helps(b), fixable=True)
    reason = ", ".join(f"{end.hostname}: {end.line or 'no line'}" for end in ends)
    return say(
        "not-understood",
        f"This is no case known here ({reason}).",
        "Read the switch's own lines below; a wording that is merely new goes into vdx-patterns.yaml.",
    )


def _up(a: End) -> str:
    if any(line.split()[:1] == ["switchport"] for line in a.config):
        return f"{a.interface} of {a.hostname} is up."
    return f"{a.interface} of {a.hostname} is up; without switchport lines that does not mean that it carries traffic."


def _seed(a: End, b: End | None, off: list[End]) -> str:
    where = " and ".join(end.hostname for end in off)
    both = f"{a.hostname} and {b.hostname} both have" if b else f"{a.hostname} has"
    return (
        f"{both} vcsid {a.vcsid}, so they take each other for the same fabric; but the fabric link is switched off at "
        f"{where} (no fabric isl / no fabric trunk). Not a fabric link and not an edge port: the line stays down."
    )


def _seed_helps(b: End | None) -> str:
    if b is None:
        return "Look at the other switch as well (--mate): only where its vcsid is the same does a new vcsid help."
    return (
        "Give one of them a vcsid of its own (crashcart vdx fix): it reboots that switch and puts its "
        "configuration back. Where the release knows it, --method edge-port does without the reboot."
    )


def _lines(end: End) -> list[Said]:
    found = [Said(who=end.hostname, line=end.line)] if end.line else []
    found += [Said(who=end.hostname, line=line) for line in end.config if "fabric" in line or "shutdown" in line]
    vcs = [line.strip() for line in end.raw.get("show vcs", "").splitlines() if ":" in line and "vcs" in line.lower()]
    found += [Said(who=end.hostname, line=line) for line in vcs if "GUID" not in line]
    if end.islport:
        found.append(
            Said(who=end.hostname, line=f"islport {end.islport.name} {end.islport.state} {end.islport.says}".strip())
        )
    if end.neighbour:
        seen = end.neighbour
        found.append(Said(who=end.hostname, line=f"LLDP {seen.local} sees {seen.remote} of {seen.system}"))
    return found
