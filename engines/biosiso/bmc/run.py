"""One run that puts a disc into a virtual drive and takes it out again; what each way in adds is abstract.

Done, resumed or undone, it leaves the BMC as it was, or names what could not be put back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from typing import ClassVar, Generic, Protocol, TypeVar

import msgspec

from engines.biosiso.bmc.insert_plan import InsertParams, door
from engines.biosiso.bmc.serve import Offer, addresses
from engines.host.files import write_whole
from engines.job import journal
from engines.job.contract import (
    AnyEvent,
    Asked,
    CommandChange,
    Context,
    Events,
    Finished,
    Log,
    Plan,
    Progress,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Failed, Refused, Stopped
from engines.job.params import Secret


class Visit(Protocol):
    """Who is asked."""

    def leave(self) -> None:
        """End the session, where there is one."""


T = TypeVar("T")
C = TypeVar("C", bound=Visit)
D = TypeVar("D", bound=msgspec.Struct)  # what was decided
Asking = Generator[AnyEvent, str | None, T]
ORDER = "order.json"  # in the run's folder: what was decided, for undo and resume
THEN = (
    "after flashing: switch AC power off, wait, switch it on",
    "in BIOS setup: load defaults, then set what the host needs",
    "compare the BIOS version shown with the one on the disc",
)


class Past(msgspec.Struct, frozen=True):
    """What an earlier run's journal tells: steps it started, steps it ended, its last event."""

    started: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    last: AnyEvent | None = None

    @classmethod
    def of(cls, context: Context) -> Past:
        """Of the run that is resumed or undone."""
        path = context.earlier / "journal.jsonl" if context.earlier else None
        found = [entry.event for entry in journal.entries(path)] if path else []
        started = frozenset(event.step for event in found if isinstance(event, StepStarted))
        ended = frozenset(event.step for event in found if isinstance(event, StepEnded))
        return cls(started - {"look"}, ended, found[-1] if found else None)

    @property
    def kept(self) -> bool:
        """Whether the disc had done its time."""
        return "keep" in self.ended or "eject" in self.started


class DriveRun(ABC, Generic[C, D]):
    """One run, from its plan and the past it continues."""

    order_type: ClassVar[type[msgspec.Struct]]

    def __init__(self, plan: Plan, context: Context, past: Past | None = None) -> None:
        self.plan, self.context, self.past = plan, context, past or Past()
        self.params: InsertParams = plan.params
        self.offer = msgspec.convert(plan.detail["offer"], Offer)
        self.sleep = context.cancel.sleep
        self.sent = "insert" in self.past.started
        self.inside = ""  # what the drive still shows after the disc was taken out

    @abstractmethod
    def _connect(self, secret: Secret) -> C:
        """Who is asked from here on."""

    @abstractmethod
    def _serve(self, client: C, order: D, stack: ExitStack) -> None:
        """Have the disc ready for the BMC until the stack unwinds."""

    @abstractmethod
    def _seek(self, client: C) -> D:
        """What would be done now. Raises Refused."""

    @abstractmethod
    def _agreed_on(self, client: C, order: D) -> tuple[str, str, Sequence[CommandChange]]:
        """Where the disc goes, what is there now, and the exact requests."""

    @abstractmethod
    def _into(self, client: C, order: D) -> Events:
        """The steps until the disc is in."""

    @abstractmethod
    def _out(self, client: C, order: D) -> Events:
        """The steps that take everything back."""

    @abstractmethod
    def _put_back(self, client: C, order: D) -> tuple[str, ...]:
        """Take everything back as far as the BMC lets it; what was left behind."""

    @abstractmethod
    def _finished(self, order: D) -> Finished:
        """The last word."""

    def run(self) -> Events:
        """All steps, less what the past has done."""
        with ExitStack() as stack:
            yield StepStarted(step="look")
            try:
                client = yield from self._login()
                stack.callback(client.leave)
                order = yield from self._order(client)
                self.offer.check(self.context.cancel)
                self._serve(client, order, stack)
            except Stopped:
                raise Stopped(self._as_before()) from None
            yield from self._guarded(client, order, self._steps(client, order))
            yield self._finished(order)

    def undo(self) -> Events:
        """Take back what the earlier run did, as far as it is still there."""
        yield StepStarted(step="look")
        order = self._stored()
        if order is None:
            yield StepEnded(step="look")
            yield Finished(summary="that run sent nothing to the BMC; there is nothing to take back")
            return
        try:
            client = yield from self._login()
        except Stopped:
            raise Stopped(self._as_before()) from None
        self._keep_order(order)
        try:
            yield from self._guarded(client, order, self._out(client, order))
        finally:
            client.leave()
        yield Finished(summary=f"{self.params.bmc} is as it was, as far as the log says", then=("look at the host",))

    def _steps(self, client: C, order: D) -> Events:
        yield StepEnded(step="look")
        if not self.past.kept:
            yield from self._into(client, order)
            yield from self._keep()
        yield from self._out(client, order)

    def _guarded(self, client: C, order: D, work: Events) -> Events:
        """`work`, taken back where it does not come to its end."""
        try:
            yield from work
        except BaseException as error:
            left = self._put_back(client, order)
            if left:
                left = (*left, f"take it back when the BMC answers: crashcart undo {self.context.folder.name}")
            if isinstance(error, Stopped):
                raise Stopped((*error.left_behind, *left)) from None
            if isinstance(error, Failed):
                raise Failed(error.why, error.what_helps, (*error.left_behind, *left)) from None
            raise

    def _as_before(self) -> tuple[str, ...]:
        earlier = self.context.earlier
        return (f"what that run put in, untouched: crashcart undo {earlier.name}",) if earlier else ()

    def _login(self) -> Asking[C]:
        secret = self.context.secrets.get("password")
        if secret is None:
            question = f"Password of {self.params.user} at BMC {self.params.bmc}?"
            secret = Secret((yield Asked(question=question, secret=True)) or "")
        return self._connect(secret)

    def _peers(self) -> frozenset[str]:
        return frozenset({self.params.fetch_from}) if self.params.fetch_from else addresses(door(self.params).host)

    def _stored(self) -> D | None:
        try:
            kept = (self.context.earlier / ORDER).read_bytes() if self.context.earlier else b""
        except FileNotFoundError:
            return None  # the earlier run ended before it sent anything
        return self._decoded(msgspec.json.decode(kept)) if kept else None

    def _decoded(self, order: object) -> D:
        found: D = msgspec.convert(order, self.order_type)  # type: ignore[assignment]
        return found

    def _keep_order(self, order: D) -> None:
        write_whole(self.context.folder / ORDER, msgspec.json.encode(order))

    def _order(self, client: C) -> Asking[D]:
        """What the past decided, or the plan where the BMC still is so; unplanned, what the technician agrees to."""
        order = self._stored() if self.past.started else None
        if order is None:
            order = self._seek(client)
            planned = self.plan.detail["order"]
            if planned is None:
                yield from self._agree(client, order)
            elif self._decoded(planned) != order:
                raise Refused("the BMC has changed since the review", "review again: the plan is no longer the same")
        self._keep_order(order)
        return order

    def _agree(self, client: C, order: D) -> Asking[None]:
        where, now, requests = self._agreed_on(client, order)
        yield Log(text=f"{where}, in it now: {now}")
        for change in requests:
            yield Log(text=f"{change.where}: {change.command}")
        if (yield Asked(question=f"Send these requests for {where}?", choices=("send", "stop"))) != "send":
            raise Stopped()

    def _keep(self) -> Events:
        yield StepStarted(step="keep")
        if self.params.eject_after:
            total = max(1, round(self.params.eject_after * 60))
            for done in range(total):
                yield Progress(done=done, total=total, unit="s")
                self.sleep(1.0)
            yield Progress(done=total, total=total, unit="s")
        else:
            yield Log(text="the disc is in; reset the host yourself when you are ready")
            question = "When the host is through with the disc: eject it?"
            yield Asked(question=question, choices=("eject",), patient=True)
        yield StepEnded(step="keep")
