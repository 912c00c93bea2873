"""A running-config proven whole: read twice alike, closed at its end, with a block for every port."""

from __future__ import annotations

from engines.job.errors import Refused
from engines.vdx.line.session import SURE, Session, SessionLost, Unexpected, denied, refused
from engines.vdx.switch import config, parse

TRIES = 5
UNCONFIGURED = "Vlan "  # may come and go by itself, without a block
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
                f"{session.hostname} does not show its configuration ({problem})",
                "log in as a user that may give 'show running-config' (role admin)",
            )
        if now == last:
            ports = [port for port in ports if not _by_itself(session, now, port)]
            why = config.unfinished(now, ports)
            if not why:
                return now
        last = now
    raise Refused(
        f"{session.hostname}: no complete copy of its configuration ({why})",
        "compare with show running-config interface NAME on the switch; where log lines break in: "
        "no terminal monitor, logging raslog console off",
    )


def _by_itself(session: Session, text: str, name: str) -> bool:
    """Whether the switch itself says that this interface has no configuration."""
    if not name.startswith(UNCONFIGURED) or not config.without_block(text, [name]):
        return False
    answer = config.tidy(session.run(f"show running-config interface {name}").text)
    return bool(refused(answer, session.patterns)) or bool(config.without_block(answer, [name]))


def expected(answer: str, rbridge: int | None) -> list[str]:
    """The names, from `show interface`, of what this switch has a block for: other members' ports are theirs."""
    names = [port.name for port in parse.ports(answer) if parse.block_name(port.name)]
    other = [name for name in names if parse.physical(name) and name.count("/") == 2]
    others = {name for name in other if rbridge is not None and name.split(" ")[1].split("/")[0] != str(rbridge)}
    return [name for name in names if name not in others]


def knows_edge(session: Session, interface: str) -> bool:
    """Whether the port's configuration mode offers neighbour discovery; nothing is configured.

    Raises Refused where this user may not configure; a look that fails otherwise is a no.
    """
    try:
        entered = session.run("configure terminal").text
        if no := denied(entered, session.patterns):
            raise Refused(
                f"{session.hostname} does not let this user give 'configure terminal' ({no})",
                "log in as a user that may configure (role admin), or have it allowed on the AAA server",
            )
        found = not refused(entered, session.patterns) and _offered(session, interface)
        session.run("end")
    except (SessionLost, Unexpected):
        return False
    return found


def _offered(session: Session, interface: str) -> bool:
    entered = session.run(f"interface {interface}").text
    if refused(entered, session.patterns) or "conf" not in session.context:
        return False
    return session.knows("fabric ", "neighbor-discovery")
