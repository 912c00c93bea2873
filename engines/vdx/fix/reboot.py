"""Wait for a switch to go down and come back: each stage told, and a fast answer never taken for a reboot."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import time
from collections.abc import Generator
from dataclasses import dataclass

from engines.job.contract import AnyEvent, Log, Measured, Progress
from engines.job.errors import Failed
from engines.vdx.line.access import Access, SessionOpener
from engines.vdx.line.address import Address
from engines.vdx.line.console import open_console
from engines.vdx.line.reach import ask_login, reaching
from engines.vdx.line.session import Session, SessionLost
from engines.vdx.line.trouble import Trouble
from engines.vdx.switch import look, parse

POLL = 0.1  # s between looks
GOES_DOWN = 120.0  # s within which a switch that was told to reboot goes down
VIA = 1.0  # s between logins by way of another machine, once it is down
LOOK_AGAIN = 5.0  # s at most between logins while nothing shows that it went down
ASK = ("auth", "account", "asks", "hostkey", "negotiate")
"""Troubles that no further try mends: each could lock the user out."""
SECRET = re.compile(r"pass|code|expire|terms|agree|accept|user|login", re.IGNORECASE)
"""In what a switch that is up asks on its console; half a line of its boot may look like a question."""


@dataclass(frozen=True)
class Expected:
    """What tells that the reboot is done: the wanted vcsid, and a shorter time up than before.

    taken_up: the wait is a resumed run's, which may find the reboot long done.
    """

    vcsid: int
    uptime: int | None
    seconds: int
    taken_up: bool = False


@dataclass(frozen=True)
class Back:
    """The switch again: a session, the login it took, and the stages with the second each was first seen.

    `session` is None where it answers, keeps its old vcsid and never went down.
    """

    session: Session | None
    access: Access
    stages: list[tuple[str, float]]


Waiting = Generator[AnyEvent, str | None, Back]


def probe(where: Address, seconds: float = 1.0) -> str:
    """down, refused, silent or banner: what its ssh port does within that time."""
    try:
        with socket.create_connection((where.host, where.port), timeout=seconds) as line:
            return "banner" if line.recv(64).startswith(b"SSH-") else "silent"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent" if _opens(where, seconds) else "down"
    except OSError:
        return "down"


def _opens(where: Address, seconds: float) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((where.host, where.port), timeout=seconds):
        return True
    return False


class _Stages:
    """Which stages were seen, and when; `said` is what the switch answered last."""

    def __init__(self, limit: int) -> None:
        self.began = time.monotonic()
        self.seen: list[tuple[str, float]] = []
        self.said = ""
        self._limit = limit

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def note(self, stage: str) -> Generator[AnyEvent, str | None, None]:
        if not self.seen or self.seen[-1][0] != stage:
            self.seen.append((stage, round(self.elapsed, 1)))
            yield Log(text=f"{self.elapsed:.1f} s: {SAYS[stage]}")
            yield Measured(kind="vdx-stage", data={"stage": stage, "elapsed": round(self.elapsed, 1)})
        yield Progress(done=min(int(self.elapsed), self._limit), total=self._limit, unit="s")


SAYS = {
    "up": "still up",
    "down": "down (nothing answers)",
    "refused": "down (the ssh port is closed)",
    "silent": "the ssh port is open and says nothing yet",
    "banner": "ssh answers",
    "login": "logged in",
    "initialising": "the command line answers, VCS is initialising",
    "ready": "ready",
}


def waiting(access: Access, lender: SessionOpener, expected: Expected) -> Waiting:
    """Until the switch is back and its fabric answers. Raises Failed where the time is up or a login is declined."""
    stages = _Stages(expected.seconds)
    again = min(LOOK_AGAIN, expected.seconds / 10)
    down, looked, consoled = False, -again if expected.taken_up else 0.0, 0.0
    while stages.elapsed < expected.seconds:
        state = probe(access.where) if access.ways.direct else "banner"
        down = down or state != "banner"
        yield from stages.note(state if down else "up")
        due = (down and access.ways.direct) or stages.elapsed - looked >= min(again, VIA if down else again)
        if state == "banner" and due:
            looked = stages.elapsed
            session, access, gone = yield from _login(access, lender)
            down = down or (gone and not access.ways.direct)  # only a login tells, behind another machine
            if session:
                yield from stages.note("login" if down else "up")
                if (yield from _settled(session, stages, expected, down)):
                    return Back(session, access, stages.seen)
                session.close()
                if not down and stages.elapsed > min(GOES_DOWN, expected.seconds / 3):
                    return Back(None, access, stages.seen)
        elif down and access.console and stages.elapsed - consoled >= min(60.0, expected.seconds / 10):
            session, access = yield from _by_console(access, lender)
            consoled = stages.elapsed
            if session and (yield from _settled(session, stages, expected, down)):
                return Back(session, access, stages.seen)
        lender.cancel.sleep(POLL)
    last = SAYS[stages.seen[-1][0]] if stages.seen else "nothing seen"
    said = f"; it said: {' '.join(stages.said.split())[-200:]}" if stages.said else ""
    raise Failed(
        f"{access.where} is not back within {expected.seconds} s (last: {last}{said})",
        "look at its console line; once it answers, crashcart resume goes on",
    )


def _login(
    access: Access, lender: SessionOpener
) -> Generator[AnyEvent, str | None, tuple[Session | None, Access, bool]]:
    """The session, the login it took, and whether the switch is gone: one that is full is there."""
    bare = dataclasses.replace(access, console="")
    try:
        session, found = yield from reaching(bare, lender, reset=True)
    except Trouble as trouble:
        if trouble.kind in ASK:
            raise trouble.failed(()) from None
        return None, access, trouble.kind != "full"
    return session, dataclasses.replace(access, user=found.user, password=found.password), False


def _by_console(
    access: Access, lender: SessionOpener
) -> Generator[AnyEvent, str | None, tuple[Session | None, Access]]:
    try:
        return open_console(access, lender, seconds=4.0), access
    except Trouble as trouble:
        if trouble.kind == "asks" and SECRET.search(trouble.said.rsplit("\n", 1)[-1]):
            raise trouble.failed(()) from None
        if trouble.kind != "auth":
            return None, access
        return None, (yield from ask_login(access, lender, f"the console of {access.where}"))


def _settled(
    session: Session, stages: _Stages, expected: Expected, down: bool
) -> Generator[AnyEvent, str | None, bool]:
    """Whether the fabric answers, and this is the time after the reboot."""
    try:
        while stages.elapsed < expected.seconds:
            is_ready, said = look.ready(session)
            stages.said = said
            if is_ready:
                after = down or _rebooted(session, said, expected)
                yield from stages.note("ready" if after else "up")
                return after
            yield from stages.note("initialising")
            time.sleep(POLL)
    except SessionLost as lost:
        stages.said = lost.said
        session.close()
    return False


def _rebooted(session: Session, vcs: str, expected: Expected) -> bool:
    if parse.number(session.patterns.vcs_id, vcs) != expected.vcsid:
        return False
    now = parse.uptime(session.run("show system").text, session.patterns)
    return expected.uptime is None or (now is not None and now < expected.uptime)
