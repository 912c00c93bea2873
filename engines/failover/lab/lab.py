"""The lab: real clients against a site of two or three copies, all but the last of which go dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from engines.failover import tables
from engines.failover.advice import WARNING, lines, take_down
from engines.failover.lab import clean, namespaces, picture, registry, results
from engines.failover.lab import ladder as ladders
from engines.failover.lab.lab_params import LETTERS, LabParams, faults_of, idle_of, kept, key, orders_of, words
from engines.failover.lab.matrix import CellLine, Matrix
from engines.failover.lab.measurement import NAME, Order, Seen
from engines.failover.lab.testbed import ADDRESSES
from engines.failover.results import LabResult
from engines.failover.visitors.clients import chosen
from engines.host.naming import write_new
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Log,
    Measured,
    Plan,
    Progress,
    Section,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import BadParam, Refused, Stopped
from engines.job.params import plain

PICTURE = "timeline.svg"
EXAMPLE = take_down(NAME, ADDRESSES["A"])


class Lab(Engine[LabParams]):
    """Measures; changes nothing that existed."""

    name: ClassVar[str] = "failover"
    verb: ClassVar[str] = "lab"
    title: ClassVar[str] = "how many seconds real clients wait when an address goes dark"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[LabResult]] = LabResult
    params = LabParams

    @override
    def target(self, params: LabParams) -> str:
        """One lab at a time: two would spoil each other's figures."""
        return f"failover lab in {registry.folder()}"

    @override
    def plan(self, params: LabParams, cancel: Cancel) -> Plan:
        """Find the clients and the namespaces; start nothing that stays."""
        cancel.check()
        clients, ladder = chosen(words(params.clients)), ladders.choose(params.ladder)
        faults, idle = faults_of(params), idle_of(params)
        if params.output and Path(params.output).exists():
            raise BadParam("output", params.output, "a file that is not there yet")
        namespaces.command()
        versions = {client.name: client.found_version() for client in clients if not client.missing()}
        missing = {client.name: client.missing() for client in clients if client.missing()}
        if not versions:
            raise Refused("none of the clients is installed", "; ".join(missing.values()) or "name clients")
        unseen = _unseen()
        count = len(orders_of(params, clients, faults, idle, missing, ladder, "", not unseen))
        kernel = f"Linux {os.uname().release}, SYN ladder {ladder.name} ({ladder.words}): {ladder.seconds} s"
        return Plan(
            task=self.name,
            target="lab on this machine",
            params=plain(params),
            steps=(Step(id="measure", title="Send the clients"), Step(id="table", title="Make the table")),
            facts=(
                ("clients", ", ".join(f"{name} {version}" for name, version in versions.items())),
                ("faults", ", ".join(faults)),
                ("kernel", kernel),
                ("site", f"{params.scheme}, {params.addresses} addresses in fixed order; all but the last go dark"),
                ("measurements", f"{count}, each at most {params.cap} s and its client's start"),
                ("checked by", unseen or "tcpdump, beside each"),
            ),
            warnings=tuple(f"{name}: {why}" for name, why in missing.items()),
            undo="nothing stays: namespaces, processes and scratch end with the run",
            detail={"versions": versions, "missing": missing, "witness": not unseen},
            state={"versions": versions, "missing": missing, "ladder": ladder.settings},
        ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        """Measure everything."""
        return self._run(plan, context, [])

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """Measure what the earlier run did not."""
        registry.sweep()
        return self._run(plan, context, kept(context.earlier))

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        """Clear away what a killed lab left, and take back the table that it wrote."""
        context.cancel.check()
        yield StepStarted(step="clear")
        swept = registry.sweep()
        gone = _take_back(str(plan.params.output), context.earlier)
        yield StepEnded(step="clear")
        yield Finished(summary=f"{clean.words(swept)}{gone}", result=msgspec.to_builtins(swept))

    def _run(self, plan: Plan, context: Context, found: list[Seen]) -> Events:
        params: LabParams = plan.params
        ladder, missing = ladders.choose(params.ladder), plan.detail["missing"]
        swept = registry.sweep()
        with registry.recorded(context.folder) as record:  # before the first step: on disk before anything is made
            yield StepStarted(step="measure")
            if swept.labs:
                yield Log(text=clean.words(swept))
            clients, faults, idle = chosen(words(params.clients)), faults_of(params), idle_of(params)
            scratch, witness = record.scratch, plan.detail["witness"]
            orders = orders_of(params, clients, faults, idle, missing, ladder, scratch, witness)
            had = {key(seen) for seen in found}
            left = [order for order in orders if key(order) not in had]
            yield from _measure(Matrix(record), left, context, found, len(orders))
        yield StepEnded(step="measure")
        yield StepStarted(step="table")
        cells = results.cells(found, plan.detail["versions"], ladder, params.addresses, params.patience)
        table = results.table(cells, ladder, os.uname().release, params.scheme)
        yield from _tell(found, cells, missing, params)
        written = keep(context.folder / "table.yaml", tables.dump(table))
        drawn = keep(context.folder / PICTURE, picture.svg(found, LETTERS[: params.addresses]))
        if not written:
            yield Warned(text=f"no room for table.yaml in {context.folder}: the table is in the report only")
        place = context.folder / "table.yaml"
        trouble = _placed(Path(params.output), table, context) if params.output else ""
        if params.output and not trouble:
            place = Path(params.output)
        try:
            if trouble:
                yield Warned(text=trouble + (f"; the table is {place}" if written else ""))
            yield StepEnded(step="table")
        except Stopped:
            if place == Path(params.output):
                _take_back(params.output, context.folder)
            raise
        yield _finished(found, cells, missing, table, place, PICTURE if drawn else "")


def keep(path: Path, text: str) -> bool:
    """Write a file of the run's folder; False where the state disk is full, which must not stop the work."""
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


def _placed(path: Path, table: tables.Table, context: Context) -> str:
    """Write the table where it was told to; why it is not there, in words: what came since the plan stays."""
    try:
        _take_back(str(path), context.earlier)
        write_new(path, tables.dump(table).encode())
    except FileExistsError:
        return f"{path} came since the plan was made, and stays as it is"
    except OSError as error:
        return f"{path} cannot be written: {error.strerror or error}"
    return ""


def _take_back(output: str, run: Path | None) -> str:
    """Remove the table that a run wrote where it was told to, unless it has changed since; what was done, in words."""
    if not output or run is None or not Path(output).exists():
        return ""
    ours = run / "table.yaml"
    if not ours.exists() or ours.read_bytes() != Path(output).read_bytes():
        return f"; {output} is not the table that the run wrote, so it stays"
    Path(output).unlink()
    return f"; {output} is gone"


def _unseen() -> str:
    """Why no second tool checks the timelines; empty where tcpdump does."""
    if not shutil.which("tcpdump", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return "nothing: tcpdump is not installed"
    if "--user" in namespaces.command():
        return "nothing: tcpdump changes its user, which a user namespace forbids"
    return ""


def _measure(
    matrix: Matrix, orders: Sequence[Order], context: Context, found: list[Seen], total: int
) -> Iterator[AnyEvent]:
    yield Progress(done=len(found), total=total, unit="measurements")
    _record(context.folder, found)
    for told in matrix.run(orders, context.cancel):
        yield Measured(kind=told.event, data=_reading(told))
        if told.seen is not None:
            found.append(told.seen)
            _record(context.folder, [told.seen])
            yield Progress(done=len(found), total=total, unit="measurements")


def _record(folder: Path, seen: Sequence[Seen]) -> None:
    """For a run that takes this one up; where the state disk is full, it measures again."""
    with suppress(OSError), (folder / "results.jsonl").open("ab") as stream:
        stream.write(b"".join(msgspec.json.encode(one) + b"\n" for one in seen))


def _reading(told: CellLine) -> dict[str, Any]:
    """For the live page: which cell, and what it tells."""
    order = told.order
    cell = {"client": order.client, "fault": order.fault, "run": order.run, "idle": order.idle}
    if told.seen is None:
        return cell | told.data
    fields: dict[str, Any] = msgspec.to_builtins(told.seen)
    return cell | fields | {"timeline": results.timeline(told.seen)}


def _tell(
    found: Sequence[Seen], cells: Sequence[tables.Cell], missing: dict[str, str], params: LabParams
) -> Iterator[AnyEvent]:
    broken = [seen for seen in found if seen.outcome == "broken"]
    for line in [*results.lines(cells, missing, broken), *results.returns(found)]:
        yield Log(text=line)
    checked, apart = results.disagreement(found)
    if checked:
        yield Log(text=f"tcpdump saw the same {checked} gaps, at most {apart:.3f} s apart")
    if apart > results.AGREE:
        yield Warned(text=f"a gap and tcpdump's are {apart:.2f} s apart: this machine was too busy, measure again")
    for name, why in missing.items():
        yield Warned(text=f"{name} was not measured: {why}")
    for seen in broken:
        yield Warned(text=f"{seen.client}, {seen.fault or 'idle'}, run {seen.run} gave no figure: {seen.error}")
    if any(seen.outcome == "waiting" for seen in found):
        ladder = ladders.choose(params.ladder)
        knocks = f"the kernel's SYN ladder here is {ladder.seconds} s"
        yield Log(text=f"'not in {params.cap} s': {knocks}; a higher cap measures to the end")


def _finished(
    found: Sequence[Seen],
    cells: Sequence[tables.Cell],
    missing: dict[str, str],
    table: tables.Table,
    place: Path,
    drawn: str,
) -> Finished:
    broken = [seen for seen in found if seen.outcome == "broken"]
    told = sorted(
        (seen for seen in found if seen.syns), key=lambda seen: (seen.client, seen.fault, seen.idle, seen.run)
    )
    shown = [f"{seen.client} {seen.fault or 'idle'} {seen.run}: {results.timeline(seen)}" for seen in told]
    back = results.returns(found)
    checked, apart = results.disagreement(found)
    return Finished(
        summary=results.summary(cells) or f"{len(found) - len(broken)} measurements",
        result={
            "table": msgspec.to_builtins(table),
            "missing": missing,
            "returns": results.plain([seen for seen in found if not seen.fault]),
            "tcpdump": {"checked": checked, "apart": apart},
        },
        sections=(
            Section(
                title="Table",
                text="\n".join([table.source, "", *results.lines(cells, missing, broken)]),
                brief=tables.brief(cells),
            ),
            *([Section(title="Coming back after a while", text="\n".join(back))] if back else []),
            *([Section(title="SYN timelines, drawn", file=drawn)] if drawn and shown else []),
            Section(title="SYN timelines", text="\n".join(shown)),
            Section(title="Taking a copy down, as for copy A of the lab", text="\n".join(lines(EXAMPLE))),
            Section(title="Mind", text=WARNING),
        ),
        then=(f"judge a site by this table: crashcart failover predict NAME --table {place}",),
    )
