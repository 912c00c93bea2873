"""One rehearsal switch: what it knows, and how it reboots."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable

from engines.rehearsal.switches import config, factory
from engines.rehearsal.switches.fabric import Fabric
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
        self.wwn = f"10:00:00:27:F8:00:{rbridge:02X}:01"
        self.stage = "ready"
        self.booted = time.monotonic() - 7 * 86400
        self.running: config.Tree = {}
        self.startup: config.Tree = {}
        self.unreachable = False
        self.reboots = 0
        self.logins_failed = 0
        self.commands: list[str] = []
        self.away = 0.0
        self.old_password = ""
        self.rebooting: asyncio.Future[None] | None = None
        self.reachable: asyncio.Future[None] | None = None
        self.serve: Callable[[str], Awaitable[None]] = _nobody
        fabric.switches.append(self)

    def commission(self, ports: dict[int, list[str]]) -> None:
        """Give it the config of a switch in service."""
        self.running = factory.commissioned(self.name, self.rbridge, self.address, self.hash, ports)
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
        await asyncio.sleep(knobs.down)
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
