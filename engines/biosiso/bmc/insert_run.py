"""One run of an insert, done, resumed or undone: it leaves the BMC as it was, or names what could not be put back."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from typing import TypeVar

import msgspec

from engines.biosiso.bmc.connection import shown
from engines.biosiso.bmc.insert_plan import BOOT_MENU, InsertParams, door, requests, seek
from engines.biosiso.bmc.redfish import Client, Declined, until
from engines.biosiso.bmc.resources import Boot, Link, Order, Slot
from engines.biosiso.bmc.serve import DiscServer, Offer, addresses
from engines.biosiso.bmc.slot import (
    boot_back,
    boot_now,
    eject,
    insert,
    override,
    put_back,
    take_out,
)
from engines.biosiso.bmc.task import done
from engines.host.files import write_whole
from engines.job import journal
from engines.job.contract import (
    AnyEvent,
    Asked,
    Context,
    Events,
    Finished,
    Log,
    Plan,
    Progress,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Failed, Refused, Stopped
from engines.job.params import Secret

T = TypeVar("T")
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


class InsertRun:
    """One run, from its plan and the past it continues."""

    def __init__(self, plan: Plan, context: Context, past: Past | None = None) -> None:
        self.plan, self.context, self.past = plan, context, past or Past()
        self.params: InsertParams = plan.params
        self.offer = msgspec.convert(plan.detail["offer"], Offer)
        self.sleep = context.cancel.sleep
        self.server: DiscServer | None = None
        self.sent = "insert" in self.past.started
        self.inside = ""  # what the slot still shows after the disc was taken out

    def run(self) -> Events:
        """All steps, less what the past has done."""
        with ExitStack() as stack:
            yield StepStarted(step="look")
            try:
                client = yield from self._login()
                order = yield from self._order(client)
                self.offer.check(self.context.cancel)
                if self.offer.file:
                    self.server = stack.enter_context(self.offer.serve(self._peers()))
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
        yield from self._guarded(client, order, self._out(client, order))
        yield Finished(summary=f"{self.params.bmc} is as it was, as far as the log says", then=("look at the host",))

    def _steps(self, client: Client, order: Order) -> Events:
        yield StepEnded(step="look")
        if not self.past.kept:
            yield from self._into(client, order)
            yield from self._keep()
        yield from self._out(client, order)

    def _guarded(self, client: Client, order: Order, work: Events) -> Events:
        """`work`, taken back where it does not come to its end."""
        try:
            yield from work
        except BaseException as error:
            left = put_back(client, order, time.sleep, sent=self.sent)
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

    def _login(self) -> Asking[Client]:
        secret = self.context.secrets.get("password")
        if secret is None:
            question = f"Password of {self.params.user} at BMC {self.params.bmc}?"
            secret = Secret((yield Asked(question=question, secret=True)) or "")
        return Client(door(self.params), self.params.user, secret)

    def _peers(self) -> frozenset[str]:
        return frozenset({self.params.fetch_from}) if self.params.fetch_from else addresses(door(self.params).host)

    def _stored(self) -> Order | None:
        try:
            kept = (self.context.earlier / ORDER).read_bytes() if self.context.earlier else b""
        except FileNotFoundError:
            return None  # the earlier run ended before it sent anything
        return msgspec.json.decode(kept, type=Order) if kept else None

    def _keep_order(self, order: Order) -> None:
        write_whole(self.context.folder / ORDER, msgspec.json.encode(order))

    def _order(self, client: Client) -> Asking[Order]:
        """What the past decided, or the plan where the BMC still is so; unplanned, what the technician agrees to."""
        order = self._stored() if self.past.started else None
        if order is None:
            order = seek(client, self.params, self.offer.url).order
            planned = self.plan.detail["order"]
            if planned is None:
                yield from self._agree(client, order)
            elif msgspec.convert(planned, Order) != order:
                raise Refused("the BMC has changed since the review", "review again: the plan is no longer the same")
        self._keep_order(order)
        return order

    def _agree(self, client: Client, order: Order) -> Asking[None]:
        where = f"host {Link(order.system).name}, slot {Link(order.slot).name}"
        yield Log(text=f"{where}, in it now: {shown(order.image) or ('a disc' if order.held else 'nothing')}")
        for change in requests(client, order):
            yield Log(text=f"{change.where}: {change.command}")
        if (yield Asked(question=f"Send these requests for {where}?", choices=("send", "stop"))) != "send":
            raise Stopped()

    def _into(self, client: Client, order: Order) -> Events:
        slot = client.get(order.slot, Slot)
        there = slot.holds and slot.has(order.url)
        emptied = "eject-old" in self.past.ended or not order.held
        if slot.holds and not there and emptied:
            raise Failed(f"the slot now holds {slot.said()}", "find out who put it in, then start anew")
        if any(step.id == "eject-old" for step in self.plan.steps):
            yield StepStarted(step="eject-old")
            if not there and (slot.holds or slot.image):
                eject(client, order, self.sleep)
            yield StepEnded(step="eject-old")
        yield StepStarted(step="insert")
        if not there:
            yield from self._insert(client, order)
        yield StepEnded(step="insert")
        if order.target:
            yield StepStarted(step="boot-once")
            if "boot-once" not in self.past.ended:  # a start may have used it up: never set it a second time
                yield from self._boot_once(client, order)
            yield StepEnded(step="boot-once")

    def _insert(self, client: Client, order: Order) -> Events:
        self.sent = True
        if said := insert(client, order, self.sleep):
            yield Log(text=said)
        slot = until(
            lambda: client.get(order.slot, Slot),
            lambda slot: slot.holds and slot.has(order.url),
            self.sleep,
            client.door.timeout,
        )
        if not (slot.holds and slot.has(order.url)):
            raise Failed(
                f"the BMC took InsertMedia, but its slot is {slot.said()}{self._turned_away()}",
                "see that the BMC can reach the URL; listen, fetch_from or url may have to be given",
            )
        yield Log(text=f"slot {Link(order.slot).name} holds {slot.said()}")

    def _turned_away(self) -> str:
        strangers = sorted(self.server.strangers) if self.server else []
        return f"; turned away, as not the BMC: {', '.join(strangers)}" if strangers else ""

    def _boot_once(self, client: Client, order: Order) -> Events:
        def modal(boot: Boot) -> bool:
            return not order.mode or boot.mode in (None, order.mode)

        def taken(boot: Boot) -> bool:
            return boot.target == order.target and boot.enabled in ("Once", "Continuous")

        try:
            done(client, "PATCH", order.system, override(order), self.sleep)
        except Declined as declined:
            if declined.status == 401:
                raise
            yield Warned(text=f"the BMC refuses the one-time boot ({declined.said or declined.status}): {BOOT_MENU}")
            return
        boot = until(
            lambda: boot_now(client, order), lambda boot: taken(boot) and modal(boot), self.sleep, client.door.timeout
        )
        if not taken(boot):
            yield Warned(text=f"the BMC took the one-time boot, but says {boot.said()}: {BOOT_MENU}")
            return
        if boot.enabled != "Once":
            yield Warned(text="the BMC says Continuous, not Once: every start comes from the disc until it is ejected")
        if not modal(boot):
            yield Warned(text=f"the BMC stays in mode {shown(boot.mode or '')}: a DOS disc starts in Legacy only")

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

    def _out(self, client: Client, order: Order) -> Events:
        yield StepStarted(step="eject")
        yield Log(text=take_out(client, order, self.sleep, sent=self.sent))
        slot = client.get(order.slot, Slot)
        self.inside = slot.said() if slot.holds or slot.image or slot.image_name else ""
        if self.inside:
            yield Warned(text=f"slot {Link(order.slot).name} is not as clean as it was asked to be: {self.inside}")
        yield StepEnded(step="eject")
        if order.target:
            yield StepStarted(step="boot-back")
            yield Log(text=boot_back(client, order, self.sleep))
            yield StepEnded(step="boot-back")

    def _finished(self, order: Order) -> Finished:
        fetched = {"bytes_fetched": self.server.sent} if self.server else {}
        return Finished(
            summary=f"the disc was in slot {Link(order.slot).name} of {self.params.bmc}, now out"
            f"{f'; the slot: {self.inside}' if self.inside else ''}{self._turned_away()}",
            result={"bmc": self.params.bmc, "system": order.system, "slot": order.slot, "url": order.url, **fetched},
            then=THEN,
        )
