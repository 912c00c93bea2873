"""Look at both ends of a link at once, each over a session of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from engines.job import jobfile
from engines.job.contract import Cancel
from engines.job.errors import BadParam, Refused
from engines.job.params import Secret
from engines.vdx.line import patterns
from engines.vdx.line.access import Access, SessionOpener
from engines.vdx.line.address import Remembered
from engines.vdx.line.console import console_argv
from engines.vdx.line.reach import reach
from engines.vdx.line.session import QUICK, SURE, Session, SessionLost, Unexpected, refused
from engines.vdx.line.transcript import Transcript
from engines.vdx.line.trouble import NewKey
from engines.vdx.switch import config, look, parse, running_config
from engines.vdx.switch.look import End
from engines.vdx.switch.params import Ends


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """What only a plan needs: whole configs, port channels, who is logged in, seconds up, the per-port way."""

    running: str
    startup: str
    ports: list[str]
    port_channels: list[str]
    sessions: list[str]
    uptime: int | None
    knows_edge: bool


@dataclasses.dataclass(frozen=True)
class Pair:
    """Both ends; `b` is None where the mate is not given or, as `trouble` says, not to be seen."""

    a: End
    b: End | None
    trouble: str
    a_depth: Depth | None
    b_depth: Depth | None


def accesses(params: Ends) -> tuple[Access, Access | None]:
    """How the switch and the mate are reached. Raises BadParam where there is neither password nor key."""
    ways = params.ways()
    if params.password is None and not ways.keys:
        raise BadParam(
            "password",
            None,
            "a file with it (--password-file), a descriptor (--password-fd), or a key (--key-file, --agent)",
        )
    for command in (params.console, params.mate_console):
        if command:
            console_argv(command)
    if ways.config:
        _refuse_others(ways.config)
    secret = params.password or Secret("")
    a = Access("switch", params.where(), params.user, secret, params.console, ways)
    if not params.mate:
        return a, None
    user, there = params.mate_user or params.user, params.mate_password or secret
    return a, Access("mate", params.mate_where(), user, there, params.mate_console, ways)


def _refuse_others(config: str) -> None:
    """A config names commands, as ProxyCommand: ssh itself looks who wrote it only where it is the user's own."""
    try:
        jobfile.refuse_others("ssh config", Path(config), Path(config).stat())
    except OSError as error:
        raise BadParam("ssh_config", config, f"a file that can be read ({error.strerror})") from None


def look_at(params: Ends, cancel: Cancel, *, deeply: bool) -> Pair:
    """Both ends as they are now. Raises Refused where the switch itself cannot be looked at."""
    a, b = accesses(params)
    lender = SessionOpener(patterns.load(), cancel, _last_look)
    interface = parse.interface_name(params.interface)
    with ThreadPoolExecutor(2) as pool:
        far: Future[str] = Future()
        mine = pool.submit(_first, lambda: _one(params, a, lender, lambda: interface, deeply, far), far)
        other = pool.submit(_one, params, b, lender, lambda: _far(params, far), deeply, None) if b else None
        try:
            seen = mine.result()
        except NewKey as first:
            second = other.exception() if other else None
            raise _both_new(first, second) if isinstance(second, NewKey) else first from None
        try:
            mate = other.result() if other else None
        except Refused as refused:
            return Pair(seen[0], None, f"{refused.why}; {refused.what_helps}", seen[1], None)
    ends = _labelled(seen[0], mate[0] if mate else None)
    return Pair(*ends, "", seen[1], mate[1] if mate else None)


def _both_new(one: NewKey, other: NewKey) -> Refused:
    """Both host keys in one question."""
    return Refused(
        f"{one.why}; {other.why}",
        "compare them with what the switches show on their consoles, "
        f"then agree, once, with --host-key {one.fingerprint},{other.fingerprint}",
    )


def _labelled(a: End, b: End | None) -> tuple[End, End | None]:
    """Both ends, told apart by their addresses where they have one name."""
    if b is None or a.hostname.lower() != b.hostname.lower():
        return a, b
    one, other = (msgspec.structs.replace(end, label=f"{end.hostname} ({end.address})") for end in (a, b))
    return one, other


Seen = tuple[End, Depth | None]


def _first(work: Callable[[], Seen], far: Future[str]) -> Seen:
    """The switch's look; the mate's, which waits for the far port's name, must not wait for ever."""
    try:
        return work()
    finally:
        if not far.done():
            far.set_result("")


def _far(params: Ends, far: Future[str]) -> str:
    return parse.interface_name(params.mate_interface or far.result())


def _one(
    params: Ends,
    access: Access,
    lender: SessionOpener,
    interface: Callable[[], str],
    deeply: bool,
    far: Future[str] | None,
) -> Seen:
    session = reach(access, lender, legacy=params.legacy_crypto, keys=params.host_keys())
    try:
        session.run("terminal length 0")
        end = look.read(session, str(access.where), interface())
        if far is not None:
            far.set_result(end.neighbour.remote if end.neighbour else "")
        if end.vcsid is not None:
            Remembered(access.where).saw(end.hostname, end.vcsid)
        return end, _depth(session, end) if deeply else None
    except SessionLost as lost:
        raise Refused(f"{access.where}: {lost}", "nothing was touched; try again") from None
    except Unexpected as asked:
        raise Refused(
            f"{access.where} asks: {asked}", f"it was answered {asked.answered}; nothing was touched"
        ) from None
    finally:
        session.close()


def _depth(session: Session, end: End) -> Depth:
    names = running_config.expected(session.run("show interface").text, end.rbridge)

    def optional(command: str, seconds: float = 30.0, settle: float = QUICK) -> str:
        """An answer that a plan can do without."""
        try:
            answer = session.run(command, seconds=seconds, settle=settle).text
        except Unexpected:
            return ""
        except SessionLost as lost:
            if not lost.silent:
                raise
            session.recover()
            return ""
        return "" if refused("\n".join(answer.splitlines()[:3]), session.patterns) else answer

    return Depth(
        running=running_config.proven(session, names),
        startup=config.tidy(optional("show startup-config", 120.0, SURE)),
        ports=names,
        port_channels=parse.spanning_port_channels(optional("show port-channel"), end.rbridge),
        sessions=parse.other_sessions(optional("show users")),
        uptime=parse.uptime(optional("show system"), session.patterns),
        knows_edge=bool(end.interface) and running_config.knows_edge(session, end.interface),
    )


def _last_look(access: Access) -> Transcript:
    kept = Remembered(access.where)
    kept.prepare()
    return Transcript(kept.folder / "last-look.log", fresh=True)
