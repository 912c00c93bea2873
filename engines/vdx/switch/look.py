"""Everything a diagnosis needs of one end of a link, by reading commands only."""

from __future__ import annotations

import re

import msgspec

from engines.job.errors import Refused
from engines.vdx.line.patterns import fits, value
from engines.vdx.line.session import Session, denied
from engines.vdx.switch import config, parse
from engines.vdx.switch.parse import IslPort, Member, Neighbour, Port


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One switch and, where its name is known, the port of the link.

    `raw` holds the switch's own lines by the command that gave them; `mode` is fabric-cluster, logical-chassis,
    disabled or unknown; `label` the host name, with the address where both ends share the name.
    """

    address: str
    hostname: str
    version: str
    mode: str
    mode_words: str
    vcsid: int | None
    rbridge: int | None
    members: list[Member]
    interface: str
    port: Port | None
    config: list[str]
    isl: str
    trunk: str
    neighbours: list[Neighbour]
    islport: IslPort | None
    isl_peers: list[str]
    weak: tuple[str, ...]
    raw: dict[str, str]
    label: str
    name_in_lldp: str = ""
    host_key: str = ""

    @property
    def wwn(self) -> str:
        """The switch's own WWN; empty where it was not said."""
        return next((member.wwn for member in self.members if member.here), "")

    @property
    def principal(self) -> bool:
        """Whether it is the fabric's principal."""
        return any(member.here and member.principal for member in self.members)

    @property
    def neighbour(self) -> Neighbour | None:
        """What LLDP sees at the port."""
        return next((seen for seen in self.neighbours if seen.local == self.interface), None)

    @property
    def line(self) -> str:
        """The port's own first line, as the switch said it."""
        return self.port.raw if self.port else self.raw.get(f"show interface {self.interface}", "").strip()


def read(session: Session, address: str, interface: str) -> End:
    """Look at one end; `interface` may be empty where the far port's name is not known. Raises SessionLost, Refused."""
    raw: dict[str, str] = {}
    patterns = session.patterns

    def ask(command: str, *, needed: bool = False) -> str:
        raw[command] = session.run(command).text
        if needed and (no := denied(raw[command], patterns)):
            raise Refused(
                f"{session.hostname} does not let this user give {command!r} ({no})",
                "log in as a user that may (role admin), or have it allowed on the AAA server",
            )
        return raw[command]

    vcs = ask("show vcs", needed=True)
    version = value(patterns.nos_version, ask("show version"))
    here = parse.members(vcs)
    neighbours = parse.neighbours(ask("show lldp neighbors detail"))
    islports = ask("show fabric islports")
    peers = parse.isl_peers(ask("show fabric isl"))
    found, lines = None, []
    if interface:
        found = parse.port(ask(f"show interface {interface}", needed=True), interface)
        answer = ask(f"show running-config interface {interface}", needed=True)
        lines = config.port_lines(config.tidy(answer), interface)
    words = parse.mode(vcs, patterns, version)
    return End(
        address=address,
        hostname=session.hostname,
        label=session.hostname,
        host_key=session.host_key,
        name_in_lldp=_name_in_lldp(ask("show running-config protocol lldp")),
        version=version,
        mode=words[0],
        mode_words=words[1],
        vcsid=parse.number(patterns.vcs_id, vcs),
        rbridge=next((member.rbridge for member in here if member.here), None),
        members=here,
        interface=interface,
        port=found,
        config=lines,
        isl=parse.switched(lines, "isl"),
        trunk=parse.switched(lines, "trunk"),
        neighbours=neighbours,
        islport=next((row for row in parse.islports(islports) if row.name == interface), None),
        isl_peers=peers,
        weak=session.weak,
        raw=raw,
    )


def _name_in_lldp(answer: str) -> str:
    found = re.search(r'(?im)^\s*system-name[ \t]+"?([^"\n]+?)"?[ \t]*$', answer)
    return found[1] if found else ""


def ready(session: Session) -> tuple[bool, str]:
    """Whether the fabric answers, and what it said."""
    answer = session.run("show vcs").text
    if fits(session.patterns.initialising, answer):
        return False, answer.strip()
    return parse.number(session.patterns.vcs_id, answer) is not None, answer.strip()
