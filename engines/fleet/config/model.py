"""What fleet.yaml says, in types; every text in it was read without a mistake."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from engines.backup.commands.prune import PruneParams
from engines.fleet.config import words
from engines.fleet.config.words import Window, word

CONTROLLER = "controller"  # where the upkeep is done that names no host
DURATION = word("hour, day, week, month, or like 90m, 36h, 2d, 1w", words.seconds)
EVERY = word(
    "hour, day, week, month, or like 90m, 12h, 2d, 1w: up to a day, or whole days up to a year", words.interval
)
FILE = word("a path from / on", words.whole_path)
HOME_FILE = word("a path from / or ~/ on", words.home_path)
COUNT = word("a whole number from 1 to 1000", ge=1, le=1000)
KEPT = word("a whole number from 0 to 100000", ge=0, le=100000)


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of fleet.yaml; its fields are the keys that are allowed."""


class ByLvm(Part, frozen=True, kw_only=True):
    """Guests by the names of their volumes."""

    lvm: Annotated[str, word("a regular expression with the groups (?P<vm>...) and (?P<disk>...)", words.pattern)]


class Host(Part, frozen=True, kw_only=True):
    """A hypervisor. ssh: USER@HOST or USER@HOST:PORT; `local` is the controller's own machine, without ssh.

    slots: how many runs at once. connect: libvirt's URI there. key, known_hosts: files for ssh, else ssh's own.
    zone: whose hours the windows of its guests are; empty for the fleet's.
    """

    ssh: Annotated[
        str,
        word("USER@HOST, USER@HOST:PORT or local", words.ssh),
    ]
    slots: Annotated[int, COUNT] = 2
    find: tuple[Literal["libvirt"] | ByLvm, ...] = ("libvirt",)
    connect: str = "qemu:///system"
    key: Annotated[str, HOME_FILE] = ""
    known_hosts: Annotated[str, HOME_FILE] = ""
    zone: Annotated[str, word("a name such as Europe/Berlin", words.zone_or_none)] = ""


class Repository(Part, frozen=True, kw_only=True):
    """Where backups go: a folder of each host, sftp:// or s3://. Files that unlock it lie on the hosts.

    host: that prunes, collects and verifies; empty for the controller.
    """

    url: Annotated[str, word("a folder, sftp://USER@HOST/FOLDER or s3://BUCKET/PREFIX", words.place)]
    slots: Annotated[int, COUNT] = 4
    uplink: str = ""
    key_file: Annotated[str, FILE] = ""
    passphrase_file: Annotated[str, FILE] = ""
    host: str = ""
    gc: Annotated[str, DURATION] = "week"
    verify: Annotated[str, DURATION] = "day"
    share: Annotated[int, word("percent of the packs a verify reads, from 1 to 100", ge=1, le=100)] = 5


class Uplink(Part, frozen=True, kw_only=True):
    """A line that repositories share. limit: bytes a second by the hour, for each run its share of the slots."""

    slots: Annotated[int, COUNT] = 8
    limit: Annotated[tuple[str, ...], word("a list like ['07:00-22:00 30M', 'else none']", words.rates)] = ()


class Keep(Part, frozen=True, kw_only=True):
    """What prune keeps of each disk; nothing said, nothing pruned."""

    last: Annotated[int, KEPT] = 0
    hourly: Annotated[int, KEPT] = 0
    daily: Annotated[int, KEPT] = 0
    weekly: Annotated[int, KEPT] = 0
    monthly: Annotated[int, KEPT] = 0
    yearly: Annotated[int, KEPT] = 0


class Policy(Part, frozen=True, kw_only=True):
    """How a guest is backed up. late: after which age of its newest good point it is called so; where it is not said,
    1.5 times `every`, and the hours outside of the window for what is done several times in it.
    prove: how often a restore is tried; lock: how long what `keep` keeps cannot be deleted, where buckets can do that.
    """

    to: tuple[str, ...]
    every: Annotated[str, EVERY] = "day"
    window: Annotated[str, word("like 22:00-06:00", words.window)] = "00:00-00:00"
    spread: Literal["hash", "none"] = "hash"
    keep: Keep = Keep()
    late: Annotated[str | None, DURATION] = None
    prove: Annotated[str | None, EVERY] = None
    lock: Annotated[str | None, DURATION] = None
    retries: Annotated[int, word("a whole number from 0 to 100", ge=0, le=100)] = 3
    limit: Annotated[str, word("a share of the disk's speed (60%), bytes a second (40M), or none", words.limit)] = "60%"

    @property
    def interval(self) -> int:
        """Seconds from one backup to the next."""
        return words.seconds(self.every)

    @property
    def late_after(self) -> int:
        """Seconds after which the newest point is too old."""
        if self.late:
            return words.seconds(self.late)
        apart = words.DAY - self.hours.minutes * 60 if self.interval < words.DAY else 0
        return self.interval * 3 // 2 + apart

    @property
    def hours(self) -> Window:
        """When a backup may start."""
        return words.window(self.window)


class Match(Part, frozen=True, kw_only=True):
    """Which guests a rule is for; what is said must all hold. metadata: the policy that the guest itself names."""

    metadata: str = ""
    name: str = ""
    tag: str = ""
    host: str = ""


class Rule(Part, frozen=True, kw_only=True):
    """One line of `guests`; the first that fits a guest counts. Without a policy, the guest's own metadata names it.

    running: whether the file images of a running guest are read all the same, of no one moment.
    """

    match: Literal["all"] | Match | None = None
    policy: str = ""
    agent: bool = False
    running: Literal["refuse", "read"] = "refuse"
    skip: str = ""
    why: str = ""


class AlertMatch(Part, frozen=True, kw_only=True):
    """Which notices go there."""

    severity: tuple[Literal["failed", "late", "uncovered", "gone", "warned", "good"], ...] = (
        "failed",
        "late",
        "uncovered",
        "gone",
    )


class AlertTo(Part, frozen=True, kw_only=True):
    """Whom to tell: a file with apprise URLs, one a line."""

    apprise_file: str


class Alert(Part, frozen=True, kw_only=True):
    """One line of `alerts`: a notice, or an address that is called after every whole round."""

    match: AlertMatch = AlertMatch()
    to: AlertTo | None = None
    quiet: Annotated[str, DURATION] = "4h"
    ping_file: str = ""


class Cluster(Part, frozen=True, kw_only=True):
    """Other controllers that work along. scheduler: where they meet. tls: a folder with ca.pem, cert.pem, key.pem."""

    scheduler: Annotated[
        str,
        word("tls://HOST:PORT, or tcp://127.0.0.1:PORT without TLS", words.scheduler),
    ]
    tls: Annotated[str, FILE] = ""

    @property
    def encrypted(self) -> bool:
        """Whether each member shows a certificate."""
        return self.scheduler.startswith("tls:")


class Fleet(Part, frozen=True, kw_only=True):
    """fleet.yaml. zone: whose hours the windows are. ledger: the controller's memory, a file. lease: a repository that
    all controllers reach, where there are several: in it one has the word."""

    hosts: dict[Annotated[str, word(words.NAMED, pattern=words.NAME)], Host]
    repositories: dict[Annotated[str, word(words.NAMED, pattern=words.NAME)], Repository]
    policies: dict[Annotated[str, word(words.NAMED, pattern=words.NAME)], Policy]
    guests: tuple[Rule, ...]
    uplinks: dict[Annotated[str, word(words.NAMED, pattern=words.NAME)], Uplink] = {}
    alerts: tuple[Alert, ...] = ()
    zone: Annotated[str, word("a name such as Europe/Berlin", words.zone)] = "UTC"
    ledger: Annotated[str, FILE] = ""
    cluster: Cluster | None = None
    lease: str = ""

    def zone_of(self, host: str) -> str:
        """Whose hours windows are for the guests of a host."""
        return (self.hosts[host].zone if host in self.hosts else "") or self.zone


def kept(keep: Keep) -> dict[str, int]:
    """The parameters of `backup prune`."""
    named = {f"keep_{name}": getattr(keep, name) for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
    assert named.keys() <= set(PruneParams.__struct_fields__)
    return {name: count for name, count in named.items() if count}
