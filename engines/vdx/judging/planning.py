"""From two ends as they are to a plan: every command, the answer expected, what it costs and the way back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from engines.job.contract import Cancel, Change, Choice, CommandChange, Option, Plan, Step, TextChange
from engines.job.errors import Refused
from engines.job.params import plain
from engines.vdx.judging import choose, hazards
from engines.vdx.judging.verdict import Verdict, judge
from engines.vdx.line import patterns
from engines.vdx.line.transcript import redacted
from engines.vdx.switch import config
from engines.vdx.switch.look import End
from engines.vdx.switch.pair import Depth, Pair, look_at
from engines.vdx.switch.params import FixParams
from engines.vdx.switch.running_config import EDGE

SAVE = "copy running-config startup-config"
ASKS = "a question that ends in [y/n] or (yes/no) and names {}; it is answered yes, any other question no"
NO_STOP = "a switch that is half told to reboot is worse than one that reboots"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One switch in a plan's detail. `which` is switch or mate; `label` names it, also where both share a name."""

    which: str
    hostname: str
    label: str
    wwn: str
    vcsid: int | None
    rbridge: int | None
    interface: str
    line: str


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """What a run needs of its plan. `new` is the vcsid to set, 0 for the per-port way; `ports` the changed one's."""

    changed: Side
    other: Side | None
    new: int
    ports: list[str]
    digest: str
    method: str


def plan(params: FixParams, cancel: Cancel) -> Plan:
    """Look at both ends and decide. Raises Refused."""
    if params.copy_to and not (Path(params.copy_to).is_dir() and os.access(params.copy_to, os.W_OK | os.X_OK)):
        raise Refused(f"{params.copy_to} is no folder that can be written to", "make it, or name another for --copy-to")
    pair = look_at(params, cancel, deeply=True)
    wordings = patterns.load()
    verdict = judge(pair.a, pair.b, wordings)
    which, why = choose.side(params, pair)
    changed, depth = (pair.a, pair.a_depth) if which == "switch" else (pair.b, pair.b_depth)
    assert changed is not None and depth is not None
    console = params.console if which == "switch" else params.mate_console
    hazards.check(params, pair, verdict, changed, depth, console)
    new = choose.vcsid(params, pair) if params.method == "vcsid" else 0
    other = pair.b if which == "switch" else pair.a
    detail = Detail(
        changed=_side(which, changed),
        other=_side("mate" if which == "switch" else "switch", other) if other else None,
        new=new,
        ports=depth.ports,
        digest=config.digest(depth.running),
        method=params.method,
    )
    edge = params.method == "edge-port"
    changes = _edge_changes(pair) if edge else _vcs_changes(changed, depth, new, wordings)
    return Plan(
        task="vdx",
        target=str(params.where() if which == "switch" else params.mate_where()),
        params={**plain(params), "change": which},
        steps=edge_steps() if edge else vcs_steps(changed.label),
        changes=changes,
        facts=_facts(pair, verdict, changed, why, new, depth),
        choices=_choices(params, pair, which),
        warnings=tuple(hazards.warnings(params, pair, changed, depth)),
        undo=_undo(edge, changed),
        confirm=changed.hostname if changed.label == changed.hostname else changed.address,
        detail=msgspec.to_builtins(detail),
        state=_state(pair, depth),
    ).sealed()


def vcs_steps(name: str) -> tuple[Step, ...]:
    """The steps of a new vcsid."""
    return (
        Step(id="connect", title=f"Log in to {name} and see that nothing has changed"),
        Step(id="backup", title="Copy its configuration and prove the copy whole"),
        Step(id="change", title="Give it the new vcsid", no_stop=NO_STOP),
        Step(id="wait", title="Wait for its reboot"),
        Step(id="restore", title="Put its configuration back, line by line"),
        Step(id="save", title="Save the configuration"),
        Step(id="verify", title="See both ends up, and stay up"),
    )


def edge_steps() -> tuple[Step, ...]:
    """The steps of the per-port way."""
    return (
        Step(id="connect", title="Log in to both switches and see that nothing has changed"),
        Step(id="backup", title="Copy both configurations and prove the copies whole"),
        Step(id="edge", title="Stop neighbour discovery on both ports"),
        Step(id="save", title="Save both configurations"),
        Step(id="verify", title="See both ends up, and stay up"),
    )


def _side(which: str, end: End) -> Side:
    return Side(
        which=which,
        hostname=end.hostname,
        label=end.label,
        wwn=end.wwn,
        vcsid=end.vcsid,
        rbridge=end.rbridge,
        interface=end.interface,
        line=end.line,
    )


def commands(new: int, rbridge: int, wordings: patterns.Patterns) -> list[str]:
    """The forms of the command, in the order they are tried."""
    return [form.format(vcsid=new, rbridge=rbridge) for form in wordings.vcs_command]


def _vcs_changes(changed: End, depth: Depth, new: int, wordings: patterns.Patterns) -> tuple[Change, ...]:
    assert changed.rbridge is not None
    first, *others = commands(new, changed.rbridge, wordings)
    also = f". Where it does not know that form (syntax error): {'; '.join(others)}" if others else ""
    whole = config.ordered(config.lost(config.blocks(depth.running), {}, wordings))
    lines = [redacted(line) for line in config.typed([entry for entry in whole if config.typable(entry)])]
    return (
        CommandChange(
            where=changed.label,
            command=first,
            expects=ASKS.format("the reboot, the default config or the vcsid") + also,
        ),
        TextChange(
            target=f"{changed.label} after its reboot: of these lines, the ones that are missing then",
            before=None,
            after="\n".join(["configure terminal", *lines, "end"]) + "\n",
        ),
        CommandChange(where=changed.label, command=SAVE, expects=ASKS.format("the startup configuration")),
    )


def edge_commands(interface: str, *, on: bool) -> list[str]:
    """The per-port way, or its taking back, as typed."""
    return ["configure terminal", f"interface {interface}", EDGE[0] if on else EDGE[1], "end"]


def _edge_changes(pair: Pair) -> tuple[Change, ...]:
    ends = [end for end in (pair.a, pair.b) if end]
    typed = [
        CommandChange(where=end.label, command="\n".join(edge_commands(end.interface, on=True)), expects="no error")
        for end in ends
    ]
    saved = [
        CommandChange(where=end.label, command=SAVE, expects=ASKS.format("the startup configuration")) for end in ends
    ]
    return (*typed, *saved)


def _facts(pair: Pair, verdict: Verdict, changed: End, why: str, new: int, depth: Depth) -> tuple[tuple[str, str], ...]:
    rows = [("cause", verdict.words)]
    for end in (pair.a, pair.b):
        if end:
            rows.append((end.label, f"{end.address}, vcsid {end.vcsid}, rbridge-id {end.rbridge}, {end.mode_words}"))
            rows.append((f"{end.label} says", end.line))
            if end.host_key:
                rows.append((f"{end.label}'s key", f"ssh host key {end.host_key}"))
    if new:
        rows.append(("changes", f"{changed.label}: {why}"))
        rows.append(("vcsid", f"{changed.vcsid} becomes {new}; rbridge-id {changed.rbridge} is kept"))
        rows.append(("reboot", f"{changed.label} has been up {_days(depth.uptime)}"))
    else:
        rows.append(("changes", "both ports; no reboot"))
    rows.append(
        ("to put back", f"{len(depth.running.splitlines())} lines of configuration, as far as the reset takes them")
    )
    return tuple(rows if new else rows[:-1])


def _days(seconds: int | None) -> str:
    return "for a time it does not say" if seconds is None else f"{seconds // 86400} days {seconds % 86400 // 3600} h"


def _choices(params: FixParams, pair: Pair, which: str) -> tuple[Choice, ...]:
    found = []
    if pair.b is not None and params.method == "vcsid":
        ends = {"switch": pair.a, "mate": pair.b}
        options = tuple(
            Option(value=name, label=f"{end.hostname} ({end.address})", why=f"{len(end.members)} in its fabric")
            for name, end in ends.items()
        )
        found.append(
            Choice(
                param="change", question="Which switch gets the new vcsid and reboots?", options=options, chosen=which
            )
        )
    depths = (pair.a_depth, pair.b_depth)
    if all(depth is not None and depth.knows_edge for depth in depths):
        options = (
            Option(
                value="vcsid",
                label="a vcsid of its own for one switch",
                why="reboots it and puts its configuration back",
            ),
            Option(
                value="edge-port", label="no neighbour discovery on both ports", why="no reboot; newer releases only"
            ),
        )
        found.append(Choice(param="method", question="How is it mended?", options=options, chosen=params.method))
    return tuple(found)


def _undo(edge: bool, changed: End) -> str:
    if edge:
        return "crashcart undo RUN turns neighbour discovery on again at both ports; no reboot"
    return (
        f"never by itself; crashcart undo RUN sets vcsid {changed.vcsid} again, at the price of another reboot of "
        f"{changed.label} and another restore, and the port is as down as before"
    )


def _state(pair: Pair, depth: Depth) -> dict[str, Any]:
    """What the plan depends on; no counters and no times."""
    ends = {}
    for name, end in (("switch", pair.a), ("mate", pair.b)):
        if end:
            ends[name] = {
                "hostname": end.hostname,
                "wwn": end.wwn,
                "vcsid": end.vcsid,
                "rbridge": end.rbridge,
                "mode": end.mode_words,
                "members": sorted(member.wwn for member in end.members),
                "line": end.line,
                "config": end.config,
            }
    return {"ends": ends, "running": config.digest(depth.running)}
