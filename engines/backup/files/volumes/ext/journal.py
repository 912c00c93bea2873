"""The journal of ext3 and ext4 (jbd2): which blocks a start of the guest would put in place, and with what.

Sources: Linux, Documentation/filesystems/ext4/journal.rst and fs/jbd2/recovery.c, whose three passes these are.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from engines.backup.files.model import BrowseError, Unsupported
from engines.backup.files.volumes.ext.crc32c import Checks, crc32c
from engines.backup.files.volumes.ext.inode import ExtRun, Inodes
from engines.backup.files.volumes.window import Window

MAGIC = 0xC03B3998
DESCRIPTOR, COMMIT, SUPER_1, SUPER_2, REVOKE = 1, 2, 3, 4, 5
REVOKES, WIDE, ASYNC, CSUM_2, CSUM_3, FAST_COMMIT = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20  # incompatible features
ESCAPED, SAME_UUID, LAST = 0x1, 0x2, 0x8  # tag flags
LONGEST = 1 << 22  # blocks; mke2fs makes none of more than 10 240 000, and those are unheard of
FAST_HEAD = 9  # tag of a fast commit's head
SUPER = struct.Struct(">12I16s")


class Logged(NamedTuple):
    """Where the journal keeps a block, in blocks of the file system, and whether its first word was taken out."""

    place: int
    escaped: bool


class Tag(NamedTuple):
    """One block of a transaction: where it belongs."""

    block: int
    flags: int
    checksum: int


@dataclass
class Transactions:
    """`end` is the first sequence that was not committed; `revoked` by block, the last sequence that took it out."""

    end: int
    logged: list[tuple[int, int, list[Tag]]] = field(default_factory=list)
    revoked: dict[int, int] = field(default_factory=dict)


class Journal:
    """The journal in an inode of the file system."""

    length: int
    first: int
    sequence: int
    start: int
    uuid: bytes

    def __init__(self, window: Window, inodes: Inodes, number: int) -> None:
        self._window = window
        self._block = inodes.superblock.block
        self._blocks = inodes.superblock.blocks
        inode = inodes.get(number)
        self._runs: list[ExtRun] = list(inodes.runs(inode, 0, min(-(-inode.size // self._block), LONGEST)))
        self._starts = [run.first for run in self._runs]
        self._read_super(self.read(0))

    def _read_super(self, raw: bytes) -> None:
        magic, kind, _, block, self.length, self.first, self.sequence, self.start, *rest = SUPER.unpack_from(raw)
        _, _, incompat, _, self.uuid = rest
        if magic != MAGIC or kind not in (SUPER_1, SUPER_2) or block != self._block:
            raise BrowseError("the journal's superblock is damaged")
        self.features = incompat if kind == SUPER_2 else 0
        if self.features & ~(REVOKES | WIDE | ASYNC | CSUM_2 | CSUM_3 | FAST_COMMIT):
            raise Unsupported(f"the journal has features that are not known here ({self.features:#x})")
        self.checked = bool(self.features & (CSUM_2 | CSUM_3))
        if self.features & ASYNC and not self.checked:
            raise Unsupported("the journal commits asynchronously and has no checksums")
        self.seed = crc32c(self.uuid)
        if self.checked and crc32c(raw[:252] + bytes(4) + raw[256:1024]) != struct.unpack_from(">I", raw, 252)[0]:
            raise BrowseError("the journal's superblock does not match its checksum")
        fast = (struct.unpack_from(">I", raw, 84)[0] or 256) if self.features & FAST_COMMIT else 0
        self.end = self.length - fast
        if not 0 < self.first < self.end <= self.length <= LONGEST or (self.start and not self._inside(self.start)):
            raise BrowseError("the journal's superblock is damaged")

    def _inside(self, number: int) -> bool:
        return self.first <= number < self.end

    # ── blocks ──────────────────────────────────────────────────────────────────────────────────────

    def place(self, number: int) -> int:
        """Where a block of the journal lies. Raises BrowseError."""
        at = bisect_right(self._starts, number) - 1
        run = self._runs[at] if at >= 0 else None
        if run is None or run.place is None or number >= run.first + run.length:
            raise BrowseError(f"the journal has a hole at its block {number}")
        return run.place + number - run.first

    def read(self, number: int) -> bytes:
        """A block of the journal."""
        return self._window.exactly(self.place(number) * self._block, self._block, "the journal")

    def _wrapped(self, number: int) -> int:
        return number if number < self.end else number - (self.end - self.first)

    # ── the three passes ────────────────────────────────────────────────────────────────────────────

    def replayed(self) -> dict[int, Logged]:
        """By block of the file system, what the journal has for it. Raises Unsupported, BrowseError."""
        found = self._scanned()
        self._no_fast_commit(found.end)
        latest: dict[int, Logged] = {}
        checks: Checks[int] = Checks(self._block, 0xFFFFFFFF if self.features & CSUM_3 else 0xFFFF)
        for sequence, first, tags in found.logged:
            if self.checked:
                self._check(checks, sequence, first, tags)
            for at, tag in enumerate(tags, 1):
                gone = found.revoked.get(tag.block)
                if gone is not None and not _before(gone, sequence):
                    continue
                if tag.block >= self._blocks:
                    raise BrowseError(f"the journal writes block {tag.block}, outside the file system")
                latest[tag.block] = Logged(self.place(self._wrapped(first + at)), bool(tag.flags & ESCAPED))
        if wrong := checks.end():
            raise BrowseError(f"{len(wrong)} blocks of the journal do not match their checksums")
        return latest

    def _check(self, checks: Checks[int], sequence: int, first: int, tags: list[Tag]) -> None:
        """Have every block of a transaction proven to be as it was when it was written."""
        seed = crc32c(struct.pack(">I", sequence), self.seed)
        for at, tag in enumerate(tags, 1):
            number = self._wrapped(first + at)
            checks.add(self.read(number), seed, tag.checksum, number)

    def _scanned(self) -> Transactions:
        """What was committed; a commit that does not match its checksum ends it, as if it were not there."""
        sequence, number, walked = self.sequence, self.start, 0
        found = Transactions(sequence)
        checks: Checks[tuple[bool, int]] = Checks(self._block)
        revoked: list[tuple[int, int]] = []
        while number and walked < self.end - self.first:
            raw = self.read(number)
            magic, kind, its = struct.unpack_from(">III", raw)
            if magic != MAGIC or its != sequence or kind not in (DESCRIPTOR, COMMIT, REVOKE):
                break
            step, at = 1, 16 if kind == COMMIT else self._block - 4
            if self.checked:
                wanted = struct.unpack_from(">I", raw, at)[0]
                checks.add(raw[:at] + bytes(4) + raw[at + 4 :], self.seed, wanted, (kind == COMMIT, sequence))
            if kind == COMMIT:
                sequence = (sequence + 1) & 0xFFFFFFFF
            elif kind == DESCRIPTOR:
                found.logged.append((sequence, number, list(self._tags(raw))))
                step += len(found.logged[-1][2])
            else:
                revoked += ((block, sequence) for block in self._revoked(raw))
            number, walked = self._wrapped(number + step), walked + step
        return self._proven(found, revoked, sequence, checks.end())

    def _proven(
        self, found: Transactions, revoked: list[tuple[int, int]], end: int, wrong: set[tuple[bool, int]]
    ) -> Transactions:
        """Only what lies before `end` and before the first commit that is wrong. Raises BrowseError."""
        back = {(end - its) & 0xFFFFFFFF: commit for commit, its in wrong}
        last = max((steps for steps, commit in back.items() if commit), default=0)
        found.end = (end - last) & 0xFFFFFFFF
        if any(steps > last for steps in back):
            raise BrowseError("a block of the journal that names its transaction's blocks does not match its checksum")
        found.logged = [each for each in found.logged if _before(each[0], found.end)]
        found.revoked = {block: sequence for block, sequence in revoked if _before(sequence, found.end)}
        return found

    def _tags(self, raw: bytes) -> Iterator[Tag]:
        wide, third = bool(self.features & WIDE), bool(self.features & CSUM_3)
        size = 16 if third else 8 + 4 * wide + (2 if self.features & CSUM_2 else 0)
        at, end = 12, len(raw) - (4 if self.checked else 0)
        while at + size <= end:
            high = 0
            if third:
                low, flags, high, checksum = struct.unpack_from(">IIII", raw, at)
            else:
                low, checksum, flags = struct.unpack_from(">IHH", raw, at)
                high = struct.unpack_from(">I", raw, at + 8)[0] if wide else 0
            yield Tag(low | (high << 32 if wide else 0), flags, checksum)
            at += size + (0 if flags & SAME_UUID else 16)
            if flags & LAST:
                return

    def _revoked(self, raw: bytes) -> Iterator[int]:
        length = struct.unpack_from(">I", raw, 12)[0]
        size = 8 if self.features & WIDE else 4
        if length > len(raw) - (4 if self.checked else 0):
            raise BrowseError("a revoke record of the journal is damaged")
        for at in range(16, length - size + 1, size):
            yield int.from_bytes(raw[at : at + size], "big")

    def _no_fast_commit(self, expected: int) -> None:
        if self.end == self.length:
            return
        tag, _, _, sequence = struct.unpack_from("<HHII", self.read(self.end + 1))  # one is left free between
        if tag == FAST_HEAD and sequence == expected:
            raise Unsupported("the journal ends in fast commits")


def _before(one: int, other: int) -> bool:
    """Whether a sequence comes before another; they count round."""
    return 0 < ((other - one) & 0xFFFFFFFF) < 0x80000000
