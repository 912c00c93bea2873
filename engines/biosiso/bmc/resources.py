"""What a BMC tells of itself, its hosts and their virtual media slots, and the order that a run makes of it.

Source: DMTF DSP0268.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from engines.biosiso.bmc.connection import shown

ROOT = "/redfish/v1/"


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


class RootLinks(msgspec.Struct, frozen=True, rename="pascal"):
    """What the front page points at."""

    sessions: Link | None = None


class Sessions(msgspec.Struct, frozen=True, rename="pascal"):
    """The front page once more, for where sessions are opened."""

    session_service: Link | None = None
    links: RootLinks | None = None

    @property
    def path(self) -> str:
        """As the BMC gave it, unchecked; empty where it has none."""
        if self.links and self.links.sessions:
            return self.links.sessions.path
        return f"{self.session_service.path.rstrip('/')}/Sessions" if self.session_service else ""


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
    """The two actions of a slot that the standard knows."""

    insert: Action | None = msgspec.field(name="#VirtualMedia.InsertMedia", default=None)
    eject: Action | None = msgspec.field(name="#VirtualMedia.EjectMedia", default=None)


class Slot(msgspec.Struct, frozen=True, rename="pascal"):
    """A virtual media slot."""

    media_types: list[str] | None = None
    image: str | None = None
    image_name: str | None = None
    inserted: bool | None = None
    connected_via: str | None = None
    named: dict[str, Any] | None = msgspec.field(name="Actions", default=None)
    settable: bool = msgspec.field(name="#settable", default=False)  # no BMC's word: what `seen` makes of its answer

    @property
    def actions(self) -> Actions | None:
        """The standard's, where they are as it has them."""
        try:
            return msgspec.convert(self.named, Actions) if self.named is not None else None
        except msgspec.ValidationError:
            return None

    @property
    def acts(self) -> Literal["POST", "PATCH", ""]:
        """How it is filled and emptied: by the two actions, by its own properties, or not at all."""
        if self.actions and self.actions.insert and self.actions.eject:
            return "POST"
        return "PATCH" if self.settable else ""

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

    Paths are the BMC's own. `by` is POST for the two actions, PATCH where the slot's own properties are set instead.
    `target` is empty where the boot is left alone, `mode` where the mode is.
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
    by: Literal["POST", "PATCH"] = "POST"
