"""The tasks by name, each loaded only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from engines.job.errors import Refused

if TYPE_CHECKING:
    from engines.job.contract import Engine, Look  # which `crashcart --help` has no time for


class Task(NamedTuple):
    """A task package: `module` holds ENGINES (runs) and LOOKS (questions).

    alone: by verb, where one engine can be had without the others, as MODULE:CLASS; for runs that start often.
    groups: first words of verbs of two: `key add` is the verb key-add.
    sweeper: the module with `sweep` where it is another.
    """

    module: str
    title: str
    alone: Mapping[str, str] = MappingProxyType({})
    groups: tuple[str, ...] = ()
    sweeper: str = ""

    def engines(self) -> tuple[Engine[Any], ...]:
        """Its runs; the first is the one that a job file's plain task name means."""
        found: tuple[Engine[Any], ...] = importlib.import_module(self.module).ENGINES
        return found

    def looks(self) -> tuple[Look, ...]:
        """Its questions."""
        found: tuple[Look, ...] = importlib.import_module(self.module).LOOKS
        return found

    def of(self, verb: str) -> tuple[tuple[Look, ...], tuple[Engine[Any], ...]]:
        """The question or run with that verb, and as little else as can be loaded; all where there is no such verb."""
        if verb in self.alone:
            module, name = self.alone[verb].split(":")
            return (), (getattr(importlib.import_module(module), name)(),)
        looks = tuple(look for look in self.looks() if look.verb == verb)
        engines = tuple(engine for engine in self.engines() if engine.verb == verb)
        return (looks, engines) if looks or engines else (self.looks(), self.engines())

    def sweep(self) -> None:
        """Clear away what its killed runs left on this machine, where the package has a `sweep`."""
        getattr(importlib.import_module(self.sweeper or self.module), "sweep", lambda: None)()


TASKS = {
    "biosiso": Task("engines.biosiso.engine", "a bootable DOS disc for a SuperMicro BIOS update"),
    "backup": Task(
        "engines.backup.engine",
        "block-level backups of disks, and their restore",
        alone={"run": "engines.backup.commands.run:Run", "restore": "engines.backup.commands.restore:Restore"},
        groups=("key",),
        sweeper="engines.backup.sweeping",
    ),
    "fleet": Task("engines.fleet.engine", "every guest of every hypervisor, backed up every night"),
    "virtio": Task("engines.virtio.engine", "an old guest moved from an IDE or Xen disk to virtio"),
    "vdx": Task("engines.vdx.engine", "a VDX port that is down with ISL DOWN: why, and the fix"),
    "failover": Task("engines.failover.engine", "can a site with several addresses survive one going dark"),
}


def engine(name: str) -> Engine[Any]:
    """The engine that a job file's `task: NAME` means. Raises Refused."""
    task = TASKS.get(name.split("-")[0])
    for known in task.engines() if task else ():
        if name in (known.name, f"{name.split('-')[0]}-{known.verb}"):
            return known
    names = [known.name for every in TASKS.values() for known in every.engines()]
    raise Refused(f"task {name!r} is unknown", "allowed are " + ", ".join(names))


def look(name: str, verb: str) -> Look:
    """The question `verb` of a task. Raises Refused."""
    if name not in TASKS:
        raise Refused(f"task {name!r} is unknown", "allowed are " + ", ".join(TASKS))
    known = {look.verb: look for look in TASKS[name].looks()}
    if verb not in known:
        raise Refused(f"{name} has no question {verb!r}", "allowed are " + ", ".join(known))
    return known[verb]


def sweep(name: str) -> None:
    """Clear away what killed runs of that task's package left on this machine."""
    task = TASKS.get(name.split("-")[0])
    if task:
        task.sweep()
