"""What an insert by SMB share will do, decided before it does it: the share, steps, exact requests, warnings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from engines.biosiso.bmc.aten.drive import EMPTY, FORMS, SHARED, Drive, Settings, ShareOrder, dialect
from engines.biosiso.bmc.aten.samba import PORT, program
from engines.biosiso.bmc.aten.session import MAKER, Session
from engines.biosiso.bmc.connection import BY_HAND, shown
from engines.biosiso.bmc.insert_plan import BOOT_MENU, GOING_OUT, InsertParams, door
from engines.biosiso.bmc.insert_plan import warnings as base_warnings
from engines.biosiso.bmc.serve import Offer, digest, facing, free, one_address, split
from engines.host.holder import boot_id
from engines.job.contract import Cancel, CommandChange, Plan, Step
from engines.job.errors import BadParam, Failed, Refused
from engines.job.params import plain

GUEST = "guest"  # user and password of the share: whoever is named is the guest, but firmware may want a name
NAME = re.compile(r"[^A-Za-z0-9_.-]")


def speaks(params: InsertParams) -> bool:
    """Whether the BMC's front page is an ATEN one; an answer that fails is none."""
    try:
        return bool(MAKER.search(Session(door(params)).front()))
    except Failed:
        return False


def offered(params: InsertParams, cancel: Cancel) -> Offer:
    """The disc and the share that it is given by. Raises Refused or Failed."""
    program()
    iso, where = Path(params.iso), door(params)
    sha256 = digest(iso, cancel)
    address, port = split(params.listen, "listen", PORT) if params.listen else (facing(where.host, where.port), PORT)
    one_address(address, params.listen)
    if ":" in address:
        raise BadParam("listen", address, "an IPv4 address: the pages of such a BMC take no other")
    try:
        free((address, port))
    except Failed as failed:
        raise Refused(
            f"{failed.why}: the SMB share has to stand there",
            "another SMB server on this machine? systemctl stop smbd; or give listen=ADDRESS of another of its own",
        ) from None
    share = "d" + hashlib.sha256(f"{boot_id()} {sha256} {where.host}:{where.port}".encode()).hexdigest()[:11]
    name = NAME.sub("_", iso.name.removesuffix(".iso"))[:24] + ".iso"
    return Offer(
        url=f"smb://{address}{'' if port == PORT else f':{port}'}/{share}/{name}",
        file=str(iso.resolve()),
        size=iso.stat().st_size,
        sha256=sha256,
        address=address,
        port=port,
    )


def named(offer: Offer) -> tuple[str, str]:
    """Share and file name of an offer."""
    share, name = offer.url.rsplit("/", 2)[1:]
    return share, name


class Seen(msgspec.Struct, frozen=True):
    """What a logged-in look saw: what to do, and lines for the review page."""

    order: ShareOrder
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def seek(session: Session, offer: Offer) -> tuple[Seen, Drive]:
    """Look at drive and form, and decide. Raises Refused or Failed."""
    drive = Drive(session, dialect(session))
    state, was = drive.state(), drive.settings()
    if state not in (EMPTY, SHARED):
        raise Refused(
            f"the virtual CD drive is taken by something that is no share (status {state}), such as a console's disc",
            "end that console's virtual media first",
        )
    share, name = named(offer)
    order = ShareOrder(
        dialect=drive.dialect, host=offer.address, path=f"\\{share}\\{name}", was=was, held=state == SHARED
    )
    facts = (
        ("in the drive now", "a disc from a share" if order.held else "nothing"),
        ("share form now", shown(was.said()) if was else "not told"),
    )
    return Seen(order, facts, _wary(order)), drive


def _wary(order: ShareOrder) -> tuple[str, ...]:
    found = []
    if order.held:
        inside = order.was.said() if order.was else "a disc"
        found.append(f"the drive holds {inside}: it is unmounted and not put in again; make sure that nobody uses it")
    if order.was and order.was.secret:
        found.append(
            "a password stands in the BMC's share form: it is put back where this run ends by itself, "
            "and has to be typed anew where it is killed and taken back later"
        )
    if order.was is None:
        found.append("the BMC does not tell what its share form holds: it is overwritten and left empty")
    return tuple(found)


def warnings(params: InsertParams, offer: Offer) -> tuple[str, ...]:
    """What is known before the BMC is asked."""
    found = [
        "this way was tried on an emulation of such a BMC's pages, never on a real one",
        "the share allows SMB 1 without a password, as such a BMC needs: it holds this one file, read-only, "
        "answers the BMC alone, and ends with the run",
    ]
    if offer.port != PORT:
        found.append(f"such a BMC asks port {PORT}: something has to lead it to port {offer.port}")
    if params.boot_once:
        found.append(f"these pages set no one-time boot: {BOOT_MENU}")
    return tuple(found)


def facts(offer: Offer, params: InsertParams) -> tuple[tuple[str, str], ...]:
    """The disc and its share, for the review page."""
    to = params.fetch_from or door(params).host
    return (
        ("way", "an SMB share, named to the BMC on its own pages"),
        ("disc", f"{offer.file}, {offer.size} bytes, SHA-256 {offer.sha256}"),
        ("shared at", f"{offer.url}, read-only, to {to} only"),
    )


def steps(params: InsertParams, order: ShareOrder | None) -> tuple[Step, ...]:
    """The run's steps; without an order, those that may be needed."""
    wait = f"Keep it in for {params.eject_after:g} min" if params.eject_after else "Keep it in until you say so"
    found = [
        Step(id="look", title="Log in, and compare the BMC with the plan; start the share"),
        Step(id="eject-old", title="Empty the drive") if order is None or order.held else None,
        Step(id="insert", title="Name the share to the BMC, and mount it"),
        Step(id="keep", title=f"{wait}: you reset the host"),
        Step(id="eject", title="Unmount the disc", no_stop=GOING_OUT),
        Step(id="form-back", title="Bring the share form back, and end the share", no_stop=GOING_OUT),
    ]
    return tuple(step for step in found if step)


def requests(session: Session, order: ShareOrder) -> tuple[CommandChange, ...]:
    """The exact requests, in the order they are sent; a login and a logout stand around them."""

    def sent(what: str, expects: str, **fields: str) -> CommandChange:
        path, own = FORMS[order.dialect][what]
        text = urlencode({**own, **(fields or {"time_stamp": "0"})})
        return CommandChange(where=str(session.door), command=f"POST {path} {text}", expects=expects)

    def form(now: Settings, user: str, pwd: str) -> CommandChange:
        return sent("set", "ok, then the form names it", host=now.host, path=now.path, user=user, pwd=pwd)

    out = sent("unmount", "then the drive's status is 255")
    was = order.was or Settings()
    return (
        *((out,) if order.held else ()),
        form(Settings(host=order.host, path=order.path), GUEST, GUEST),
        sent("mount", "then the drive's status is 4"),
        out,
        form(was, was.user, "<as before>" if was.secret else ""),
    )


def unreachable(met: int, strangers: Sequence[str], said: str) -> Failed:
    """Why a mount came to nothing, by what the share saw of it."""
    if strangers:
        who = f"{', '.join(strangers)} asked for the share and was turned away, as not the BMC"
    elif met:
        who = f"it asked the share {met} times"
    else:
        who = "it never asked the share"
    helps = (
        "see that the BMC reaches port 445 of this machine (firewall, VLAN); listen or fetch_from may have to be given"
    )
    return Failed(f"the BMC answers {said!r} to the mount, but its drive stays empty; {who}", f"{helps}; or {BY_HAND}")


def planned(task: str, params: InsertParams, cancel: Cancel, no_redfish: str) -> Plan:
    """The whole plan; `no_redfish` is why the other way was not taken, empty where this one was asked for.

    Raises Refused or Failed.
    """
    offer = offered(params, cancel)
    session = Session(door(params), params.user, params.password)
    if not MAKER.search(session.front()):
        raise Refused(f"{session.door} shows no page of an ATEN BMC", BY_HAND)
    cancel.check()
    try:
        seen = seek(session, offer)[0] if params.password else None
    finally:
        session.leave()
    order = msgspec.to_builtins(seen.order) if seen else None
    return Plan(
        task=task,
        target=f"BMC {params.bmc}",
        params=plain(params),
        steps=steps(params, seen.order if seen else None),
        changes=requests(session, seen.order) if seen else (),
        facts=(
            ("BMC", f"{session.door}, pages of an ATEN BMC"),
            *((("Redfish", no_redfish),) if no_redfish else ()),
            *facts(offer, params),
            *(seen.facts if seen else ()),
        ),
        warnings=(*base_warnings(params), *warnings(params, offer), *(seen.warnings if seen else ())),
        undo="unmounts the disc if it is still in and brings the share form back, less a password that stood in it; "
        "a disc that was unmounted to make room is not put in again",
        confirm=split(params.bmc, "bmc", 443)[0],
        detail={"way": "smb", "offer": msgspec.to_builtins(offer), "order": order},
        state={"way": "smb", "disc": offer.sha256, "order": order},
    ).sealed()
