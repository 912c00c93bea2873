"""What makes a fix unsafe: refused, refused unless agreed to, or warned of."""

from __future__ import annotations

from engines.job.errors import Refused
from engines.vdx.judging.neighbour import parallel, same_switch
from engines.vdx.judging.verdict import ONE_FABRIC, Verdict
from engines.vdx.switch import config, parse
from engines.vdx.switch.look import End
from engines.vdx.switch.pair import Depth, Pair
from engines.vdx.switch.params import FixParams


def check(params: FixParams, pair: Pair, verdict: Verdict, changed: End, depth: Depth, console: str) -> None:
    """Raise Refused where the fix must not be made, or not without a word of the technician's."""
    _ends(params, pair)
    _same_link(params, pair)
    edge = params.method == "edge-port" and verdict.kind == "vcs-disabled"
    if not verdict.fixable and not edge:
        raise Refused(verdict.words.rstrip("."), verdict.helps)
    if verdict.cheaper and not params.two_fabrics:
        raise Refused(
            f"{ONE_FABRIC} The fabric link is switched off at one end only",
            f"if so, no fix is needed but, without a reboot: {verdict.cheaper}. "
            "If they are to be two, agree with --two-fabrics",
        )
    if params.method == "edge-port":
        _edge(pair)
    else:
        _reset(params, changed, depth, console)
    links = parallel(pair)
    if len(links) > 1 and not params.parallel_links:
        raise Refused(
            f"{len(links)} cables join the two switches ({', '.join(links)}): as edge ports they are a loop "
            "without LAG or STP",
            "take out all but one, or put them into one port channel, and then agree with --parallel-links",
        )


def _ends(params: FixParams, pair: Pair) -> None:
    if pair.b is None and not params.without_mate:
        why = f"the mate cannot be looked at ({pair.trouble})" if pair.trouble else "no mate is given"
        raise Refused(
            why,
            "give the other end with --mate, or agree with --without-mate: its vcsid is then unknown "
            "and only this end is verified",
        )
    if pair.b is not None and not pair.b.interface:
        raise Refused(
            f"which port of {pair.b.label} the cable is in is not known (LLDP does not show it)",
            "name it with --mate-interface",
        )


def _same_link(params: FixParams, pair: Pair) -> None:
    seen = pair.a.neighbour
    if pair.b is None or seen is None:
        return
    agreed = seen.system.lower() == params.mate_name.lower()
    if seen.system and not agreed and not same_switch(seen, pair.b):
        raise Refused(
            f"LLDP sees {seen.system} behind {pair.a.interface}, but the mate given calls itself {pair.b.label}, and "
            "neither WWN nor address tells whether they are one",
            f"give {seen.system} as --mate; if the two are one switch, agree with --mate-name {seen.system}",
        )
    if parse.interface_name(seen.remote) and pair.b.interface != seen.remote:
        raise Refused(
            f"LLDP sees {seen.remote} behind {pair.a.interface}, but --mate-interface is {pair.b.interface}",
            f"give {seen.remote}, or leave it out",
        )


def _edge(pair: Pair) -> None:
    for depth, end in ((pair.a_depth, pair.a), (pair.b_depth, pair.b)):
        if end is None or depth is None:
            raise Refused("the per-port way needs both ends", "give the other end with --mate")
        if not depth.knows_edge:
            raise Refused(
                f"{end.label} (NOS {end.version or 'unknown'}) does not know 'fabric neighbor-discovery' on a port",
                "use --method vcsid",
            )


def _reset(params: FixParams, changed: End, depth: Depth, console: str) -> None:
    if changed.mode == "logical-chassis":
        raise Refused(
            f"{changed.label} is in logical chassis mode: the change would be one of the whole cluster",
            "use --method edge-port, which leaves the cluster as it is; or change the other one (--change); or take it "
            "out of the cluster first (no vcs logical-chassis enable)",
        )
    if changed.mode != "fabric-cluster":
        raise Refused(
            f"{changed.label} says VCS mode {changed.mode_words or 'nothing'!r}, which is not known here",
            "if that is a fabric cluster, add its wording (mode_fabric_cluster) to vdx-patterns.yaml",
        )
    if changed.vcsid is None or changed.rbridge is None:
        raise Refused(
            f"{changed.label} does not say its vcsid and rbridge-id in words known here",
            "see last-look.log, and add the wording (vcs_id) to vdx-patterns.yaml",
        )
    if not console and not params.out_of_band:
        raise Refused(
            f"the reset may take the management address and the users of {changed.label} with it",
            "give its console line with --console COMMAND (for the mate --mate-console), "
            "or tick --out-of-band where somebody can get at it",
        )
    if len(changed.members) > 1 and not params.leave_fabric:
        names = ", ".join(member.name or member.wwn for member in changed.members if not member.here)
        raise Refused(
            f"{changed.label} would leave its fabric: {len(changed.members) - 1} other members ({names})",
            "change the other one (--change), or agree with --leave-fabric",
        )
    if depth.port_channels and not params.split_vlag:
        raise Refused(
            f"{', '.join(depth.port_channels)} of {changed.label} has members on other switches (vLAG) "
            "and would be torn apart",
            "move them first, or agree with --split-vlag",
        )


def warnings(params: FixParams, pair: Pair, changed: End, depth: Depth) -> list[str]:
    """What the technician must read before typing the word."""
    found = []
    for end in (pair.a, pair.b):
        if end and end.interface and not _carries(end):
            found.append(
                f"{end.interface} of {end.label} has no switchport lines: after the fix it is up and carries no traffic"
            )
        if end and end.weak:
            found.append(f"{end.address} is let use old ssh algorithms: {', '.join(end.weak)}")
    for end, known in ((pair.a, pair.a_depth), (pair.b, pair.b_depth)):
        if end and known and (end is changed or params.method == "edge-port"):
            found += _unsaved(end, known)
    if len(depth.sessions) > 1:
        found.append(
            f"others are logged in to {changed.label}: {'; '.join(' '.join(one.split()) for one in depth.sessions)}"
        )
    if len(links := parallel(pair)) > 1:
        found.append(f"{len(links)} cables join the two switches: a loop, unless they are one port channel")
    if pair.b is None:
        found.append("the other end is not looked at: its vcsid is unknown and it will not be verified")
    if params.method == "vcsid":
        found.append(f"{ONE_FABRIC} If so, stop here: switch the fabric link on at both ends instead, without a reboot")
        found += _reboot(params, changed, depth)
    else:
        found.append("that this cures the fault is not proven on every release; the run looks, and says so if not")
    return found


def _carries(end: End) -> bool:
    words = [line.split() for line in end.config]
    return any(line[:1] in (["switchport"], ["channel-group"]) or line[:2] == ["ip", "address"] for line in words)


def _unsaved(end: End, depth: Depth) -> list[str]:
    changes = config.differences(config.blocks(depth.startup), config.blocks(depth.running))
    if not changes or not depth.startup:
        return []
    return [
        f"{end.label} has {len(changes)} lines in its running-config that differ from its startup-config; "
        "saving keeps them"
    ]


def _reboot(params: FixParams, changed: End, depth: Depth) -> list[str]:
    found = [
        f"{changed.label} reboots: all of its {sum(map(parse.physical, depth.ports))} ports are down for minutes "
        f"(the run waits up to {params.reboot_timeout} s), and its configuration may be reset and is put back"
    ]
    if changed.principal and len(changed.members) > 1:
        found.append(f"{changed.label} is the principal switch of its fabric")
    found.append("fabrics that are not connected cannot be seen: give their vcsids with --used-vcsids")
    return found
