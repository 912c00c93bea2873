"""What the runs of backup give as their result, one struct a verb; sizes in bytes, points as VM/DISK@TIME."""

from __future__ import annotations

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A result; its fields are the keys of `Finished.result`."""


class DiskResult(Result, frozen=True, kw_only=True):
    """One disk as it was backed up.

    read, changed: bytes that were read, and bytes in blocks that differ from the point before. stored: bytes written
    to the repository. hint: what named the changes, in words. limit: how reading was held back, in words.
    """

    point: str
    size: int
    read: int
    changed: int
    stored: int
    seconds: float
    consistency: str
    hint: str
    hint_was_wrong: bool
    limit: str


class Backup(Result, frozen=True, kw_only=True):
    """Of `run`: one disk's fields as of DiskResult, or for several disks `points` and sums.

    together: the points are of one moment.
    """

    changed: int
    stored: int
    points: tuple[DiskResult, ...] = ()
    together: bool = False
    point: str = ""
    size: int = 0
    read: int = 0
    seconds: float = 0.0
    consistency: str = ""
    hint: str = ""
    hint_was_wrong: bool = False
    limit: str = ""


class Made(Result, frozen=True, kw_only=True):
    """Of `init`."""

    repo: str
    id: str
    cipher: str


class Restored(Result, frozen=True, kw_only=True):
    """Of `restore`. written: bytes written. same: bytes that were right already.

    holes: (first byte, byte behind the last) of what is lost and was left as zeros, by --salvage.
    """

    point: str
    target: str
    written: int
    same: int
    holes: tuple[tuple[int, int], ...] = ()


class Taken(Result, frozen=True, kw_only=True):
    """Of `get`. notes: the first lines about what did not come along; the report has all."""

    files: int
    bytes: int
    notes: tuple[str, ...]
    folders: int = 0
    links: int = 0
    skipped: int = 0
    untaken: int = 0


class Put(Result, frozen=True, kw_only=True):
    """Of `put`: files of each kind; the undo log is a folder of the run."""

    created: int
    replaced: int
    kept: int
    left_out: int
    bytes_changed: int
    undo_log: str
    boot_test: str = ""


class Unmounted(Result, frozen=True, kw_only=True):
    """Of `mount`, once it is over."""

    reads: int
    bytes: int
    errors: int


class Served(Result, frozen=True, kw_only=True):
    """Of `serve`."""

    bytes: int
    clients: int
    errors: int
    turned_away: int


class Booted(Result, frozen=True, kw_only=True):
    """Of `boot`. verdict: boots, fails or unsure."""

    verdict: str
    why: str
    bus: str
    firmware: str
    seconds: float
    bytes_read: int
    errors: int


class Proven(Result, frozen=True, kw_only=True):
    """Of `prove`. more: points of further disks; restored: bytes that were written; entries: of the root, and volumes.

    The others are as of `boot`.
    """

    point: str
    more: tuple[str, ...] = ()
    restored: int
    entries: int
    verdict: str
    why: str
    bus: str
    firmware: str
    seconds: float


class Verified(Result, frozen=True, kw_only=True):
    """Of `verify`; with --against only `differ`.

    bad: records that are damaged. faults: files that are. hit, whole: points that miss something, and that do not.
    """

    read: int = 0
    bad: int = 0
    faults: tuple[str, ...] = ()
    hit: tuple[str, ...] = ()
    whole: int = 0
    differ: int = 0


class Pruned(Result, frozen=True, kw_only=True):
    """Of `prune`: the points that were taken out."""

    pruned: tuple[str, ...]


class Collected(Result, frozen=True, kw_only=True):
    """Of `gc`. freed: bytes. dead: bytes that no point needed before. waits: what is left to the next one, and why.

    locked: bytes of `freed` that stay in the bucket as old versions before the day `until`, empty where none do.
    """

    freed: int
    dead: int
    packs: int
    points: int
    waits: tuple[str, ...]
    locked: int = 0
    until: str = ""


class Swept(Result, frozen=True, kw_only=True):
    """Of `snapshots sweep`. left: why some could not be removed. woken: processes that run again."""

    removed: tuple[str, ...]
    left: tuple[str, ...]
    woken: int


class Keyed(Result, frozen=True, kw_only=True):
    """Of `key add`, `key remove` and `key rotate`. key: its name."""

    repo: str
    key: str


class Copied(Result, frozen=True, kw_only=True):
    """Of `copy`, `export` and `import`. read, stored: bytes of blocks read and written. checked: records read back."""

    points: tuple[str, ...]
    read: int
    stored: int
    checked: int


class Rewound(Result, frozen=True, kw_only=True):
    """Of `rewind`. repo: what was made."""

    repo: str
    points: int
    files: int
    bytes: int


class Locked(Result, frozen=True, kw_only=True):
    """Of `lock`. files: what the points need. renewed: those whose lock was made longer. until: ISO time of those."""

    points: int
    files: int
    renewed: int
    until: str


class GuestFiles(Result, frozen=True, kw_only=True):
    """Of `guest`. state: what libvirt has of it now, in words. restore: the commands that bring all of it back."""

    point: str
    into: str
    files: tuple[str, ...]
    state: str
    restore: tuple[str, ...]


class Protected(Result, frozen=True, kw_only=True):
    """Of `protect`."""

    point: str
    protected: bool


class Renamed(Result, frozen=True, kw_only=True):
    """Of `rename`: the points as they are called now."""

    vm: str
    to: str
    points: tuple[str, ...]
