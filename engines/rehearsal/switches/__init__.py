"""Two VDX switches to rehearse on: real ssh on loopback, a console line, link states computed from both ends.

It proves how the engine behaves under each trouble, not that a real NOS uses these words: the question after
`vcs vcsid`, the reason in parentheses, what a reset takes with it and the layout of `show vcs` and
`show fabric` are recalled, and loopback has no unreachable host, only a closed or a mute port.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from engines.rehearsal.switches import factory
from engines.rehearsal.switches.knobs import Knobs
from engines.rehearsal.switches.serve import CONSOLE_PORT, SSH_PORT, SwitchHost, host_key
from engines.rehearsal.switches.switch import End, Fabric, Switch

if TYPE_CHECKING:
    from engines.rehearsal.stage import Staged

__all__ = ["Knobs", "Rehearsal", "stage"]

MEND = "install it: .venv/bin/python -m pip install -e '.[rehearsal]'"
T = TypeVar("T")


class Rehearsal:
    """Switches sw1 and sw2, port 5 of one cabled to port 5 of the other, in the state that needs mending.

    `cables` joins further ports (6, 7, …) in parallel. `uplink` are the lines of both ports, `names` the host names.
    The password is random; `a` and `b` are the switches, to look into from the same process.
    """

    def __init__(
        self,
        a: Knobs | None = None,
        b: Knobs | None = None,
        *,
        cables: int = 1,
        uplink: list[str] | None = None,
        names: tuple[str, str] = ("sw1", "sw2"),
    ) -> None:
        self.user = "admin"
        self.password = secrets.token_hex(8)
        self.fabric = Fabric()
        self.a = Switch(names[0], 1, self.fabric, a or Knobs(), self.user, self.password)
        self.b = Switch(names[1], 2, self.fabric, b or Knobs(), self.user, self.password)
        lines = factory.UPLINK if uplink is None else uplink
        for switch in (self.a, self.b):
            switch.commission({1: factory.SERVER, **{5 + at: lines for at in range(cables)}})
        self.fabric.cables = [(End(self.a, 5 + at), End(self.b, 5 + at)) for at in range(cables)]
        self._hosts: dict[int, SwitchHost] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Rehearsal:
        self._thread.start()
        for switch in (self.a, self.b):
            self._hosts[switch.serial] = self.call(_begin(switch))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in self._hosts.values():
            self.call(host.stop())
        self.call(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the switches' own thread do something."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    @property
    def hosts(self) -> dict[str, SwitchHost]:
        """The sockets by the name of their switch."""
        return {host.switch.name: host for host in self._hosts.values()}

    def address(self, switch: Switch) -> str:
        """HOST:PORT of its ssh server."""
        return f"{self._hosts[switch.serial].address}:{SSH_PORT}"

    def console(self, switch: Switch) -> str:
        """A command that reaches its console line."""
        relay = Path(__file__).with_name("relay.py")
        return f"python3 {relay} {self._hosts[switch.serial].address} {CONSOLE_PORT}"

    def params(self) -> dict[str, Any]:
        """Parameters of the task, apart from the passwords, for what is wrong here."""
        return {
            "switch": self.address(self.a),
            "user": self.user,
            "interface": "TenGigabitEthernet 1/0/5",
            "mate": self.address(self.b),
            "host_key": ",".join(host_key(switch) for switch in (self.a, self.b)),
        }


@contextmanager
def stage(_folder: Path) -> Iterator[Staged]:
    """The case that the task is for, with quick reboots, as `crashcart rehearse` takes it."""
    import importlib.util

    from engines.job.errors import Refused
    from engines.job.jobfile import Job
    from engines.job.params import Secret
    from engines.rehearsal.stage import Staged

    if importlib.util.find_spec("asyncssh") is None:
        raise Refused("asyncssh, which the rehearsal switches are made of, is not installed", MEND)
    with Rehearsal() as switches:
        params = {**switches.params(), "console": switches.console(switches.a), "stable_for": 2, "reboot_timeout": 60}
        yield Staged(job=Job(task="vdx", params=params), secrets={"password": Secret(switches.password)})


async def _begin(switch: Switch) -> SwitchHost:
    """Serve a switch at a loopback address of its own: no other program's ports are in the way there."""
    while True:
        address = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.{switch.rbridge}"  # noqa: S311  no secret
        host = SwitchHost(switch, address)
        try:
            await host.start()
            return host
        except OSError:
            await host.stop()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
