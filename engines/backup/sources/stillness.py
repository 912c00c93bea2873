"""Whether a disk stays as it is while it is read: who may write it, and whether somebody came, wrote and went."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from typing_extensions import override

from engines.backup.sources.source import Source
from engines.host import users

SECTORS_WRITTEN = 6  # word of /sys/dev/block/*/stat, see Documentation/block/stat.rst


class Stillness:
    """Of the files or devices that make up one disk, from now on. locks: whether QEMU's on them are others'."""

    def __init__(self, paths: Sequence[Path], *, locks: bool = True) -> None:
        self._paths = tuple(paths)
        self._locks = locks
        self._before = [_state(path) for path in self._paths]

    @cached_property
    def writers(self) -> list[str]:
        """Who could write when it was first asked, in words; later who was found to have written."""
        return self._seen()

    def _seen(self) -> list[str]:
        return [user.words for path in self._paths for user in users.writers(path, locks=self._locks)]

    @cached_property
    def blind(self) -> bool:
        """Whether this user would not be told of writers."""
        return os.geteuid() != 0 and any(users.hidden(path) for path in self._paths)

    def look_again(self) -> bool:
        """Whether `writers` was empty and is not any more."""
        if self.writers:
            return False
        self.writers = self.moved()
        return bool(self.writers)

    def moved(self) -> list[str]:
        """Who may have written since, in words."""
        try:
            changes = [_change(before, _state(path)) for before, path in zip(self._before, self._paths, strict=True)]
            return self._seen() or [words for words in changes if words][:1]
        except OSError as error:
            return [f"it cannot be looked at any more: {error.strerror}"]


class Claims(Source):
    """What a source says of itself by whether its disk stays as it is; see Source."""

    _where: Path
    _still: Stillness

    @property
    @override
    def consistency(self) -> str:
        return "in use while read" if self._still.writers else "not known" if self._still.blind else "at rest"

    @property
    @override
    def alone(self) -> str:
        return self.consistency

    @property
    @override
    def one_moment(self) -> bool:
        """What nobody writes to is of every moment."""
        return self.consistency == "at rest" and not self._still.moved()

    @property
    @override
    def warnings(self) -> tuple[str, ...]:
        where = self._where
        if self._still.writers:
            words = self._still.writers[0]
            return (
                f"{where} is in use ({words}): its blocks are not of one moment, so what is restored may need repair",
            )
        if self._still.blind:
            return (f"whether somebody writes to {where} is not shown to this user: run as root, or as its owner",)
        return ()

    @override
    def check(self) -> tuple[str, ...]:
        return self.warnings if self._still.look_again() else ()


def _state(path: Path) -> tuple[int, int]:
    """(what changes with every write, what changes with its name and rights, too); a device has no such second."""
    found = path.stat()
    if stat.S_ISBLK(found.st_mode):
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
        try:
            return int(Path(f"/sys/dev/block/{number}/stat").read_text().split()[SECTORS_WRITTEN]), 0
        except (OSError, IndexError):  # the kernel does not count here
            return 0, 0
    return found.st_mtime_ns, found.st_ctime_ns


def _change(before: tuple[int, int], now: tuple[int, int]) -> str:
    if before[0] != now[0]:
        return "it was changed while it was read"
    return "it was changed while it was read, or only its name or rights" if before != now else ""
