"""backup put: files of a point into a stopped guest's image, on an overlay, with undo log, commit and undo."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from engines.backup import names, results
from engines.backup.files import reach
from engines.backup.files.contents import weight
from engines.backup.files.model import NOT_REPLAYED, BrowseError, shown
from engines.backup.files.opening import open_tree, states
from engines.backup.files.volumes.signatures import UNCLEAN
from engines.backup.put import perform, trial
from engines.backup.put.glimpse import refuse_seen
from engines.backup.put.operation import Operation, VolumeTarget, chosen, folder_of, led
from engines.backup.put.params import PutParams
from engines.backup.put.placing import Placed, PutOptions
from engines.backup.repository.byte_source import open_point
from engines.backup.repository.repository import Repository
from engines.backup.repository.unlocking import opened
from engines.guest import inuse
from engines.guest.committing import COMMIT, SAVE, commit, save, told
from engines.guest.operation import OnGuest, kept, refusing
from engines.guest.surgery import Surgery, refuse_pending
from engines.job import units
from engines.job.contract import (
    AnyEvent,
    BytesChange,
    Cancel,
    Change,
    Context,
    Events,
    Finished,
    Plan,
    StepEnded,
    TextChange,
)
from engines.job.errors import Refused
from engines.job.params import plain
from engines.job.runs import Run

INSTEAD = "take the files out of the guest by hand (the report of run {} names each), or restore an older point"


class PutFiles(OnGuest[PutParams, Operation]):
    """`crashcart backup put`."""

    name: ClassVar[str] = "backup-put"
    verb: ClassVar[str] = "put"
    title: ClassVar[str] = "put files of a point back into a stopped guest"
    result: ClassVar[type[results.Result]] = results.Put
    begins: ClassVar[str] = perform.WRITE.id
    params: type[PutParams] = PutParams

    @override
    def image(self, params: PutParams) -> Path:
        return params.image

    @override
    def decide(self, params: PutParams, cancel: Cancel) -> tuple[Plan, Operation]:
        return self._decided(params, Repository.of(params), cancel)

    def _decided(self, params: PutParams, repository: Repository, cancel: Cancel) -> tuple[Plan, Operation]:
        try:
            operation, point = _begin(params, repository, cancel)
        except BrowseError as error:
            raise Refused(f"it cannot be read: {error}", "nothing was touched") from None
        return _plan(params, repository, point, operation), operation

    @override
    def again(self, plan: Plan, context: Context) -> Generator[AnyEvent, str | None, Plan]:
        """With the repository's key, which may have to be asked for."""
        repository = yield from opened(plan.params, context)
        kept.close_all()
        with refusing():
            now, operation = self._decided(plan.params, repository, context.cancel)
        kept.keep(now.digest, operation)
        return now

    @override
    def carry_out(self, decided: Operation, plan: Plan, context: Context) -> Events:
        return _carried_out(decided, plan, context)

    @override
    def instead(self, plan: Plan, run: Run) -> str:
        return INSTEAD.format(run.id)


def _begin(params: PutParams, repository: Repository, cancel: Cancel) -> tuple[Operation, names.PointName]:
    point, paths = reach.chosen(repository, params.paths)
    stack = ExitStack()
    try:
        source = stack.enter_context(open_point(repository, point, f"put into {params.image.name}"))
        tree = open_tree(source, params.driver, purpose="take", cancel=cancel)
        stack.callback(tree.close)
        sources = chosen(tree, paths)
        at = folder_of(params.at)
        if at is not None and not params.volume:
            sources, at = led(tree, sources, at)
        wanted, vouched = params.format or "", params.powered_off
        if params.conflict == "refuse" and wanted in ("", "raw"):
            refuse_pending(params.image)
            inuse.hold(params.image, powered_off=vouched).release()  # who runs is told first
            refuse_seen(params.image, tree, sources, at, params.volume)
        surgery = Surgery.begin(
            params.image, cancel, wanted=wanted, backing=params.backing, powered_off=vouched, bare=True
        )
        stack.callback(surgery.close)
        operation = Operation(tree, surgery, stack)
        wish = PutOptions(params.conflict, params.special, params.setuid, f".from-{point.time}".encode(), point.moment)
        operation.place(sources, at, params.volume, wish)
        return operation, point
    except BaseException:
        stack.close()
        raise


def _plan(params: PutParams, repository: Repository, point: names.PointName, operation: Operation) -> Plan:
    target = operation.surgery.target
    written = [each for one in operation.targets for each in one.placing.placed if each.written]
    return Plan(
        task=PutFiles.name,
        target=params.into,
        params={**plain(params), "repo": repository.store.where, "into": str(params.image)},
        steps=(perform.WRITE, *((trial.BOOT,) if params.boot_test else ()), SAVE, COMMIT),
        changes=tuple(_change(one, each) for one in operation.targets for each in perform.told(one)),
        facts=(
            ("point", str(point)),
            ("image", f"{params.image.name}: {target.kind}, disk of {units.size(target.disk)}"),
            *((f"into {one.volume.name}", _into(one)) for one in operation.targets),
            ("files", f"{len(written)}, {units.size(sum(weight(each.node) for each in written if not each.hard))}"),
        ),
        warnings=tuple(_warnings(params, operation)),
        undo="crashcart undo puts every original byte back, until the guest has run",
        confirm=params.image.name if written else "",
        state={"point": str(point), "disk": target.disk, "files": dict(_states(operation))},
    ).sealed()


def _change(target: VolumeTarget, placed: Placed) -> Change:
    node, before = placed.node, placed.before
    if placed.place in target.texts:
        old, new = target.texts[placed.place]
        return TextChange(target=f"{target.volume.name}:{shown(placed.place)}", before=old, after=new)
    new = f"{units.size(node.size)} of {_date(node.mtime)}" if node.is_file else "folder" if node.is_folder else "link"
    texts = {
        "create": f"new, {new}",
        "replace": f"{units.size(before.size)} of {_date(before.mtime)} becomes {new}" if before else "",
        "keep": "kept as it is",
        "leave": "left out",
    }
    note = f", {placed.note}" if placed.note else ""
    note += f", another name of {shown(placed.hard)}" if placed.hard else ""
    return BytesChange(
        target=f"{target.volume.name}:{shown(placed.place)}",
        summary=texts[placed.action] + note,
        before_size=before.size if before else None,
        after_size=node.size if placed.written else before.size if before else None,
    )


def _date(nanoseconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(nanoseconds // 10**9))
    except (OverflowError, ValueError, OSError):
        return "an impossible time"


def _into(target: VolumeTarget) -> str:
    need, _ = target.placing.need(target.room)
    volume = target.volume
    return f"{volume.format} {volume.label or volume.uuid}: {units.size(need)} of {units.size(target.room.free)} free"


def _warnings(params: PutParams, operation: Operation) -> list[str]:
    found = [*operation.lost, *(f"{name} of the point: {state}" for name, state in states(operation.tree).items())]
    for target in operation.targets:
        volume = target.volume
        if volume.dirty in (NOT_REPLAYED, UNCLEAN):
            found.append(f"{volume.name} in the guest was not shut down in order: its journal is replayed, too")
        elif volume.dirty:
            found.append(f"{volume.name} in the guest: {volume.dirty}")
        if volume.cut:
            found.append(f"{volume.name} in the guest: {volume.cut}")
        if volume.foreign:
            found.append(f"{volume.name} is {volume.format}, which keeps neither owners nor modes nor attributes")
        for info in target.infos:
            if info.uuid and info.uuid.casefold() != volume.uuid.casefold():
                found.append(f"{volume.name} in the image is not the file system that was backed up (another id)")
    if params.powered_off:
        found.append("no lock proves that the guest is off: it rests on the technician's word")
    return found


def _states(operation: Operation) -> Any:
    for target in operation.targets:
        for each in target.placing.placed:
            before = each.before
            key = f"{target.volume.name}:{shown(each.place)}"
            node = [each.action, each.node.mode, each.node.size, each.node.mtime]
            yield key, [*node, *((before.mode, before.size, before.mtime) if before else ())]


def _carried_out(operation: Operation, plan: Plan, context: Context) -> Events:
    evidence = perform.Evidence()
    surgery = operation.surgery
    yield from perform.write(operation, context, bool(plan.params.setuid), evidence)
    yield StepEnded(step=perform.WRITE.id)
    if not any(each.written for target in operation.targets for each in target.placing.placed):
        evidence.result |= {"bytes_changed": 0, "undo_log": ""}
        yield Finished(
            summary=f"nothing was put into {Path(plan.target).name}: what is there stays, and the image is untouched",
            result=evidence.result,
            sections=tuple(evidence.sections),
        )
        return
    if plan.params.boot_test:
        yield from told(trial.BOOT, trial.boot(operation, context, evidence))
    else:
        surgery.end_appliance()
    yield from told(SAVE, save(surgery, context.folder, evidence.result))
    yield from told(COMMIT, commit(surgery))
    result = evidence.result
    yield Finished(
        summary=f"{plan.confirm} has {result['created']} files more, {result['replaced']} replaced",
        result=result,
        sections=tuple(evidence.sections),
        then=("Start the guest.", f"Take it back: crashcart undo {context.folder.name}"),
    )
