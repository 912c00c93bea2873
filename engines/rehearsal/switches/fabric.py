"""Switches and the cables between them: a port's state is computed from both of its ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engines.rehearsal.switches.config import block

if TYPE_CHECKING:
    from engines.rehearsal.switches.switch import Switch


@dataclass(frozen=True)
class End:
    """One end of a cable."""

    switch: Switch
    port: int

    def has(self, line: str) -> bool:
        """Whether the port's config holds a line."""
        return line in (block(self.switch.running, self.switch.header(self.port)) or {})


@dataclass(frozen=True)
class Link:
    """A port as `show interface` tells it: state, line protocol, reason; `isl` where it is a fabric link."""

    state: str
    line: str
    reason: str
    isl: bool = False
    segmented: str = ""
    peer: End | None = None

    @property
    def up(self) -> bool:
        """Line protocol."""
        return self.line == "up"


@dataclass
class Fabric:
    """All switches and cables of a rehearsal."""

    switches: list[Switch] = field(default_factory=list)
    cables: list[tuple[End, End]] = field(default_factory=list)

    def peer(self, switch: Switch, port: int) -> End | None:
        """The other end of the cable in a port."""
        for one, other in self.cables:
            if (one.switch, one.port) == (switch, port):
                return other
            if (other.switch, other.port) == (switch, port):
                return one
        return None

    def link(self, switch: Switch, port: int) -> Link:
        """The state of a port."""
        here, there = End(switch, port), self.peer(switch, port)
        if here.has("shutdown"):
            return Link("admin down", "down", "admin down", peer=there)
        if there is None or there.has("shutdown") or there.switch.stage not in ("ready", "init"):
            return Link("up", "down", "link protocol down", peer=there)
        return self._both(here, there)

    def _both(self, here: End, there: End) -> Link:
        ends = (here, there)
        if all(end.has("fabric neighbor-discovery disable") for end in ends):
            return Link("up", "up", "connected", peer=there)
        if here.switch.vcsid != there.switch.vcsid:
            if here.switch.knobs.reason:
                return Link("up", "down", here.switch.knobs.reason, peer=there)
            return Link("up", "up", "connected", peer=there)
        if not all(end.has("fabric isl enable") for end in ends):
            return Link("up", "down", here.switch.knobs.reason or "ISL DOWN", peer=there)
        if here.switch.rbridge == there.switch.rbridge:
            return Link("up", "down", "ISL segmented", segmented="RBridge ID Overlap", peer=there)
        return Link("up", "up", "connected", isl=True, peer=there)

    def joined(self, switch: Switch) -> list[Switch]:
        """The other switches that are in one fabric with this one."""
        links = [self.link(switch, port) for port in switch.ports]
        found = [link.peer.switch for link in links if link.isl and link.peer]
        return list(dict.fromkeys(found))
