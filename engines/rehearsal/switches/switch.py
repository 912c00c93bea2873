"""Rehearsal switches and their cables: what each knows, how it reboots, and a port's state from both ends."""

from __future__ import annotations

import asyncio
import copy
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engines.rehearsal.switches import config, factory
from engines.rehearsal.switches.knobs import Knobs


class Switch:
    """State of one switch. `stage` is ready, down, silent or init; `serve` is told when it changes."""

    def __init__(self, name: str, rbridge: int, fabric: Fabric, knobs: Knobs, user: str, password: str) -> None:
        self.name = name
        self.rbridge = rbridge
        self.serial = rbridge
        self.vcsid = 1
        self.fabric = fabric
        self.knobs = knobs
        self.user = user
        self.password = password
        self.hash = f"h-{rbridge}-aZ3Qf1=="
        self.address = f"10.24.81.{rbridge}"
        self.wwn = f"10:00:00:27:F8:{secrets.randbelow(256):02X}:{rbridge:02X}:01"
        self.stage = "ready"
        self.booted = time.monotonic() - 7 * 86400
        self.running: config.Tree = {}
        self.startup: config.Tree = {}
        self.unreachable = False
        self.reboots = 0
        self.logins_failed = 0
        self.commands: list[str] = []
        self.holding = False
        self.away = 0.0
        self.old_password = ""
        self.rebooting: asyncio.Future[None] | None = None
        self.reachable: asyncio.Future[None] | None = None
        self.serve: Callable[[str], Awaitable[None]] = _nobody
        fabric.switches.append(self)

    async def held(self, command: str) -> bool:
        """Whether a command just given was held: then the knob is back, and nobody waits for an answer any more."""
        hold = self.knobs.hold
        if hold is None or not command.startswith(hold[0]):
            return False
        if sum(one.startswith(hold[0]) for one in self.commands) <= hold[1]:
            return False
        self.holding = True
        while self.knobs.hold is not None:
            await asyncio.sleep(0.02)
        return True

    def commission(self, ports: dict[int, list[str]]) -> None:
        """Give it the config of a switch in service."""
        self.running = factory.commissioned(self.name, self.rbridge, self.address, self.hash, ports)
        if self.knobs.logical:
            factory.with_logical(self.running, self.rbridge)
        if self.knobs.virtual_ip:
            self.running[f"vcs virtual ip address 10.24.81.{100 + self.rbridge}/24"] = None
        if self.knobs.lldp_name:
            self.running["protocol lldp"][f"system-name {self.knobs.lldp_name}"] = None  # type: ignore[index]  # a block
        self.startup = copy.deepcopy(self.running)
        if self.knobs.startup_differs:
            config.put(self.startup, "snmp-server location somewhere-else")

    @property
    def ports(self) -> range:
        """Port numbers."""
        return range(1, factory.PORTS + 1)

    @property
    def hostname(self) -> str:
        """The name in its prompt."""
        inner = config.block(self.running, f"rbridge-id {self.rbridge}") or {}
        named = (line.rsplit(" ", 1)[1] for line in inner if line.startswith("switch-attributes host-name "))
        return next(named, "sw0")

    def header(self, port: int) -> str:
        """A port's config header."""
        return f"interface TenGigabitEthernet {self.rbridge}/0/{port}"

    def shown(self) -> str:
        """The running-config as text."""
        return "\n".join(config.show(self.running, hide_off=self.knobs.hide_off)) + "\n"

    def accepts(self, user: str, password: str) -> bool:
        """Whether a login is right; a wrong one is counted."""
        right = user == self.user and password == self.password
        self.logins_failed += not right
        return right

    def configured(self) -> None:
        """After a config line: what of it takes effect beyond the config."""
        for line in self.running:
            if line.startswith("username admin") and self.hash in line and self.old_password:
                self.password, self.old_password = self.old_password, ""
        management = config.block(self.running, f"interface Management {self.rbridge}/0") or {}
        if self.unreachable and f"ip address {self.address}/24" in management:
            self.unreachable = False
            self.reachable = asyncio.ensure_future(self.serve("ready"))

    async def reboot(self, vcsid: int, rbridge: int) -> None:
        """Go down and come back with these ids, as the knobs have it."""
        knobs = self.knobs
        await asyncio.sleep(knobs.linger)
        started = time.monotonic()
        await self._enter("down")
        while time.monotonic() - started < knobs.down:  # a knob may be turned meanwhile
            await asyncio.sleep(0.02)
        self._reset(vcsid, rbridge)
        await self._enter("silent")
        await asyncio.sleep(knobs.silent)
        await self._enter("init")
        await asyncio.sleep(knobs.init)
        await self._enter("ready")
        self.away += time.monotonic() - started

    def _reset(self, vcsid: int, rbridge: int) -> None:
        knobs = self.knobs
        self.reboots += 1
        self.booted = time.monotonic()
        self.vcsid, self.rbridge = vcsid, rbridge if knobs.keep_rbridge else 1
        if not knobs.reset:
            self.running = copy.deepcopy(self.startup)
            return
        if knobs.factory_password:
            self.old_password, self.password = self.password, knobs.factory_password
        hashed = factory.FACTORY_HASH if knobs.factory_password else self.hash
        self.unreachable = knobs.lose_address
        address = factory.FACTORY_ADDRESS if knobs.lose_address else self.address
        self.running = factory.default(self.rbridge, address, hashed)
        self.startup = copy.deepcopy(self.running)

    async def _enter(self, stage: str) -> None:
        self.stage = stage
        await self.serve(stage)


async def _nobody(stage: str) -> None:
    """Nothing to tell before it is served."""


@dataclass(frozen=True)
class End:
    """One end of a cable."""

    switch: Switch
    port: int

    def has(self, line: str) -> bool:
        """Whether the port's config holds a line."""
        return line in (config.block(self.switch.running, self.switch.header(self.port)) or {})


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
    """All switches and cables of a rehearsal.

    isl_fault: no fabric link comes up though both ends have it on. lldp_as: name and MAC that LLDP shows of everybody.
    """

    switches: list[Switch] = field(default_factory=list)
    cables: list[tuple[End, End]] = field(default_factory=list)
    isl_fault: bool = False
    lldp_as: tuple[str, str] = ("", "")

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
        if self.isl_fault:
            return Link("up", "down", here.switch.knobs.reason or "ISL DOWN", peer=there)
        return Link("up", "up", "connected", isl=True, peer=there)

    def joined(self, switch: Switch) -> list[Switch]:
        """The other switches that are in one fabric with this one."""
        links = [self.link(switch, port) for port in switch.ports]
        found = [link.peer.switch for link in links if link.isl and link.peer]
        return list(dict.fromkeys(found))
