"""One host's virtual CD slot and its boot override, as its BMC tells them, and what puts both back.

Sources: DMTF DSP0268; for SuperMicro's ways ansible-collections/community.general 4839, 6969, 7470 and
DMTF/Redfishtool 106.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from engines.biosiso.bmc.connection import BY_HAND, shown
from engines.biosiso.bmc.pages import listed
from engines.biosiso.bmc.redfish import Client, Declined, until
from engines.biosiso.bmc.resources import (
    ROOT,
    Boot,
    Link,
    Manager,
    Order,
    Root,
    Slot,
    System,
)
from engines.biosiso.bmc.task import Sleep, done
from engines.job.errors import Failed, Refused

MOST = 16  # slots of one host that are looked at; real ones have 1 to 4


def look(client: Client, system: str, slot: str) -> tuple[str, System, str, Slot]:
    """Path and resource of the host and of its CD slot; `system` and `slot` are ids or empty. Raises Refused."""
    root = client.get(ROOT, Root)
    if root.systems is None:
        raise Refused(f"{client.door} speaks Redfish but lists no systems", BY_HAND)
    hosts = listed(client, root.systems.path)
    if hosts.missing and not system:
        names = ", ".join(shown(link.name, 40) for link in hosts.members) or "none"
        raise Refused(f"this BMC counts more systems than it lists ({names})", "give system, the id of the host meant")
    where = _pick("system", system, {link.path: link for link in hosts.members})
    host = client.get(where, System)
    slots = _slots(client, host)
    return where, host, (at := _slot(slot, slots)), slots[at]


def _slot(wanted: str, slots: dict[str, Slot]) -> str:
    """The wanted slot, the only one, or the first empty one. Raises Refused."""
    empty = [path for path, slot in slots.items() if not slot.holds]
    if not wanted and len(slots) > 1:
        if empty:
            return empty[0]
        held = "; ".join(f"{shown(Link(path).name, 40)} holds {slot.said()}" for path, slot in slots.items())
        raise Refused(f"this BMC has {len(slots)} CD slots and none is empty: {held}", "give slot, one of them")
    return _pick("slot", wanted, {path: Link(path) for path in slots})


def _slots(client: Client, host: System) -> dict[str, Slot]:
    """By path: slots that take a CD by the standard's action, or by their own properties where they have no action;
    of the host, or else of the BMCs that manage it.

    Raises Refused with what was seen instead.
    """
    managers = host.links.managed_by if host.links and host.links.managed_by else []
    seen: list[str] = []
    found = _takes_cd(client, [host.virtual_media] if host.virtual_media else [], seen)
    if not found:
        homes = [_home_at(client, link, seen) for link in managers[:MOST]]
        found = _takes_cd(client, [home for home in homes if home], seen)
    if not found:
        what = "; ".join(seen) or "no VirtualMedia at the host, nor at its manager"
        raise Refused(f"this BMC offers no CD slot that can be filled by Redfish InsertMedia; seen: {what}", BY_HAND)
    return found


def _home_at(client: Client, manager: Link, seen: list[str]) -> Link | None:
    try:
        return client.get(manager.path, Manager).virtual_media
    except Declined as declined:
        seen.append(shown(f"{manager.path} (named, and answered {declined.status}: {declined.said or 'no reason'})"))
        return None


def _seen(link: Link, slot: Slot) -> str:
    names = [name for name in slot.named or {} if name != "Oem"]
    oem = slot.named.get("Oem") if slot.named else None
    names += [f"Oem {name}" for name in oem] if isinstance(oem, dict) else []
    return shown(
        f"{link.name} (media {', '.join(slot.media_types or []) or 'not told'}; actions {', '.join(names) or 'none'})"
    )


def _takes_cd(client: Client, homes: Iterable[Link], seen: list[str]) -> dict[str, Slot]:
    found: dict[str, Slot] = {}
    for home in homes:
        try:
            members = listed(client, home.path).members[:MOST]
        except Declined as declined:  # named, and not there: a manager may have them
            seen.append(shown(f"{home.path} (named, and answered {declined.status}: {declined.said or 'no reason'})"))
            continue
        seen += [] if members else [f"{shown(home.path)} is empty"]
        for link in members:
            try:
                slot = _slot_at(client, link.path)
            except Declined as declined:  # listed, and not there: the others may do
                seen.append(shown(f"{link.name} (listed, and answered {declined.status})"))
                continue
            seen.append(_seen(link, slot))
            types = slot.media_types or ["CD" if "cd" in link.name.lower() else ""]
            if {"CD", "DVD"} & set(types) and slot.acts:
                found[link.path] = slot
    return found


def _slot_at(client: Client, path: str) -> Slot:
    """A slot, and whether its Image may be set: by its Allow header, or where it has no actions (DSP0268, Image)."""
    answer = client.fetch(path)
    client.judge(answer, "GET", path)
    slot = client.decode(answer, path, Slot)
    names = client.decode(answer, path, dict)
    bare = not slot.named and "Inserted" in names
    settable = "Image" in names and ("PATCH" in answer.allow.upper() if answer.allow else bare)
    return msgspec.structs.replace(slot, settable=settable)


def _pick(param: str, wanted: str, found: dict[str, Link]) -> str:
    names = ", ".join(shown(link.name, 40) for link in found.values())
    fit = [path for path, link in found.items() if not wanted or link.name == wanted]
    if len(fit) == 1:
        return fit[0]
    if not found:
        kind = "no system" if param == "system" else "no CD slot that can be filled by Redfish InsertMedia"
        raise Refused(f"this BMC offers {kind}", BY_HAND)
    if fit:
        raise Refused(f"this BMC has {len(found)} choices for {param}: {names}", f"give {param}, one of them")
    raise Refused(f"{param} is {wanted!r}, allowed is one of {names}", f"correct {param}")


def boot_target(host: System) -> str:
    """The override that means the virtual CD; empty where the BMC offers none."""
    offered = host.boot.targets if host.boot else None
    supermicro = "supermicro" in (host.manufacturer or "").lower().replace(" ", "")
    order = ("UsbCd", "Cd") if supermicro else ("Cd", "UsbCd")  # SuperMicro's Cd is a drive of its own
    for target in order:
        if target in (offered or ["Cd"]):
            return target
    return ""


MISSING = re.compile(r"missing|required|must be (given|specified|supplied)", re.IGNORECASE)
UNKNOWN = re.compile(
    r"unknown|not in the list|not (supported|allowed|valid|writable|recogni[sz]ed)|invalid|read.?only|be assigned",
    re.IGNORECASE,
)
EMPTY: tuple[dict[str, Any], ...] = ({"Image": None, "Inserted": False}, {"Image": None}, {"Image": ""})
"""What a slot without actions is emptied by: BMCs take one or another (ansible-collections/community.general 4839)."""
FULL = {"Inserted": True, "WriteProtected": True, "TransferMethod": "Stream", "TransferProtocolType": "HTTP"}


def bodies(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What InsertMedia is sent, and what it may be sent where it asks for more."""
    first: dict[str, Any] = {"Image": url}
    return first, first | FULL | ({"TransferProtocolType": "HTTPS"} if url.startswith("https:") else {})


def insert(client: Client, order: Order, sleep: Sleep) -> str:
    """Put the disc in; again with the properties that the BMC asks for, which is said in words. Raises Failed.

    SuperMicro refuses the optional properties, others demand them: what is not asked for is not sent, and what was
    refused by its name is not sent again.
    """
    first, full = bodies(order.url)
    asked = ["Inserted"] if order.by == "PATCH" else []
    unknown: list[str] = []
    reasons: list[str] = []
    for _ in range(2 * len(FULL) + 1):
        body = first | {name: full[name] for name in FULL if name in asked}
        try:
            done(client, order.by, order.insert, body, sleep)
            break
        except Declined as declined:
            refused = _refused(declined, asked)
            more = [] if refused else _wanted(declined, [*asked, *unknown])
            if not more and not refused:
                raise
            asked, unknown = [name for name in (*asked, *more) if name not in refused], [*unknown, *refused]
            reasons.append(declined.said)
    what = "InsertMedia asked for more" if order.by == "POST" else "the slot asked for other properties"
    return f"{what} ({'; '.join(reasons)}): sent with {', '.join(list(body)[1:]) or 'Image alone'}" if reasons else ""


def _refused(declined: Declined, asked: list[str]) -> list[str]:
    """Those of the properties that were sent which the refusal names as not known, or not to be set."""
    if declined.status not in (400, 422) or not UNKNOWN.search(declined.said):
        return []
    return [name for name in asked if name.lower() in declined.said.lower().replace(" ", "")]


def _wanted(declined: Declined, asked: list[str]) -> list[str]:
    """The properties that a refusal asks for: those it names, or all where it only says that something is missing."""
    if declined.status not in (400, 422):
        return []
    words = declined.said.lower().replace(" ", "")
    named = [name for name in FULL if name.lower() in words and name not in asked]
    if named or not MISSING.search(declined.said):
        return named
    return [name for name in FULL if name not in asked]


def override(order: Order) -> dict[str, Any]:
    """The PATCH that boots from the slot once."""
    boot = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": order.target}
    return {"Boot": boot | ({"BootSourceOverrideMode": order.mode} if order.mode else {})}


def former(was: Boot, mode: str) -> dict[str, Any]:
    """The PATCH that brings the override back to `was`; with its mode only where this run sets a `mode`."""
    boot = {
        "BootSourceOverrideEnabled": was.enabled or "Disabled",
        "BootSourceOverrideTarget": was.target or "None",
    }
    return {"Boot": boot | ({"BootSourceOverrideMode": was.mode} if mode and was.mode else {})}


def boot_now(client: Client, order: Order) -> Boot:
    """The override as it stands."""
    return client.get(order.system, System).boot or Boot()


def take_out(client: Client, order: Order, sleep: Sleep, *, sent: bool) -> str:
    """Eject what this run put in, and say what was found. `sent`: an insert may be under way. Raises Failed."""
    slot = client.get(order.slot, Slot)
    if slot.holds and not slot.has(order.url):
        return f"slot {Link(order.slot).name} holds {slot.said()}, which this run did not put in: left alone"
    if not slot.has(order.url) and not sent:
        return f"slot {Link(order.slot).name} is empty"
    eject(client, order, sleep)
    return f"the disc is out of slot {Link(order.slot).name}"


def eject(client: Client, order: Order, sleep: Sleep) -> None:
    """Empty the slot; an error to it counts only where a disc stays in. Raises Failed."""
    error = Failed(
        f"slot {Link(order.slot).name} still holds a disc after {'EjectMedia' if order.by == 'POST' else 'its PATCH'}",
        "eject it on the BMC's own page, Virtual Media",
    )
    bodies = EMPTY if order.by == "PATCH" else ({},)
    for left in range(len(bodies) - 1, -1, -1):
        try:
            done(client, order.by, order.eject, bodies[-1 - left], sleep)
        except Failed as failed:
            error, declined = failed, isinstance(failed, Declined) and failed.status in (400, 422)
            if declined and left:
                continue
            left = left if declined else 0
        within = client.patience / len(bodies) if left else client.patience
        if not until(lambda: client.get(order.slot, Slot), _empty, sleep, within).holds:
            return  # a BMC may answer 200 to a form that it does not know, and keep the disc
        if not left:
            break
    raise error


def _empty(slot: Slot) -> bool:
    return not slot.holds


def boot_back(client: Client, order: Order, sleep: Sleep) -> str:
    """Bring the boot override back where it still is this run's, and say what was found. Raises Failed."""
    if not order.target:
        return "the boot override was not part of this run"
    now, want = boot_now(client, order), order.boot
    if want.enabled == "Once" and now.enabled == "Disabled":
        want = Boot(enabled="Disabled", target="None", mode=want.mode)  # a reset has used it up meanwhile
    if _alike(now, want, order.mode):
        return f"the boot override is {now.said()}, as before"
    if now.enabled != "Disabled" and now.target != order.target:
        return f"the boot override was changed by someone else to {now.said()}: left alone"
    done(client, "PATCH", order.system, former(want, order.mode), sleep)
    seen = until(
        lambda: boot_now(client, order), lambda boot: _alike(boot, want, order.mode), sleep, client.door.timeout
    )
    if not _alike(seen, want, order.mode):
        raise Failed(
            f"the BMC says {seen.said()} after the boot override was set back to {want.said()}",
            "set it on the BMC's own page before the next reset",
        )
    return f"the boot override is back to {want.said()}"


def _alike(now: Boot, want: Boot, mode: str) -> bool:
    """Whether two overrides mean the same; the target of one that is off means nothing, nor a mode never set."""
    off = want.enabled in ("Disabled", None)
    same = now.enabled in ("Disabled", None) if off else (now.enabled, now.target) == (want.enabled, want.target)
    return same and (not mode or want.mode in (None, now.mode))


def put_back(client: Client, order: Order, sleep: Sleep, *, sent: bool) -> tuple[str, ...]:
    """Take everything back as far as the BMC lets it; what was left behind."""
    left: list[str] = []
    acts: tuple[tuple[str, Callable[[], str]], ...] = (
        (f"the disc in slot {Link(order.slot).name}", lambda: take_out(client, order, sleep, sent=sent)),
        ("the boot override", lambda: boot_back(client, order, sleep)),
    )
    for name, act in acts:
        try:
            act()
        except Failed as failed:
            left.append(f"{name} at {client.door}: {failed.why}")
    return tuple(left)
