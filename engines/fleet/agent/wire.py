"""What controller and agent say to each other: one JSON request on stdin, JSON lines on stdout."""

from __future__ import annotations

from typing import Any

import msgspec

from engines.backup.guests.model import FoundGuests
from engines.fleet.agent.holding import Holding
from engines.job.jobfile import Job

VERSION = 2  # of these words; both sides refuse another one


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag=True):
    """A question or an order."""

    version: int = VERSION


class Find(Request, frozen=True, kw_only=True, tag="find"):
    """Which guests are there? connect: libvirt's URI; patterns: of LVM names."""

    connect: str
    libvirt: bool = True
    patterns: tuple[str, ...] = ()


class About(Request, frozen=True, kw_only=True, tag="about"):
    """What are you?"""


class Start(Request, frozen=True, kw_only=True, tag="start"):
    """Have `job` done once under `key`: start it, or follow it where it runs, or tell how it ended.

    slots: how many runs the host bears at once. What ended badly before is tried anew.
    """

    key: str
    job: Job
    slots: int


class Attach(Request, frozen=True, kw_only=True, tag="attach"):
    """Follow the run of `key` to its end; start nothing."""

    key: str


class Stop(Request, frozen=True, kw_only=True, tag="stop"):
    """Ask the run of `key` to stop."""

    key: str


class Slots(Request, frozen=True, kw_only=True, tag="slots"):
    """How many of `slots` are taken?"""

    slots: int


class Holds(Request, frozen=True, kw_only=True, tag="holds"):
    """What is in a repository whose keys lie on this host? repository: repo, key_file, passphrase_file."""

    repository: dict[str, str]


class Fit(Request, frozen=True, kw_only=True, tag="fit"):
    """Can this host open that repository and write to it? repository: repo, key_file, passphrase_file."""

    repository: dict[str, str]


AnyRequest = Find | About | Start | Attach | Stop | Slots | Holds | Fit


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag=True):
    """A line back."""


class Guests(Answer, frozen=True, kw_only=True, tag="guests"):
    """To find."""

    found: FoundGuests


class HostState(Answer, frozen=True, kw_only=True, tag="host"):
    """To about. clock: its Unix time in s; free: bytes that its state folder has left.

    pools: how full its thin pools are, in percent of data or metadata, whichever is fuller.
    """

    version: str
    clock: float
    machine: str
    free: int
    pools: dict[str, float] = {}


class Begun(Answer, frozen=True, kw_only=True, tag="begun"):
    """The run of the key is there; new: whether it was started by this very request."""

    run: str
    new: bool


class Progressed(Answer, frozen=True, kw_only=True, tag="progress"):
    """How far it is, in bytes or another unit."""

    done: int
    total: int
    unit: str


class Alive(Answer, frozen=True, kw_only=True, tag="alive"):
    """The run is there and followed; said every few seconds, whatever else is."""


class Ended(Answer, frozen=True, kw_only=True, tag="ended"):
    """How it ended. status: done, warned, failed, refused, stopped or interrupted; code: its exit code.

    before: whether it had ended before this request. summary: of what is done, in words.
    """

    run: str
    status: str
    code: int
    before: bool = False
    summary: str = ""
    why: str = ""
    what_helps: str = ""
    warnings: tuple[str, ...] = ()
    result: dict[str, Any] = {}


class Busy(Answer, frozen=True, kw_only=True, tag="busy"):
    """No slot is free; nothing was started."""

    taken: int


class Taken(Answer, frozen=True, kw_only=True, tag="taken"):
    """To slots."""

    taken: int
    free: int


class Held(Answer, frozen=True, kw_only=True, tag="held"):
    """To holds: disks with their newest points, bytes in packs, bytes free."""

    holding: Holding


class Fits(Answer, frozen=True, kw_only=True, tag="fits"):
    """To fit: it can. free: bytes that are left there, None where nobody can know; points: how many it has."""

    points: int
    free: int | None = None


class Said(Answer, frozen=True, kw_only=True, tag="said"):
    """To stop: what follows, in words."""

    text: str


class Declined(Answer, frozen=True, kw_only=True, tag="declined"):
    """The request cannot be met, and nothing was touched."""

    why: str
    what_helps: str = ""


AnyAnswer = Guests | HostState | Begun | Progressed | Alive | Ended | Busy | Taken | Held | Fits | Said | Declined
