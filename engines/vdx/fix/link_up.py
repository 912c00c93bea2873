"""See the link up on both ends, and stay up."""

from __future__ import annotations

import time
from collections.abc import Generator

from engines.job.contract import AnyEvent, Cancel, Log, Progress
from engines.job.errors import Failed
from engines.vdx.judging.planning import Side
from engines.vdx.line.session import Session
from engines.vdx.switch import parse

UP_WITHIN = 60.0  # s at most for both ports to come up once the configuration is back
EVERY = 1.0  # s between looks at a port
FLAPS = 3


class WatchedEnd:
    """One end under watch."""

    def __init__(self, side: Side, session: Session) -> None:
        self.side = side
        self.session = session

    def port(self) -> parse.Port | None:
        """The port as it is now."""
        return parse.port(self.session.run(f"show interface {self.side.interface}").text, self.side.interface)

    def vcsid(self) -> int | None:
        """The switch's vcsid as it is now."""
        return parse.number(self.session.patterns.vcs_id, self.session.run("show vcs").text)

    def isl_to(self, wwn: str) -> bool:
        """Whether it has an ISL to that switch."""
        return bool(wwn) and wwn in parse.isl_peers(self.session.run("show fabric isl").text)


Watching = Generator[AnyEvent, str | None, None]


def ids(changed: WatchedEnd, wanted: int) -> None:
    """The vcsid and the rbridge-id are as wanted. Raises Failed."""
    answer = changed.session.run("show vcs").text
    found = parse.number(changed.session.patterns.vcs_id, answer)
    if found != wanted:
        raise Failed(f"{changed.side.label} has vcsid {found}, not {wanted}", "see its log (show logging raslog)")


def no_isl(ends: list[WatchedEnd]) -> None:
    """Neither end has a fabric link to the other. Raises Failed."""
    for end in ends:
        for other in ends:
            if other is not end and end.isl_to(other.side.wwn):
                raise Failed(
                    f"{end.side.label} has a fabric link (ISL) to {other.side.label}",
                    "the two still are one fabric; see show fabric isl on both",
                )


def up_and_stable(ends: list[WatchedEnd], seconds: int, within: float, cancel: Cancel, price: str) -> Watching:
    """Both ports up `within` that many seconds (a minute at most), then without a break for `seconds`.

    Raises Failed, which offers the way back with its `price`.
    """
    began, flaps, since = time.monotonic(), 0, 0.0
    within = min(UP_WITHIN, within)
    deadline = began + within
    while True:
        down = _down(ends)
        now = time.monotonic()
        if down and since:
            flaps, since, deadline = flaps + 1, 0.0, now + within
            yield Log(text=f"it went down again: {down}")
        if not down and not since:
            since = now
            yield Log(text="both ends are up" if len(ends) > 1 else "this end is up")
        if since and now - since >= seconds:
            return
        if (now > deadline and not since) or flaps > FLAPS:
            state = "does not stay up" if flaps else "does not come up"
            raise Failed(f"the link {state}: {down}", f"see show interface on both ends. {price}")
        if not flaps:
            yield Progress(done=min(int(now - since), seconds) if since else 0, total=max(seconds, 1), unit="s")
        cancel.sleep(min(EVERY, max(0.0, since + seconds - time.monotonic())) if since else 0.1)


def _down(ends: list[WatchedEnd]) -> str:
    said = []
    for end in ends:
        port = end.port()
        if port is None or not port.up:
            said.append(f"{end.side.label}: {port.raw if port else end.side.interface + ' gives no state'}")
    return "; ".join(said)
