"""The virtual CD drive of an ATEN BMC and the form that names its share, in the dialects that its pages speak."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Literal

import msgspec

from engines.biosiso.bmc.aten.session import Missing, Session
from engines.biosiso.bmc.connection import BY_HAND
from engines.biosiso.bmc.redfish import until
from engines.job.errors import Failed, Refused
from engines.job.params import Secret

Sleep = Callable[[float], None]
Dialect = Literal["pages", "op", "uiso"]
EMPTY, SHARED = 255, 4  # what the status says of the CD's drive: nothing, an image from a share
CD = "1"  # the drive's number; 0 is the floppy
DEVICE = re.compile(r"<DEVICE\b([^>]{0,1000})>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""\b([A-Za-z_]{1,20})\s*=\s*(?:"([^"]*)"|'([^']*)')""")
TAKEN = ("ok", "", "success", "done")
FIELDS = ("HOST", "PATH", "USER", "PWD")
SHARE = "VIRTUAL_MEDIA_SHARE_IMAGE.XML"
FORMS: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "pages": {
        "status": ("/cgi/vmstatus.cgi", {}),
        "set": ("/cgi/virtual_media_share_img.cgi", {}),
        "mount": ("/cgi/uisopin.cgi", {}),
        "unmount": ("/cgi/uisopout.cgi", {}),
    },
    "op": {
        "status": ("/cgi/op.cgi", {"op": "vm_status"}),
        "set": ("/cgi/op.cgi", {"op": "config_iso"}),
        "mount": ("/cgi/op.cgi", {"op": "mount_iso"}),
        "unmount": ("/cgi/op.cgi", {"op": "umount_iso"}),
    },
}
FORMS["uiso"] = {**FORMS["op"], "status": ("/cgi/op.cgi", {"op": "vm_uiso_status"})}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the form names; `secret`: a password stands in it, which is kept nowhere."""

    host: str = ""
    path: str = ""
    user: str = ""
    secret: bool = False

    def said(self) -> str:
        """In words."""
        return f"\\\\{self.host}{self.path}" if self.host or self.path else "no share"


class ShareOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What one run changes, and what was there before. `was` is None where the BMC does not tell."""

    dialect: Dialect
    host: str
    path: str
    was: Settings | None
    held: bool


class Drive:
    """One BMC's drive, asked in its dialect."""

    def __init__(self, session: Session, dialect: Dialect) -> None:
        self.session, self.dialect = session, dialect
        self.password: Secret | None = None  # what stood in the form when it was last read

    def state(self) -> int:
        """The CD drive's status. Raises Failed."""
        said = self._send("status")
        found = devices(said).get(CD)
        if found is None:
            raise Failed(f"the drive's status is told as {self.session.said(said)}", BY_HAND)
        return int(found)

    def settings(self) -> Settings | None:
        """What the form names; None where no page tells."""
        for fields in ({SHARE: "(0,0)"}, {"op": SHARE, "r": "(0,0)"}):
            try:
                found = attributes(self.session.form("/cgi/ipmi.cgi", fields))
            except Missing:
                return None
            if {"HOST", "PATH"} <= found.keys():
                told = {name.lower(): html.unescape(found[name]) for name in FIELDS if name in found}
                password = told.pop("pwd", "")
                self.password = Secret(password) if password.strip("*") else None
                return Settings(secret=bool(password), **told)
        return None

    def name(self, host: str, path: str, user: str, password: str) -> None:
        """Fill in the form. Raises Failed."""
        said = self._send("set", host=host, path=path, user=user, pwd=password)
        if re.sub(r"<[^<>]*>", " ", said).strip().lower() not in TAKEN:
            raise Failed(
                f"the BMC does not take {path or 'an empty share'}: {self.session.said(said)}",
                "see Virtual Media > CD-ROM Image on the BMC's own page",
            )

    def mount(self) -> str:
        """Have it mounted; what the BMC says to that."""
        return self.session.said(self._send("mount"))

    def unmount(self) -> str:
        """Have it taken out; what the BMC says to that."""
        return self.session.said(self._send("unmount"))

    def _send(self, what: str, **fields: str) -> str:
        path, own = FORMS[self.dialect][what]
        return self.session.form(path, {**own, **(fields or {"time_stamp": "0"})})


def attributes(text: str) -> dict[str, str]:
    """The attributes in a piece of XML by upper-case name, in whatever order and quotes; of several the first."""
    found: dict[str, str] = {}
    for name, double, single in ATTRIBUTE.findall(text):
        found.setdefault(name.upper(), double or single)
    return found


def devices(text: str) -> dict[str, str]:
    """The status of each drive by its number, as far as it is told."""
    told = [attributes(found) for found in DEVICE.findall(text)]
    return {one["ID"]: one["STATUS"] for one in told if one.get("STATUS", "").isdecimal() and "ID" in one}


def dialect(session: Session) -> Dialect:
    """The dialect that tells the drive's status. Raises Refused with what was seen."""
    seen = []
    for name in ("pages", "op", "uiso"):
        path, fields = FORMS[name]["status"]
        try:
            said = session.form(path, fields or {"time_stamp": "0"})
        except Missing:
            seen.append(f"no {path}")
            continue
        if CD in devices(said):
            return name
        seen.append(f"{path} {fields.get('op', '')}: {session.said(said)}".replace(" :", ":"))
    raise Refused(f"{session.door} tells of no virtual CD drive; seen: {'; '.join(seen)}", BY_HAND)


def ours(order: ShareOrder, now: Settings | None) -> bool:
    """Whether the form names this run's share, as far as the BMC tells."""
    return now is None or (now.host, now.path) == (order.host, order.path)


def eject(drive: Drive, sleep: Sleep) -> None:
    """Empty the drive; an error to it counts only where a disc stays in. Raises Failed."""
    try:
        error = Failed(f"the drive still holds a disc after unmount ({drive.unmount()})", BY_PAGE)
    except Failed as failed:
        error = failed
    if until(drive.state, lambda state: state == EMPTY, sleep, drive.session.door.timeout) != EMPTY:
        raise error


BY_PAGE = "unmount it on the BMC's own page, Virtual Media > CD-ROM Image"


def take_out(drive: Drive, order: ShareOrder, sleep: Sleep, *, sent: bool) -> str:
    """Unmount what this run put in, and say what was found. `sent`: a mount may be under way. Raises Failed."""
    state, now = drive.state(), drive.settings()
    if state != EMPTY and (not ours(order, now) or not sent):
        return f"the drive holds {now.said() if now else 'a disc'}, which this run did not put in: left alone"
    if state == EMPTY and not sent:
        return "the drive is empty"
    eject(drive, sleep)
    return "the disc is out of the drive"


def settings_back(drive: Drive, order: ShareOrder, secret: Secret | None) -> tuple[str, bool]:
    """Bring the form back where it still is this run's: what was found, and whether it is whole. Raises Failed."""
    now, was = drive.settings(), order.was or Settings()
    if now is not None and (now.host, now.path, now.user) == (was.host, was.path, was.user):
        return f"the BMC's share form names {was.said()}, as before", True
    if not ours(order, now):
        assert now is not None
        return f"the BMC's share form was changed by someone else to {now.said()}: left alone", True
    drive.name(was.host, was.path, was.user, secret.reveal() if secret else "")
    seen = drive.settings()
    if seen is not None and (seen.host, seen.path) != (was.host, was.path):
        raise Failed(f"the BMC's share form names {seen.said()} after it was set back to {was.said()}", BY_PAGE)
    if order.was is None:
        return "the BMC's share form is empty now; what it held before was not told", False
    if was.secret and not secret:
        return f"the BMC's share form names {was.said()} again, but its password has to be typed anew", False
    return f"the BMC's share form names {was.said()} again", True


def put_back(drive: Drive, order: ShareOrder, secret: Secret | None, sleep: Sleep, *, sent: bool) -> tuple[str, ...]:
    """Take everything back as far as the BMC lets it; what was left behind."""
    left: list[str] = []
    acts: tuple[tuple[str, Callable[[], object]], ...] = (
        ("the disc in the virtual CD drive", lambda: take_out(drive, order, sleep, sent=sent)),
        ("the share form", lambda: settings_back(drive, order, secret)),
    )
    for name, act in acts:
        try:
            act()
        except Failed as failed:
            left.append(f"{name} at {drive.session.door}: {failed.why}")
    return tuple(left)
