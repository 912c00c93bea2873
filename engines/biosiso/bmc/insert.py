"""Puts a finished disc into a BMC's virtual CD for one start, and takes it out again; the host is never reset."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from typing_extensions import override

from engines.biosiso.bmc.aten import plan as share
from engines.biosiso.bmc.aten.run import ShareRun
from engines.biosiso.bmc.connection import Unanswered, shown
from engines.biosiso.bmc.insert_plan import InsertParams, disc, door, facts, requests, seek, steps, warnings
from engines.biosiso.bmc.insert_run import InsertRun
from engines.biosiso.bmc.redfish import Client
from engines.biosiso.bmc.resources import ROOT, Root
from engines.biosiso.bmc.run import Past
from engines.biosiso.bmc.serve import split
from engines.biosiso.results import Inserted
from engines.job.contract import Cancel, Context, Engine, Events, Finished, Plan, RunFailed, RunStopped
from engines.job.errors import BadParam, Failed, Refused
from engines.job.params import plain


class Insert(Engine[InsertParams]):
    """A finished ISO into a BMC by Redfish virtual media, or by an SMB share on boards that have none."""

    name: ClassVar[str] = "biosiso-insert"
    verb: ClassVar[str] = "insert"
    title: ClassVar[str] = "Put a disc into a BMC's virtual drive"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[Inserted]] = Inserted
    params: type[InsertParams] = InsertParams

    @override
    def target(self, params: InsertParams) -> str:
        """The BMC: one run at a time on it, whichever of its hosts."""
        where = door(params)
        return f"bmc {where.host.lower()}:{where.port}"

    @override
    def plan(self, params: InsertParams, cancel: Cancel) -> Plan:
        """Look at disc and BMC by GETs, with a login; without a password only at the front page.

        A BMC that takes no HTTP Basic is looked at in a session, and so are the pages; it is ended again.
        """
        try:
            if params.way == "smb":
                return self._by_share(params, cancel, "")
            return self._by_redfish(params, cancel)
        except BadParam:
            raise
        except (Unanswered, Refused) as failed:
            if params.way == "auto" and params.iso and share.speaks(params):
                return self._by_share(params, cancel, failed.why)
            raise Refused(failed.why, failed.what_helps) from None
        except Failed as failed:
            raise Refused(failed.why, failed.what_helps) from None

    def _by_redfish(self, params: InsertParams, cancel: Cancel) -> Plan:
        client = Client(door(params), params.user, params.password)
        try:
            root = client.get(ROOT, Root)
            cancel.check()
            offer = disc(params, cancel)
            found = seek(client, params, offer.url) if params.password else None
        finally:
            client.leave()
        service = f"{root.vendor or ''} {root.product or ''} Redfish {root.redfish_version or '(version not told)'}"
        order = found.order if found else None
        return Plan(
            task=self.name,
            target=f"BMC {params.bmc}",
            params=plain(params),
            steps=steps(params, order),
            changes=requests(client, order) if order else (),
            facts=(
                ("BMC", f"{client.door}, {shown(service.strip())}"),
                *facts(offer, params),
                *(found.facts if found else ()),
            ),
            warnings=(*warnings(params), *(found.warnings if found else ())),
            undo="ejects the disc if it is still in and brings the boot override back; a disc that was ejected to "
            "make room is not put in again",
            confirm=split(params.bmc, "bmc", 443)[0],
            detail={
                "way": "redfish",
                "offer": msgspec.to_builtins(offer),
                "order": msgspec.to_builtins(order),
                "session": client.by_session,
            },
            state={"disc": offer.sha256, "order": msgspec.to_builtins(order)},
        ).sealed()

    def _by_share(self, params: InsertParams, cancel: Cancel, no_redfish: str) -> Plan:
        try:
            return share.planned(self.name, params, cancel, no_redfish)
        except Failed as failed:
            raise Refused(failed.why, failed.what_helps) from None

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        """Insert, set the one-time boot, serve until told, eject, bring the override back."""
        return _run(plan, context).run()

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """Go on from what the BMC shows; a run that has taken everything back starts over."""
        past = Past.of(context)
        if isinstance(past.last, Finished):
            raise Refused("that run is finished and its disc is out", "start a new run")
        if isinstance(past.last, RunStopped | RunFailed):
            past = Past()
        return _run(plan, context, past).run()

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        """Eject what the run put in, bring the override or the share form back; what others did is left alone."""
        return _run(plan, context, Past.of(context)).undo()


def _run(plan: Plan, context: Context, past: Past | None = None) -> InsertRun | ShareRun:
    """The run of the way that was planned."""
    return (ShareRun if plan.detail["way"] == "smb" else InsertRun)(plan, context, past)
