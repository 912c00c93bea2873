"""backup prove: a restore tried to its end: a point onto a scratch disk, its files listed, and that disk booted."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.boot import BootParams, pattern
from engines.backup.commands.on_repository import OnRepository
from engines.backup.commands.restore_params import RestoreParams
from engines.backup.commands.restore_steps import restored
from engines.backup.files.model import BrowseError
from engines.backup.files.opened_image import OpenedImage
from engines.backup.files.opening import open_tree
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
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
    Step(id="write", title="Restore each point to a scratch disk"),
    Step(id="flush", title="Have it on the disk"),
    Step(id="list", title="List what is on it"),
    Step(id="boot", title="Boot it and watch its screen"),
)
MOST = 10_000  # entries that are counted
SHOWN = 40


class ProveParams(BootParams, frozen=True, kw_only=True):
    """As of a boot, with the other disks of the guest, and where there is room for all of them."""

    more: Annotated[
        tuple[str, ...], param("More", "points of further disks of that guest, in their order", metavar="POINT")
    ] = ()
    scratch: Annotated[
        str, param("Scratch", "a folder with room for the whole disks; what is put there is removed", kind="folder")
    ] = "/var/tmp"  # noqa: S108  a folder of our own is made in it

    @property
    def points(self) -> tuple[str, ...]:
        """Of all disks; the guest boots from the first."""
        return (self.point, *self.more)


class Prove(OnRepository[ProveParams]):
    """`crashcart backup prove`."""

    name: ClassVar[str] = "backup-prove"
    verb: ClassVar[str] = "prove"
    title: ClassVar[str] = "restore a guest to scratch disks, list its files and boot it: whether it would save you"
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
        point, *more = (glance.resolve(each) for each in params.points)
        if len({point, *more}) < len(params.points):
            raise Refused("a point is named twice", "name each disk of the guest once")
        also = (("and", ", ".join(map(str, more))),) if more else ()
        return Plan(
            task=self.name,
            target=str(point),
            params={"point": str(point), "more": list(map(str, more))},
            steps=STEPS,
            facts=(
                ("point", str(point)),
                *also,
                ("scratch", f"a file for each disk in {params.scratch}, removed at the end"),
                ("machine", f"{params.memory} MiB, disks on {params.bus}, firmware {params.firmware}, no network"),
                ("waits for", params.expect or "a login prompt, or another sign of life"),
                ("repository", glance.store.where),
            ),
            undo="nothing to take back: what is on scratch is removed",
            state={"repository": glance.config.id, "points": [str(point), *map(str, more)]},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="write")
        params: ProveParams = plan.params
        with (yield from opened(params, context)) as repository, _scratch(params.scratch) as scratch:
            disks = [scratch.path / f"disk{number or ''}" for number in range(len(params.points))]
            written = yield from _all_restored(repository, params, disks)
            yield StepStarted(step="list")
            entries = yield from _listed(disks[0], context.cancel)
            yield Log(text=f"at its root: {', '.join(entries[:SHOWN]) or 'nothing'}")
            yield StepEnded(step="list")
            yield StepStarted(step="boot")
            trials = _trials(params, disks, scratch.path, context)
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


def _all_restored(
    repository: Repository, params: ProveParams, disks: Sequence[Path]
) -> Generator[AnyEvent, str | None, int]:
    """All points on disks of their own, the first one last, whose steps are the run's; how many bytes that is."""
    moments = {names.parse(point).time for point in params.points}
    if len(moments) > 1:
        yield Warned(text=f"its disks are of different moments: {', '.join(params.points)}")
    pins = tuple(names.parse(point).path() for point in params.points)
    with Presence(repository.store, "read", f"proof of {params.point}", pins=pins) as presence:
        repository.load()
        written = 0
        for point, disk in [*zip(params.points, disks, strict=True)][:0:-1]:
            written += yield from _quietly(_restored(repository, params, point, disk, presence))
        return written + (yield from _restored(repository, params, params.point, disks[0], presence))


def _quietly(work: Generator[AnyEvent, str | None, int]) -> Generator[AnyEvent, str | None, int]:
    """Without its steps."""
    while True:
        try:
            event = next(work)
        except StopIteration as ended:
            return int(ended.value)
        if not isinstance(event, StepStarted | StepEnded):
            yield event


def _restored(
    repository: Repository, params: ProveParams, point: str, disk: Path, presence: Presence
) -> Generator[AnyEvent, str | None, int]:
    """A point on a scratch disk; how many bytes were written. Every block is checked as it is read."""
    name = names.parse(point)
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
    done = yield from restored(repository, repository.present(name), inner, presence)
    return int(done.result["written"])


def _listed(disk: Path, cancel: Cancel) -> Generator[AnyEvent, str | None, list[str]]:
    """What stands at the root of the disk, and its volumes; a disk of no file system that can be read is told."""
    with disk.open("rb") as file:
        try:
            with open_tree(OpenedImage(file), cancel=cancel) as tree:
                names_ = [node.name.decode("utf-8", "replace") for node in islice(tree.list(b"/"), MOST)]
                return sorted(map(units.one_line, names_))
        except (BrowseError, Refused) as error:
            yield Warned(text=f"no file of it could be listed: {error}")
            return []


def _trials(params: ProveParams, disks: Sequence[Path], scratch: Path, context: Context) -> Trials:
    with disks[0].open("rb") as file:
        head = file.read(HEAD)
    return Trials(
        lay=partial(_lay, disks[0]),
        others=tuple(partial(_lay, disk) for disk in disks[1:]),
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
            "more": list(params.more),
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
