"""A run by Redfish: the slot is filled, the next start set to it once, and both are put back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

from typing_extensions import override

from engines.biosiso.bmc.connection import shown
from engines.biosiso.bmc.insert_plan import BOOT_MENU, door, requests, seek
from engines.biosiso.bmc.redfish import Client, Declined, until
from engines.biosiso.bmc.resources import Boot, Link, Order, Slot
from engines.biosiso.bmc.run import THEN, DriveRun
from engines.biosiso.bmc.serve import DiscServer
from engines.biosiso.bmc.slot import boot_back, boot_now, eject, insert, put_back, take_out
from engines.biosiso.bmc.slot import override as override_of
from engines.biosiso.bmc.task import done
from engines.job.contract import CommandChange, Events, Finished, Log, StepEnded, StepStarted, Warned
from engines.job.errors import Failed
from engines.job.params import Secret


class InsertRun(DriveRun[Client, Order]):
    """One run by Redfish."""

    order_type: ClassVar[type[Order]] = Order
    server: DiscServer | None = None

    @override
    def _connect(self, secret: Secret) -> Client:
        session = str(self.plan.detail.get("session", ""))
        return Client(door(self.params), self.params.user, secret, session)

    @override
    def _serve(self, client: Client, order: Order, stack: ExitStack) -> None:
        if self.offer.file:
            self.server = stack.enter_context(self.offer.serve(self._peers()))

    @override
    def _seek(self, client: Client) -> Order:
        return seek(client, self.params, self.offer.url).order

    @override
    def _agreed_on(self, client: Client, order: Order) -> tuple[str, str, Sequence[CommandChange]]:
        where = f"host {Link(order.system).name}, slot {Link(order.slot).name}"
        return where, shown(order.image) or ("a disc" if order.held else "nothing"), requests(client, order)

    @override
    def _put_back(self, client: Client, order: Order) -> tuple[str, ...]:
        left = put_back(client, order, time.sleep, sent=self.sent)
        client.leave()
        return left

    @override
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
        client.leave()  # the wait may be long, and a BMC has few sessions

    def _insert(self, client: Client, order: Order) -> Events:
        self.sent = True
        if said := insert(client, order, self.sleep):
            yield Log(text=said)
        slot = until(
            lambda: client.get(order.slot, Slot),
            lambda slot: slot.holds and slot.has(order.url),
            self.sleep,
            client.patience,
        )
        if not (slot.holds and slot.has(order.url)):
            raise Failed(
                f"the BMC took the image, but its slot is {slot.said()}{self._turned_away()}",
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
            done(client, "PATCH", order.system, override_of(order), self.sleep)
        except Declined as declined:
            if declined.status == 401:
                raise
            yield Warned(text=f"the BMC refuses the one-time boot ({declined.said or declined.status}): {BOOT_MENU}")
            return
        boot = until(
            lambda: boot_now(client, order), lambda boot: taken(boot) and modal(boot), self.sleep, client.patience
        )
        if not taken(boot):
            yield Warned(text=f"the BMC took the one-time boot, but says {boot.said()}: {BOOT_MENU}")
            return
        if boot.enabled != "Once":
            yield Warned(text="the BMC says Continuous, not Once: every start comes from the disc until it is ejected")
        if not modal(boot):
            yield Warned(text=f"the BMC stays in mode {shown(boot.mode or '')}: a DOS disc starts in Legacy only")

    @override
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
        client.leave()

    @override
    def _finished(self, order: Order) -> Finished:
        fetched = {"bytes_fetched": self.server.sent} if self.server else {}
        return Finished(
            summary=f"the disc was in slot {Link(order.slot).name} of {self.params.bmc}, now out"
            f"{f'; the slot: {self.inside}' if self.inside else ''}{self._turned_away()}",
            result={"bmc": self.params.bmc, "system": order.system, "slot": order.slot, "url": order.url, **fetched},
            then=THEN,
        )
