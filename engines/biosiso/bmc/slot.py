"""One host's virtual CD slot and its boot override, as its BMC tells them, and what puts both back.

Sources: DMTF DSP0268; for SuperMicro's ways ansible-collections/community.general 4839, 6969, 7470 and
DMTF/Redfishtool 106.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from engines.biosiso.bmc.redfish import BY_HAND, Client, shown, until
from engines.job.errors import Failed, Refused

ROOT = "/redfish/v1/"
MOST = 16  # members of a collection that are looked at; real ones have 1 to 4
Sleep = Callable[[float], None]


class Link(msgspec.Struct, frozen=True):
    """A reference to another resource; `path` is as the BMC gave it, unchecked."""

    path: str = msgspec.field(name="@odata.id")

    @property
    def name(self) -> str:
        """Its last part, which is the resource's id."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]


class Root(msgspec.Struct, frozen=True, rename="pascal"):
    """The front page, readable without a login."""

    redfish_version: str | None = None
    product: str | None = None
    vendor: str | None = None
    systems: Link | None = None


class Collection(msgspec.Struct, frozen=True, rename="pascal"):
    """Links to resources of one kind."""

    members: list[Link]


class Boot(msgspec.Struct, frozen=True):
    """A boot override; None where the BMC does not tell."""

    enabled: str | None = msgspec.field(name="BootSourceOverrideEnabled", default=None)
    target: str | None = msgspec.field(name="BootSourceOverrideTarget", default=None)
    mode: str | None = msgspec.field(name="BootSourceOverrideMode", default=None)
    targets: list[str] | None = msgspec.field(name="BootSourceOverrideTarget@Redfish.AllowableValues", default=None)

    def said(self) -> str:
        """In words."""
        return shown(f"{self.enabled or 'not told'}, {self.target or 'no target'}, mode {self.mode or 'not told'}")


class SystemLinks(msgspec.Struct, frozen=True, rename="pascal"):
    """What a system points at."""

    managed_by: list[Link] | None = None


class System(msgspec.Struct, frozen=True, rename="pascal"):
    """A host."""

    name: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial_number: str | None = None
    power_state: str | None = None
    boot: Boot | None = None
    virtual_media: Link | None = None
    links: SystemLinks | None = None


class Manager(msgspec.Struct, frozen=True, rename="pascal"):
    """A BMC; older firmware hangs the slots here."""

    virtual_media: Link | None = None


class Action(msgspec.Struct, frozen=True):
    """Where an action is posted to."""

    target: str


class Actions(msgspec.Struct, frozen=True):
    """The two actions of a slot."""

    insert: Action | None = msgspec.field(name="#VirtualMedia.InsertMedia", default=None)
    eject: Action | None = msgspec.field(name="#VirtualMedia.EjectMedia", default=None)


class Slot(msgspec.Struct, frozen=True, rename="pascal"):
    """A virtual media slot."""

    media_types: list[str] | None = None
    image: str | None = None
    image_name: str | None = None
    inserted: bool | None = None
    connected_via: str | None = None
    actions: Actions | None = None

    @property
    def holds(self) -> bool:
        """Whether a disc is in; SuperMicro leaves Image and Inserted set on a slot that is NotConnected."""
        told = bool(self.image or self.image_name) if self.inserted is None else self.inserted
        return told and self.connected_via != "NotConnected"

    def has(self, url: str) -> bool:
        """Whether what it names is the image at `url`."""
        if self.image:
            return self.image == url or self.image.endswith(urlsplit(url).path)
        return bool(self.image_name) and self.image_name == urlsplit(url).path.rsplit("/", 1)[-1]

    def said(self) -> str:
        """In words."""
        named = shown(self.image or self.image_name or "")
        if self.holds:
            return named or "a disc without a name"
        return f"empty, with a leftover entry {named}" if named else "empty"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one run changes, and what was there before; JSON-able, and enough to take it all back.

    Paths are the BMC's own. `target` is empty where the boot is left alone, `mode` where the mode is.
    """

    system: str
    slot: str
    insert: str
    eject: str
    url: str
    target: str
    mode: str
    boot: Boot
    held: bool
    image: str


T = TypeVar("T")


def look(client: Client, system: str, slot: str) -> tuple[str, System, str, Slot]:
    """Path and resource of the host and of its CD slot; `system` and `slot` are ids or empty. Raises Refused."""
    root = client.get(ROOT, Root)
    if root.systems is None:
        raise Refused(f"{client.door} speaks Redfish but lists no systems", BY_HAND)
    hosts = {link.path: link for link in client.get(root.systems.path, Collection).members[:MOST]}
    where = _pick("system", system, hosts)
    host = client.get(where, System)
    slots = _slots(client, host)
    return where, host, (at := _pick("slot", slot, {path: Link(path) for path in slots})), slots[at]


def _slots(client: Client, host: System) -> dict[str, Slot]:
    """By path: slots that take a CD by the standard's action, of the host, or else of the BMCs that manage it."""
    managers = host.links.managed_by if host.links and host.links.managed_by else []
    found = _takes_cd(client, [host.virtual_media] if host.virtual_media else [])
    if not found:
        homes = [client.get(link.path, Manager).virtual_media for link in managers[:MOST]]
        found = _takes_cd(client, [home for home in homes if home])
    return found


def _takes_cd(client: Client, homes: Iterable[Link]) -> dict[str, Slot]:
    found: dict[str, Slot] = {}
    for home in homes:
        for link in client.get(home.path, Collection).members[:MOST]:
            slot = client.get(link.path, Slot)
            types = slot.media_types or ["CD" if "cd" in link.name.lower() else ""]
            if {"CD", "DVD"} & set(types) and slot.actions and slot.actions.insert and slot.actions.eject:
                found[link.path] = slot
    return found


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
    """The override that means the virtual CD. Raises Refused."""
    offered = host.boot.targets if host.boot else None
    supermicro = "supermicro" in (host.manufacturer or "").lower().replace(" ", "")
    order = ("UsbCd", "Cd") if supermicro else ("Cd", "UsbCd")  # SuperMicro's Cd is a drive of its own
    for target in order:
        if target in (offered or ["Cd"]):
            return target
    listed = shown(", ".join(offered or []))
    raise Refused(
        f"this BMC offers no one-time boot from a CD (only {listed})",
        "set boot_once to no, and choose the virtual CD in the boot menu (F11) at the reset",
    )


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
    try:
        client.send("POST", order.eject, {})
        error = Failed(
            f"slot {Link(order.slot).name} still holds a disc after EjectMedia",
            "eject it on the BMC's own page, Virtual Media",
        )
    except Failed as failed:
        error = failed
    if until(lambda: client.get(order.slot, Slot), _empty, sleep, client.door.timeout).holds:
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
    client.send("PATCH", order.system, former(want, order.mode))
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
