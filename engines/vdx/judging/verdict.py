"""Why a port is down, in plain words, each with the switch's own lines beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from engines.vdx.line.patterns import Patterns, Wordings, fits
from engines.vdx.switch.look import End

Kind = Literal[
    "up",
    "admin-down",
    "no-light",
    "segmented",
    "same-vcsid-isl-off",
    "same-switch",
    "one-fabric",
    "isl-on",
    "different-vcsid",
    "vcs-disabled",
    "not-understood",
    "no-such-port",
]
ONE_FABRIC = "Should these two be one fabric?"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A switch's own line: who said it, to which command."""

    who: str
    line: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The cause, in words, and what helps. `fixable` is whether `vdx fix` mends it.

    cheaper: the commands, by switch, that make the two one fabric without a reboot, where that is all that is missing.
    """

    kind: Kind
    words: str
    helps: str
    lines: list[Said]
    fixable: bool = False
    cheaper: str = ""


@dataclass(frozen=True)
class Case:
    """Both ends as they were seen; `b` is None where it was not."""

    a: End
    b: End | None
    patterns: Patterns

    @property
    def ends(self) -> list[End]:
        """Those that were seen."""
        return [end for end in (self.a, self.b) if end]

    @property
    def with_port(self) -> list[End]:
        """Those whose port is known by name."""
        return [end for end in self.ends if end.interface]

    @property
    def isl_off(self) -> list[End]:
        """Those that make no fabric link of this port."""
        return [end for end in self.with_port if end.isl == "off"]

    def says(self, wordings: Wordings, end: End) -> bool:
        """Whether a port gives one of these reasons."""
        return end.port is not None and fits(wordings, f"{end.port.state} ({end.port.reason})") is not None

    def verdict(self, kind: Kind, words: str, helps: str, *, fixable: bool = False, cheaper: str = "") -> Verdict:
        """The verdict, with the lines of both ends."""
        lines = [line for end in self.ends for line in _lines(end)]
        return Verdict(kind=kind, words=words, helps=helps, lines=lines, fixable=fixable, cheaper=cheaper)


def judge(a: End, b: End | None, patterns: Patterns) -> Verdict:
    """The verdict on the port of `a`; `b` is the other end where it could be seen."""
    case = Case(a, b, patterns)
    causes = (
        _same_switch,
        _no_such_port,
        _admin_down,
        _no_light,
        _segmented,  # whose line may be up
        _up,
        _vcs_disabled,
        _different_vcsid,
        _one_fabric,
        _same_vcsid,
        _isl_on,
    )
    return next((found for cause in causes if (found := cause(case))), None) or _not_understood(case)


def _same_switch(case: Case) -> Verdict | None:
    a, b = case.a, case.b
    if b is None or not a.wwn or a.wwn != b.wwn:
        return None
    return case.verdict(
        "same-switch",
        f"{a.label} and {b.label} are one switch (WWN {a.wwn}): the mate's address leads to the switch itself.",
        "Give the other switch's own address as --mate (not a virtual address of the fabric).",
    )


def _no_such_port(case: Case) -> Verdict | None:
    end = next((end for end in case.with_port if end.port is None), None)
    if end is None:
        return None
    return case.verdict(
        "no-such-port",
        f"{end.label} gives no state of {end.interface}.",
        "Check the port's name; the rbridge-id comes first (such as TenGigabitEthernet 1/0/5).",
    )


def _admin_down(case: Case) -> Verdict | None:
    end = next((end for end in case.ends if case.says(case.patterns.reason_admin_down, end) or _shut(end)), None)
    if end is None:
        return None
    return case.verdict(
        "admin-down",
        f"{end.interface} of {end.label} is switched off by its configuration.",
        f"If it is meant to be on: no shutdown on {end.interface} of {end.label}.",
    )


def _shut(end: End) -> bool:
    """Whether its configuration switches it off, where the switch gives no such reason."""
    return "shutdown" in end.config and end.port is not None and not end.port.up


def _no_light(case: Case) -> Verdict | None:
    dark = (end for end in case.ends if end.port and not end.port.up and case.says(case.patterns.reason_no_light, end))
    end = next(dark, None)
    if end is None:
        return None
    return case.verdict(
        "no-light",
        f"{end.interface} of {end.label} sees no signal: the cable, the SFP or the other end's power.",
        "Check the cable and both SFPs; no setting helps here.",
    )


def _up(case: Case) -> Verdict | None:
    a = case.a
    if not all(end.port and end.port.up for end in case.with_port):
        return None
    words = f"{a.interface} of {a.label} is up"
    if not any(line.split()[:1] == ["switchport"] for line in a.config):
        words += "; without switchport lines that does not mean that it carries traffic"
    return case.verdict("up", words + ".", "Nothing to mend here.")


def _segmented(case: Case) -> Verdict | None:
    for end in case.ends:
        says = end.islport.says if end.islport else ""
        if case.says(case.patterns.reason_segmented, end) or fits(case.patterns.islport_segmented, says):
            return case.verdict(
                "segmented",
                f"The fabric link is segmented ({says or end.line}): "
                "both switches want to join and something of theirs collides, most often the rbridge-id.",
                "Give one of them another rbridge-id, or settle what the reason names; a new vcsid is another fix.",
            )
    return None


def _vcs_disabled(case: Case) -> Verdict | None:
    end = next((end for end in case.ends if end.mode == "disabled"), None)
    if end is None:
        return None
    return case.verdict(
        "vcs-disabled",
        f"VCS is switched off on {end.label} ({end.mode_words}): it has no vcsid, and none of its ports is a fabric "
        "link.",
        "No new vcsid helps. crashcart vdx fix --method edge-port makes edge ports of both ends where both releases "
        "know it; else: no fabric isl enable on the other end's port, and compare speed and LACP.",
    )


def _different_vcsid(case: Case) -> Verdict | None:
    a, b = case.a, case.b
    if b is None or a.vcsid is None or b.vcsid is None or a.vcsid == b.vcsid:
        return None
    return case.verdict(
        "different-vcsid",
        f"The vcsids differ already ({a.label} {a.vcsid}, {b.label} {b.vcsid}) and the port is still down.",
        "A new vcsid does not help. Compare speed, cable type, LACP and the port's log (show logging raslog).",
    )


def _one_fabric(case: Case) -> Verdict | None:
    a, b = case.a, case.b
    if b is None or not case.isl_off or not (_counts(a, b) or _counts(b, a)):
        return None
    switches = "; ".join(_enabling(end) for end in case.isl_off)
    joined = _reaches(a, b) or _reaches(b, a)
    how = "already, by another way than this cable" if joined else "and do not reach each other now"
    return case.verdict(
        "one-fabric",
        f"{a.label} and {b.label} are members of one fabric {how}; the fabric link "
        f"is switched off at {' and '.join(end.label for end in case.isl_off)} (no fabric isl).",
        f"No new vcsid: it would tear the fabric apart. If this cable is to carry it, without a reboot: {switches}."
        + " If not, take the cable out." * joined,
    )


def _reaches(one: End, other: End) -> bool:
    return other.wwn in (*(member.wwn for member in one.members if member.online), *one.isl_peers)


def _counts(one: End, other: End) -> bool:
    """Whether it has the other among its fabric's members, or a fabric link to it."""
    return bool(other.wwn) and other.wwn in (*(member.wwn for member in one.members), *one.isl_peers)


def _same_vcsid(case: Case) -> Verdict | None:
    known = all(case.says(case.patterns.reason_isl_off, end) for end in case.with_port)
    if not case.isl_off or not known or case.a.vcsid is None or (case.b and case.a.vcsid != case.b.vcsid):
        return None
    cheaper = _one_sided(case)
    return case.verdict("same-vcsid-isl-off", _seed(case), _seed_helps(case, cheaper), fixable=True, cheaper=cheaper)


def _one_sided(case: Case) -> str:
    """The commands that switch the fabric link on at the one end where it is off; empty where that is not the case."""
    if len(case.with_port) != 2 or len(case.isl_off) != 1:
        return ""
    return _enabling(case.isl_off[0])


def _enabling(end: End) -> str:
    return f"on {end.label}: configure terminal; interface {end.interface}; fabric isl enable; fabric trunk enable; end"


def _seed(case: Case) -> str:
    a, b = case.a, case.b
    where = " and ".join(end.label for end in case.isl_off)
    only = " only" if b and len(case.isl_off) == 1 and len(case.with_port) == 2 else ""
    both = f"{a.label} and {b.label} both have" if b else f"{a.label} has"
    return (
        f"{both} vcsid {a.vcsid}, so they take each other for the same fabric; but the fabric link is switched off"
        f"{only} at {where} (no fabric isl). Not a fabric link and not an edge port: the line stays down."
    )


def _seed_helps(case: Case, cheaper: str) -> str:
    if case.b is None:
        return "Look at the other switch as well (--mate): only where its vcsid is the same does a new vcsid help."
    if cheaper:
        return (
            f"{ONE_FABRIC} If so, switch the fabric link on where it is off, without a reboot: {cheaper}. "
            "If they are to be two: crashcart vdx fix --two-fabrics, which gives one of them a vcsid of its own "
            "and reboots it."
        )
    return (
        f"{ONE_FABRIC} If so, switch the fabric link on at both ends (fabric isl enable), without a reboot. If not: "
        "give one of them a vcsid of its own (crashcart vdx fix): it reboots that switch and puts its "
        "configuration back. Where the release knows it, --method edge-port does without the reboot."
    )


def _isl_on(case: Case) -> Verdict | None:
    if len(case.with_port) != 2 or any(end.isl != "on" for end in case.with_port) or not case.b:
        return None
    if not all(case.says(case.patterns.reason_isl_off, end) for end in case.with_port):
        return None
    trunk = [end.label for end in case.with_port if end.trunk == "off"]
    also = f" Only trunking is off (no fabric trunk, at {' and '.join(trunk)}); a fabric link comes up without." * bool(
        trunk
    )
    return case.verdict(
        "isl-on",
        f"The fabric link is switched on at both ends, both have vcsid {case.a.vcsid}, and it is down all the same: "
        f"that is no case for a new vcsid.{also}",
        f"{ONE_FABRIC} If so: see show fabric islports and the port's log (show logging raslog) on both, and compare "
        "release, licence and speed. If not: no fabric isl enable at both ends, then crashcart vdx diagnose again.",
    )


def _not_understood(case: Case) -> Verdict:
    reason = ", ".join(f"{end.label}: {end.line or 'no line'}" for end in case.ends)
    return case.verdict(
        "not-understood",
        f"This is no case known here ({reason}).",
        "Read the switch's own lines below; a wording that is merely new goes into vdx-patterns.yaml.",
    )


def _lines(end: End) -> list[Said]:
    found = [Said(who=end.label, line=end.line)] if end.line else []
    found += [Said(who=end.label, line=line) for line in end.config if "fabric" in line or "shutdown" in line]
    vcs = [line.strip() for line in end.raw.get("show vcs", "").splitlines() if ":" in line and "vcs" in line.lower()]
    found += [Said(who=end.label, line=line) for line in vcs if "GUID" not in line]
    if end.islport:
        found.append(
            Said(who=end.label, line=f"islport {end.islport.name} {end.islport.state} {end.islport.says}".strip())
        )
    if end.neighbour:
        seen = end.neighbour
        found.append(Said(who=end.label, line=f"LLDP {seen.local} sees {seen.remote} of {seen.system}"))
    return found
