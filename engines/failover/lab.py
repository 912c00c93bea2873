"""The lab: real clients against a site of two or three copies, all but the last of which go dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from engines.failover import clean, namespaces, registry, results, tables
from engines.failover import ladder as ladders
from engines.failover.advice import WARNING
from engines.failover.cell import Order, Seen
from engines.failover.clients import Client, chosen
from engines.failover.faults import FAULTS
from engines.failover.matrix import Matrix, Told
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
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
from engines.job.errors import BadParam, Refused
from engines.job.params import Params, param, plain

CLIENTS = ("chromium", "firefox", "curl", "python")
LETTERS = "ABC"
IDLE_LIMIT = 3600.0  # s


def words(given: Sequence[str]) -> tuple[str, ...]:
    """A list that may also come as one word with commas."""
    return tuple(part.strip() for item in given for part in item.split(",") if part.strip())


class LabParams(Params, frozen=True, kw_only=True):
    """What the lab measures."""

    clients: Annotated[
        tuple[str, ...],
        param("Clients", "who visits: names, browsers or all", allowed="names, browsers or all", metavar="NAME,…"),
    ] = CLIENTS
    faults: Annotated[
        tuple[str, ...],
        param("Faults", "how the address goes dark", allowed="names of faults", metavar="NAME,…"),
    ] = ("drop", "rst")
    ladder: Annotated[
        Literal["own", "linux", "linux-old", "windows", "short"],
        param("SYN ladder", "how long the clients' kernel knocks at a silent address; own is this machine's"),
    ] = "own"
    addresses: Annotated[int, param("Addresses", "A records of the site; all but the last go dark", ge=2, le=3)] = 2
    runs: Annotated[int, param("Runs", "how often each is measured; the table shows medians", ge=1, le=99)] = 3
    cap: Annotated[int, param("Cap", "seconds after which a wait is given up as 'more than'", ge=2, le=900)] = 30
    patience: Annotated[
        int, param("Patience", "mid-session: seconds a visitor waits before a reload", ge=1, le=300)
    ] = 8
    idle: Annotated[
        tuple[str, ...],
        param("Idle", "also come back after so many seconds, with the order turned", allowed="seconds", metavar="S,…"),
    ] = ()
    output: Annotated[
        str, param("Table", "also write the table here, for predict --table", kind="output", metavar="FILE.yaml")
    ] = ""


class Lab:
    """Measures; changes nothing that existed."""

    name: ClassVar[str] = "failover"
    verb: ClassVar[str] = "lab"
    title: ClassVar[str] = "how many seconds real clients wait when an address goes dark"
    kind: ClassVar[str] = "work"
    params = LabParams

    def target(self, params: LabParams) -> str:  # noqa: ARG002  whatever it measures, it wants the machine to itself
        """One lab at a time: two would spoil each other's figures."""
        return f"failover lab in {registry.folder()}"

    def plan(self, params: LabParams, cancel: Cancel) -> Plan:
        """Find the clients and the namespaces; start nothing that stays."""
        cancel.check()
        clients, ladder = chosen(words(params.clients)), ladders.choose(params.ladder)
        faults, idle = _faults(params), _idle(params)
        if params.output and Path(params.output).exists():
            raise BadParam("output", params.output, "a file that is not there yet")
        namespaces.command()
        versions = {client.name: client.found_version() for client in clients if not client.missing()}
        missing = {client.name: client.missing() for client in clients if client.missing()}
        if not versions:
            raise Refused("none of the clients is installed", "; ".join(missing.values()) or "name clients")
        witness = bool(shutil.which("tcpdump", path=os.environ.get("PATH", "") + ":/usr/sbin"))
        count = len(_orders(params, clients, faults, idle, missing, ladder, "", witness))
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
                ("site", f"{params.addresses} addresses in fixed order; all but the last go dark"),
                ("measurements", f"{count}, each at most {params.cap} s and its client's start"),
                ("checked by", "tcpdump, beside each" if witness else "nothing: tcpdump is not installed"),
            ),
            warnings=tuple(f"{name}: {why}" for name, why in missing.items()),
            undo="nothing stays: namespaces, processes and scratch end with the run",
            detail={"versions": versions, "missing": missing, "witness": witness},
            state={"versions": versions, "missing": missing, "ladder": ladder.settings},
        ).sealed()

    def execute(self, plan: Plan, context: Context) -> Events:
        """Measure everything."""
        return self._run(plan, context, [])

    def resume(self, plan: Plan, context: Context) -> Events:
        """Measure what the earlier run did not."""
        registry.sweep()
        return self._run(plan, context, _kept(context.earlier))

    def undo(self, plan: Plan, context: Context) -> Events:
        """Clear away what a killed lab left."""
        context.cancel.check()
        yield StepStarted(step="clear")
        swept = registry.sweep()
        yield StepEnded(step="clear")
        yield Finished(summary=f"{plan.target}: {clean.words(swept)}", result=msgspec.to_builtins(swept))

    def _run(self, plan: Plan, context: Context, found: list[Seen]) -> Events:
        params = msgspec.convert(plan.params, LabParams)
        ladder = ladders.choose(params.ladder)
        yield StepStarted(step="measure")
        swept = registry.sweep()
        if swept.labs:
            yield Log(text=clean.words(swept))
        with registry.recorded(context.folder) as record:
            missing = plan.detail["missing"]
            clients, faults, idle = chosen(words(params.clients)), _faults(params), _idle(params)
            scratch, witness = record.scratch, plan.detail["witness"]
            orders = _orders(params, clients, faults, idle, missing, ladder, scratch, witness)
            had = {_key(seen) for seen in found}
            left = [order for order in orders if _key(order) not in had]
            yield from _measure(Matrix(record), left, context, found, len(orders))
        yield StepEnded(step="measure")
        yield StepStarted(step="table")
        cells = results.cells(found, plan.detail["versions"], ladder, params.addresses)
        table = results.table(cells, ladder, os.uname().release)
        places = [context.folder / "table.yaml", *([Path(params.output)] if params.output else [])]
        for place in places:
            place.write_text(tables.dump(table))
        yield from _tell(found, cells, missing, params)
        yield StepEnded(step="table")
        yield _finished(found, cells, missing, table, places[-1])


def _faults(params: LabParams) -> tuple[str, ...]:
    for name in words(params.faults):
        if name not in FAULTS:
            raise BadParam("faults", name, "names among " + ", ".join(FAULTS))
    return words(params.faults)


def _idle(params: LabParams) -> tuple[float, ...]:
    try:
        found = tuple(float(text) for text in words(params.idle))
    except ValueError:
        raise BadParam("idle", ", ".join(params.idle), "seconds such as 10,70") from None
    if any(not 0 <= seconds <= IDLE_LIMIT for seconds in found):
        raise BadParam("idle", ", ".join(params.idle), f"seconds from 0 to {IDLE_LIMIT:.0f}")
    return found


def _orders(
    params: LabParams,
    clients: Sequence[Client],
    faults: Sequence[str],
    idle: Sequence[float],
    missing: dict[str, str],
    ladder: ladders.Ladder,
    scratch: str,
    witness: bool,
) -> list[Order]:
    visits = [(fault, 0.0) for fault in faults] + [("", seconds) for seconds in idle]
    return [
        Order(
            client=client.name,
            fault=fault,
            idle=seconds,
            run=run,
            letters=LETTERS[: params.addresses],
            cap=float(params.cap),
            patience=float(params.patience),
            sysctls=ladder.settings,
            scratch=scratch,
            witness=witness,
        )
        for client in clients
        if client.name not in missing
        for fault, seconds in visits
        for run in range(1, params.runs + 1)
    ]


def _key(one: Order | Seen) -> tuple[str, str, float, int]:
    return one.client, one.fault, one.idle, one.run


def _kept(earlier: Path | None) -> list[Seen]:
    """Results of an earlier run that hold; a line torn by its end is measured again."""
    path = earlier / "results.jsonl" if earlier else None
    found = []
    for line in path.read_bytes().splitlines() if path and path.exists() else ():
        try:
            seen = msgspec.json.decode(line, type=Seen)
        except msgspec.DecodeError:
            continue
        if seen.outcome != "broken":
            found.append(seen)
    return found


def _measure(
    matrix: Matrix, orders: Sequence[Order], context: Context, found: list[Seen], total: int
) -> Iterator[AnyEvent]:
    yield Progress(done=len(found), total=total, unit="measurements")
    with (context.folder / "results.jsonl").open("ab") as kept:
        for seen in found:
            kept.write(msgspec.json.encode(seen) + b"\n")
        for told in matrix.run(orders, context.cancel):
            yield Measured(kind=told.event, data=_reading(told))
            if told.seen is not None:
                found.append(told.seen)
                kept.write(msgspec.json.encode(told.seen) + b"\n")
                kept.flush()
                yield Progress(done=len(found), total=total, unit="measurements")


def _reading(told: Told) -> dict[str, Any]:
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
    for seen in broken:
        yield Warned(text=f"{seen.client}, {seen.fault or 'idle'}, run {seen.run} gave no figure: {seen.error}")
    if any(seen.outcome == "waiting" for seen in found):
        yield Log(text=f"'not in {params.cap} s': measure to the end with a higher --cap")


def _finished(
    found: Sequence[Seen], cells: Sequence[tables.Cell], missing: dict[str, str], table: tables.Table, place: Path
) -> Finished:
    broken = [seen for seen in found if seen.outcome == "broken"]
    shown = [f"{seen.client} {seen.fault} {seen.run}: {results.timeline(seen)}" for seen in found if seen.syns]
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
            Section(title="Table", text="\n".join([table.source, "", *results.lines(cells, missing, broken)])),
            Section(title="Coming back after a while", text="\n".join(results.returns(found)) or "not measured"),
            Section(title="SYN timelines", text="\n".join(shown)),
            Section(title="Mind", text=WARNING),
        ),
        then=(f"judge a site by this table: crashcart failover predict NAME --table {place}",),
    )
