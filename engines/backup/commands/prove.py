"""backup prove: a restore tried to its end: a point onto a scratch disk, its files listed, and that disk booted."""

from __future__ import annotations

import os
from collections.abc import Generator
from functools import partial
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.boot import pattern
from engines.backup.commands.on_repository import OnRepository
from engines.backup.commands.restore_params import RestoreParams
from engines.backup.commands.restore_steps import restored
from engines.backup.files.model import BrowseError
from engines.backup.files.opening import open_tree
from engines.backup.repository.repository import WHICH_POINT, NamesOnly, RepoParams, Repository, where
from engines.backup.repository.sessions import Presence
from engines.backup.repository.unlocking import opened
from engines.backup.restoring.target import SeenTarget
from engines.boot.firmware import HEAD, firmware
from engines.boot.scratch import Scratch
from engines.boot.trials import AUTO, Trials
from engines.boot.watch import Seen as Watched
from engines.guest.target import qemu_img
from engines.job import units
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
    Events,
    Finished,
    Log,
    Plan,
    Section,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Failed, Refused
from engines.job.params import param, plain

STEPS = (
    Step(id="write", title="Restore the point to a scratch disk"),
    Step(id="flush", title="Have it on the disk"),
    Step(id="list", title="List what is on it"),
    Step(id="boot", title="Boot it and watch its screen"),
)
MOST = 10_000  # entries that are counted
SHOWN = 40


class ProveParams(RepoParams, frozen=True, kw_only=True):
    """Which point, where there is room, and on what machine."""

    point: Annotated[str, WHICH_POINT]
    scratch: Annotated[
        str, param("Scratch", "a folder with room for the whole disk; what is put there is removed", kind="folder")
    ] = "/var/tmp"  # noqa: S108  a folder of our own is made in it
    memory: Annotated[int, param("Memory", "MiB for the guest", ge=64, le=65536)] = 512
    expect: Annotated[
        str,
        param("Expect", "a regular expression that must show; without it a login prompt and the like", metavar="RE"),
    ] = ""
    deadline: Annotated[int, param("Deadline", "seconds for each disk bus that is tried", ge=5, le=7200)] = 300
    bus: Annotated[
        Literal["auto", "ide", "virtio", "ahci"],
        param("Bus", "what the disk hangs on; auto tries ide, then virtio, then ahci, until the guest starts"),
    ] = "auto"
    firmware: Annotated[
        Literal["auto", "bios", "ovmf"], param("Firmware", "auto goes by whether the disk has boot code for a BIOS")
    ] = "auto"


class Prove(OnRepository[ProveParams]):
    """`crashcart backup prove`."""

    name: ClassVar[str] = "backup-prove"
    verb: ClassVar[str] = "prove"
    title: ClassVar[str] = "restore a point to a scratch disk, list its files and boot it: whether it would save you"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Proven
    irreversible: ClassVar[str] = "a proof changes nothing that could be taken back; the point is as it was"
    params = ProveParams

    @override
    def target(self, params: ProveParams) -> str:
        return f"backup prove {where(params)} {params.point}"

    @override
    def plan(self, params: ProveParams, cancel: Cancel) -> Plan:
        pattern(params.expect)
        if not Path(params.scratch).is_dir():
            raise Refused(f"{params.scratch} is no folder", "name one with room for the whole disk: --scratch FOLDER")
        return super().plan(params, cancel)

    @override
    def plan_on(self, glance: NamesOnly, params: ProveParams, cancel: Cancel) -> Plan:
        point = glance.resolve(params.point)
        return Plan(
            task=self.name,
            target=str(point),
            params={"point": str(point)},
            steps=STEPS,
            facts=(
                ("point", str(point)),
                ("scratch", f"a file in {params.scratch}, removed at the end"),
                ("machine", f"{params.memory} MiB, disk on {params.bus}, firmware {params.firmware}, no network"),
                ("waits for", params.expect or "a login prompt, or another sign of life"),
                ("repository", glance.store.where),
            ),
            undo="nothing to take back: the scratch disk is removed",
            state={"repository": glance.config.id, "point": str(point)},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="write")
        params: ProveParams = plan.params
        with (yield from opened(params, context)) as repository, _scratch(params.scratch) as scratch:
            disk = scratch.path / "disk"
            written = yield from _restored(repository, params, disk)
            yield StepStarted(step="list")
            entries = yield from _listed(disk, context.cancel)
            yield Log(text=f"at its root: {', '.join(entries[:SHOWN]) or 'nothing'}")
            yield StepEnded(step="list")
            yield StepStarted(step="boot")
            trials = _trials(params, disk, scratch.path, context)
            bus, seen = yield from trials.run()
            if seen.how == "fails":
                raise Failed(
                    f"{params.point} was restored and does not boot on {bus}: {seen.why}",
                    "look at its screen in the report; try another machine by hand: crashcart backup boot",
                )
            if seen.how != "boots":
                yield Warned(text=f"{params.point} may boot on {bus}, see its screen: {seen.why}")
            yield StepEnded(step="boot")
            yield _finished(params, written, entries, bus, seen, trials)


def _scratch(folder: str) -> Scratch:
    try:
        return Scratch(folder)
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}", "name a folder with room: --scratch FOLDER") from None


def _restored(repository: Repository, params: ProveParams, disk: Path) -> Generator[AnyEvent, str | None, int]:
    """The point on the scratch disk; how many bytes were written. Every block is checked as it is read."""
    name = names.parse(params.point)
    words = {key: value for key, value in plain(params).items() if key in RepoParams.__struct_fields__}
    given = RestoreParams(**words, point=str(name), target=str(disk))
    seen = msgspec.to_builtins(SeenTarget.at(disk))
    inner = Plan(
        task="backup-restore",
        target=str(disk),
        params=given,
        steps=STEPS[:2],
        detail={"existed": False, "device": False},
        state={"seen": seen},
    )
    with Presence(repository.store, "read", f"proof of {name}", pins=(name.path(),)) as presence:
        repository.load()
        done = yield from restored(repository, repository.present(name), inner, presence)
    return int(done.result["written"])


def _listed(disk: Path, cancel: Cancel) -> Generator[AnyEvent, str | None, list[str]]:
    """What stands at the root of the disk, and its volumes; a disk of no file system that can be read is told."""
    with disk.open("rb") as file:
        try:
            with open_tree(_Bytes(file), cancel=cancel) as tree:
                names_ = [node.name.decode("utf-8", "replace") for node in islice(tree.list(b"/"), MOST)]
                return sorted(map(units.one_line, names_))
        except (BrowseError, Refused) as error:
            yield Warned(text=f"no file of it could be listed: {error}")
            return []


class _Bytes:
    """The scratch disk as its files are read from it, by any number of threads."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes, fewer only at the end."""
        return os.pread(self._file.fileno(), length, offset)


def _trials(params: ProveParams, disk: Path, scratch: Path, context: Context) -> Trials:
    with disk.open("rb") as file:
        head = file.read(HEAD)
    return Trials(
        lay=partial(_lay, disk),
        scratch=scratch,
        shots=context.folder,
        cancel=context.cancel,
        firmware=firmware(head, params.firmware),
        buses=AUTO if params.bus == "auto" else (params.bus,),
        memory=params.memory,
        expect=pattern(params.expect),
        deadline=params.deadline,
    )


def _lay(disk: Path, layer: Path) -> Path:
    """A fresh layer for each bus: what one trial wrote is not what the next one boots."""
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(disk), "-F", "raw", str(layer))
    return layer


def _finished(
    params: ProveParams, written: int, entries: list[str], bus: str, seen: Watched, trials: Trials
) -> Finished:
    sections = [
        Section(title="At its root", text="\n".join(entries[:SHOWN])),
        Section(title="Last lines", text="\n".join((seen.why, "", *seen.lines))),
    ]
    if seen.screenshot is not None:
        sections.append(Section(title="Screen", file=seen.screenshot.name))
    words = "boots" if seen.how == "boots" else "may boot: see the screen"
    return Finished(
        summary=f"{params.point}: {units.size(written)} restored, {len(entries)} entries at its root, and it {words}",
        result={
            "point": params.point,
            "restored": written,
            "entries": len(entries),
            "verdict": seen.how,
            "why": seen.why,
            "bus": bus,
            "firmware": trials.firmware,
            "seconds": round(seen.seconds, 1),
        },
        sections=tuple(sections),
    )
