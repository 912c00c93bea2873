"""A running-config proven whole: read twice alike, closed at its end, with a block for every port."""

from __future__ import annotations

from engines.job.errors import Refused
from engines.vdx.line.session import SURE, Session, refused
from engines.vdx.switch import config

TRIES = 5
LONG = 180.0  # s for a whole running-config
EDGE = ("fabric neighbor-discovery disable", "no fabric neighbor-discovery disable")


def read(session: Session) -> str:
    """The running-config as it is said once."""
    return config.tidy(session.run("show running-config | nomore", seconds=LONG, settle=SURE).text)


def proven(session: Session, ports: list[str]) -> str:
    """The running-config, once two readings in a row are alike and nothing is missing. Raises Refused."""
    last, why = "", "no two readings were alike"
    for _ in range(TRIES):
        now = read(session)
        if problem := refused("\n".join(now.splitlines()[:3]), session.patterns):
            raise Refused(
                f"{session.hostname} does not show its configuration ({problem})", "log in as a user that may"
            )
        if now == last:
            why = config.unfinished(now, ports)
            if not why:
                return now
        last = now
    raise Refused(
        f"{session.hostname}: no complete copy of its configuration ({why})",
        "see the transcript; where log lines break in: no terminal monitor, logging raslog console off",
    )


def knows_edge(session: Session, interface: str) -> bool:
    """Whether the port's configuration mode offers neighbour discovery; nothing is configured."""
    session.run("configure terminal")
    try:
        entered = session.run(f"interface {interface}")
        if refused(entered.text, session.patterns) or "conf" not in session.context:
            return False
        return session.knows("fabric ", "neighbor-discovery")
    finally:
        session.run("end")
