"""A run by SMB share: the board's own pages are told of the share, and both drive and form are put back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from engines.biosiso.bmc.aten.drive import (
    EMPTY,
    SHARED,
    Drive,
    ShareOrder,
    eject,
    ours,
    put_back,
    settings_back,
    take_out,
)
from engines.biosiso.bmc.aten.plan import GUEST, named, requests, seek, unreachable
from engines.biosiso.bmc.aten.relay import Relay
from engines.biosiso.bmc.aten.samba import Samba
from engines.biosiso.bmc.aten.session import Session
from engines.biosiso.bmc.insert_plan import BOOT_MENU, door
from engines.biosiso.bmc.redfish import until
from engines.biosiso.bmc.run import THEN, DriveRun
from engines.job.contract import CommandChange, Events, Finished, Log, StepEnded, StepStarted, Warned
from engines.job.errors import Failed
from engines.job.params import Secret


class ShareRun(DriveRun[Session, ShareOrder]):
    """One run by SMB share."""

    order_type: ClassVar[type[ShareOrder]] = ShareOrder
    relay: Relay | None = None
    secret: Secret | None = None  # what stood in the form; not known to a run that goes on from another

    @override
    def _connect(self, secret: Secret) -> Session:
        return Session(door(self.params), self.params.user, secret)

    @override
    def _serve(self, client: Session, order: ShareOrder, stack: ExitStack) -> None:
        share, name = named(self.offer)
        samba = stack.enter_context(Samba(Path(self.offer.file), share, name))
        self.relay = stack.enter_context(Relay(samba, (self.offer.address, self.offer.port), self._peers()))

    @override
    def _seek(self, client: Session) -> ShareOrder:
        seen, drive = seek(client, self.offer)
        self.secret = drive.password
        return seen.order

    @override
    def _agreed_on(self, client: Session, order: ShareOrder) -> tuple[str, str, Sequence[CommandChange]]:
        there = order.was.said() if order.held and order.was else "a disc" if order.held else "nothing"
        return "the virtual CD drive", there, requests(client, order)

    @override
    def _into(self, client: Session, order: ShareOrder) -> Events:
        drive = Drive(client, order.dialect)
        state, now = drive.state(), drive.settings()
        there = state == SHARED and self.sent and now is not None and ours(order, now)
        if state != EMPTY and not there and ("eject-old" in self.past.ended or not order.held):
            raise Failed(
                f"the drive now holds {now.said() if now else 'a disc'}", "find out who put it in, then start anew"
            )
        if any(step.id == "eject-old" for step in self.plan.steps):
            yield StepStarted(step="eject-old")
            if not there and state != EMPTY:
                eject(drive, self.sleep)
            yield StepEnded(step="eject-old")
        yield StepStarted(step="insert")
        if not there:
            yield from self._mount(drive, order)
        client.leave()  # the wait may be long, and such a BMC has few sessions
        yield StepEnded(step="insert")

    def _mount(self, drive: Drive, order: ShareOrder) -> Events:
        self.sent = True
        drive.name(order.host, order.path, GUEST, GUEST)
        now = drive.settings()
        if now is not None and not ours(order, now):
            raise Failed(f"the BMC was told {order.path}, but its form names {now.said()}", "see the BMC's own page")
        said = drive.mount()
        if until(drive.state, lambda state: state == SHARED, self.sleep, drive.session.door.timeout) != SHARED:
            assert self.relay is not None
            raise unreachable(self.relay.met, sorted(self.relay.strangers), said)
        yield Log(text=f"the drive holds \\\\{order.host}{order.path}; the BMC says {said}")
        yield Log(text=f"these pages set no one-time boot: {BOOT_MENU}")

    @override
    def _out(self, client: Session, order: ShareOrder) -> Events:
        drive = Drive(client, order.dialect)
        yield StepStarted(step="eject")
        yield Log(text=take_out(drive, order, self.sleep, sent=self.sent))
        yield StepEnded(step="eject")
        yield StepStarted(step="form-back")
        try:
            said, whole = settings_back(drive, order, self.secret)
        except Failed as failed:  # the disc is out: a form that names a share that has ended does no harm
            said, whole = f"{failed.why}: it still names a share that has ended", False
        self.inside = "" if whole else said
        yield Log(text=said) if whole else Warned(text=said)
        client.leave()
        yield StepEnded(step="form-back")

    @override
    def _put_back(self, client: Session, order: ShareOrder) -> tuple[str, ...]:
        left = put_back(Drive(client, order.dialect), order, self.secret, time.sleep, sent=self.sent)
        client.leave()
        return left

    @override
    def _finished(self, order: ShareOrder) -> Finished:
        fetched = {"bytes_fetched": self.relay.sent} if self.relay else {}
        return Finished(
            summary=f"the disc was in the virtual CD drive of {self.params.bmc}, now out, and its share has ended"
            f"{f'; {self.inside}' if self.inside else ''}",
            result={"bmc": self.params.bmc, "system": "", "slot": "", "url": self.offer.url, **fetched},
            then=THEN,
        )
