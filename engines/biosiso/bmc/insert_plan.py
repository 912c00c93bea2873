"""What an insert will do, decided before it does it: parameters, steps, the exact requests, and what to be wary of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from engines.biosiso.bmc.connection import Door, shown
from engines.biosiso.bmc.redfish import Client
from engines.biosiso.bmc.resources import Boot, Link, Order
from engines.biosiso.bmc.serve import Offer, offer, split
from engines.biosiso.bmc.slot import EMPTY, bodies, boot_target, former, look, override
from engines.job.contract import Cancel, CommandChange, Step
from engines.job.errors import BadParam
from engines.job.params import Params, Secret, param

GOING_OUT = "the disc is being taken out, which is what Stop would do"
PIN = r"^(sha256:)?([0-9A-Fa-f]{2}:?){32}$"


class InsertParams(Params, frozen=True, kw_only=True):
    """Which disc goes into which BMC, and how the BMC is reached."""

    bmc: Annotated[
        str,
        param(
            "BMC", "host or host:port of the BMC, not of the host", kind="host", metavar="HOST[:PORT]", positional=True
        ),
    ]
    iso: Annotated[str, param("Disc", "the ISO that the host shall start from; served from here", kind="file")] = ""
    url: Annotated[str, param("URL", "where the ISO already lies for the BMC, instead of serving it from here")] = ""
    way: Annotated[
        Literal["auto", "redfish", "smb"],
        param(
            "Way",
            "redfish; or smb, a share of this machine (root, samba) for boards of the X9 and X10 age; auto takes smb "
            "where one has no Redfish drive",
        ),
    ] = "auto"
    user: Annotated[str, param("User", "the BMC's user; needs the right to virtual media")] = "ADMIN"
    password: Annotated[
        Secret | None, param("Password", "the BMC's; without it the plan stops at the front page and the run asks")
    ] = None
    system: Annotated[str, param("System", "id of the host, where the BMC has several")] = ""
    slot: Annotated[str, param("Slot", "id of the CD slot, where the BMC has several")] = ""
    boot_once: Annotated[bool, param("Boot once", "have the next start come from the disc, once")] = True
    boot_mode: Annotated[
        Literal["Legacy", "UEFI", "unchanged"],
        param("Boot mode", "a DOS disc starts in Legacy only; unchanged for BMCs that let nobody set it"),
    ] = "Legacy"
    eject_after: Annotated[
        float,
        param(
            "Eject after", "minutes until the disc is ejected unasked; 0 asks, and Stop always ejects", ge=0, le=1440
        ),
    ] = 0.0
    listen: Annotated[
        str,
        param(
            "Serve at", "address of this machine that the BMC reaches, if not the obvious one", metavar="ADDRESS[:PORT]"
        ),
    ] = ""
    fetch_from: Annotated[
        str, param("Fetched from", "address that the BMC's fetches come from, if not its own (NAT)")
    ] = ""
    fingerprint: Annotated[
        str,
        param(
            "Fingerprint",
            "SHA-256 of the BMC's certificate, read on its own page: trusts just that one",
            pattern=f"{PIN}|^$",
            allowed="sha256: and 64 hex digits",
        ),
    ] = ""
    ca_file: Annotated[
        str, param("CA file", "PEM file of the authority that signed the BMC's certificate", kind="file")
    ] = ""
    insecure_http: Annotated[bool, param("Plain http", "send the password unencrypted: only on a wire you own")] = False
    timeout: Annotated[float, param("Time-out", "seconds that one answer of the BMC may take", ge=0.5, le=600)] = 30.0

    def __post_init__(self) -> None:
        """Check what spans several parameters."""
        split(self.bmc, "bmc", 443)
        if bool(self.iso) == bool(self.url):
            raise BadParam("iso", self.iso, "a file, unless --url is given: exactly one of the two")
        if self.url:
            if self.way == "smb":
                raise BadParam("url", self.url, "nothing, with --way smb: the disc is shared from here; give --iso")
            _check_url(self.url)
        if ":" in self.user:
            raise BadParam("user", self.user, "a name without a colon (HTTP Basic login knows no other)")
        if self.insecure_http and (self.fingerprint or self.ca_file):
            raise BadParam("insecure_http", True, "no, where fingerprint or ca_file is given")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        fit = False
    if not fit or not url.isascii() or any(char.isspace() for char in url):
        raise BadParam("url", url.split("@")[-1], "an http or https address without user and password")


def door(params: InsertParams) -> Door:
    """How the BMC is reached."""
    host, port = split(params.bmc, "bmc", 80 if params.insecure_http else 443)
    return Door(
        host=host,
        port=port,
        https=not params.insecure_http,
        ca_file=params.ca_file,
        fingerprint=params.fingerprint.lower().removeprefix("sha256:").replace(":", ""),
        timeout=params.timeout,
    )


def disc(params: InsertParams, cancel: Cancel) -> Offer:
    """The disc and where the BMC fetches it. Raises Refused or Failed."""
    if params.url:
        return Offer(url=params.url)
    where = door(params)
    return offer(Path(params.iso), params.listen, (where.host, where.port), cancel)


class Found(msgspec.Struct, frozen=True):
    """What a logged-in look saw: what to do, and lines for the review page."""

    order: Order
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def seek(client: Client, params: InsertParams, url: str) -> Found:
    """Look at host and slot by GETs, and decide. Raises Refused or Failed."""
    where, host, at, slot = look(client, params.system, params.slot)
    boot = host.boot or Boot()
    acts = slot.actions if slot.acts == "POST" else None
    order = Order(
        system=where,
        slot=at,
        insert=client.own(acts.insert.target) if acts and acts.insert else at,
        eject=client.own(acts.eject.target) if acts and acts.eject else at,
        url=url,
        target=boot_target(host) if params.boot_once else "",
        mode="" if params.boot_mode == "unchanged" or boot.mode is None else params.boot_mode,
        boot=boot,
        held=slot.holds,
        image=slot.image or "",
        by="POST" if acts else "PATCH",
    )
    said = [host.name, host.manufacturer, host.model, host.serial_number and f"serial {host.serial_number}"]
    facts: tuple[tuple[str, str], ...] = (
        ("host", f"{Link(where).name}: " + (shown(", ".join(part for part in said if part)) or "unnamed")),
        ("host's power", shown(host.power_state or "not told")),
        ("slot", Link(at).name),
        ("in the slot now", slot.said()),
        ("boot override now", boot.said()),
    )
    facts += (("login", BY_SESSION),) if client.by_session else ()
    wary = _wary(order, slot.said())
    if params.boot_once and not order.target:
        wary = (f"this BMC offers no one-time boot from a CD: {BOOT_MENU}", *wary)
    return Found(order, facts, wary)


BY_SESSION = "by a session that is ended again: this BMC lets nobody in by HTTP Basic"
BOOT_MENU = "choose the virtual CD in the boot menu (F11) at the reset"


def _wary(order: Order, inside: str) -> tuple[str, ...]:
    found = []
    if order.held:
        found.append(f"the slot holds {inside}: it is ejected and not put in again; make sure that nobody uses it")
    if order.target and order.mode and order.boot.mode not in (None, order.mode):
        found.append(
            f"the host starts in mode {shown(order.boot.mode or '')}; this start is set to {order.mode}, "
            "which a board with CSM switched off does not follow"
        )
    return tuple(found)


def warnings(params: InsertParams) -> tuple[str, ...]:
    """What is known before the BMC is asked."""
    found = []
    if params.insecure_http:
        found.append("plain http: the BMC's password crosses the wire unencrypted, and anyone may answer in its place")
    if params.password is None:
        found.append(
            "without a password only the BMC's front page was read: the run asks for it, looks, shows "
            "the exact requests and asks again before it sends them"
        )
    if not params.eject_after:
        found.append("the run asks before it ejects and waits as long as it takes; eject_after gives it a time instead")
    return tuple(found)


def facts(found: Offer, params: InsertParams) -> tuple[tuple[str, str], ...]:
    """The disc, for the review page."""
    if not found.file:
        return (("disc", found.url),)
    to = params.fetch_from or door(params).host
    return (
        ("disc", f"{found.file}, {found.size} bytes, SHA-256 {found.sha256}"),
        ("served at", f"{found.url}, to {to} only"),
    )


def steps(params: InsertParams, order: Order | None) -> tuple[Step, ...]:
    """The run's steps; without an order, those that may be needed."""
    boot = params.boot_once and (order is None or bool(order.target))
    full = order is None or order.held or bool(order.image)
    wait = f"Keep it in for {params.eject_after:g} min" if params.eject_after else "Keep it in until you say so"
    found = [
        Step(id="look", title="Log in, and compare the BMC with the plan"),
        Step(id="eject-old", title="Empty the slot") if full else None,
        Step(id="insert", title="Insert the disc"),
        Step(id="boot-once", title="Set the next start to the disc, once") if boot else None,
        Step(id="keep", title=f"{wait}: you reset the host"),
        Step(id="eject", title="Eject the disc", no_stop=GOING_OUT),
        Step(id="boot-back", title="Bring the boot override back", no_stop=GOING_OUT) if boot else None,
    ]
    return tuple(step for step in found if step)


def _session(client: Client) -> CommandChange:
    return CommandChange(
        where=str(client.door),
        command=f"POST {client.by_session} with user and password",
        expects="201 and a token; the session is deleted when the run waits and when it ends",
    )


def requests(client: Client, order: Order) -> tuple[CommandChange, ...]:
    """The exact requests, in the order they are sent."""

    def sent(method: str, path: str, body: object, expects: str) -> CommandChange:
        text = msgspec.json.encode(body).decode()
        return CommandChange(where=str(client.door), command=f"{method} {path} {text}", expects=expects)

    again = "200 or 204 (where the ETag is asked for, once more with it; where it is refused, the run goes on without)"
    first, full = bodies(order.url)
    more = f"where it asks for {', '.join(list(full)[1:])}: once more with them"
    empty: dict[str, object] = {}
    if order.by == "PATCH":
        first, empty = first | {"Inserted": True}, EMPTY[0]
        more = f"{more}, or without what it refuses by name"
    out = sent(order.by, order.eject, empty, "200, 202 or 204, then the slot is empty")
    found = [_session(client)] if client.by_session else []
    found += [out] if order.held or order.image else []
    found.append(sent(order.by, order.insert, first, f"200, 202 or 204, then the slot holds this image; {more}"))
    if order.target:
        found.append(sent("PATCH", order.system, override(order), f"{again}, then target {order.target}, Once"))
    found.append(out)
    if order.target:
        back = former(order.boot, order.mode)
        found.append(sent("PATCH", order.system, back, f"{again}; not sent where the start has already used it up"))
    return tuple(found)
