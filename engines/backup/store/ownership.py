"""Whose the files of a repository are: those of its folder's owner, also where root works in it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


class Ownership:
    """Owner and mode for what is made below `root`, taken from that folder.

    Others never get a right; the group gets what it has on the folder where others have none there, which is how
    somebody shares a repository on purpose.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: os.stat_result | None = None

    def _folder(self) -> os.stat_result | None:
        if self._known is None:
            with contextlib.suppress(OSError):
                self._known = self._root.stat()
        return self._known

    @property
    def mode(self) -> int:
        """Of a new folder."""
        found = self._folder()
        mode = stat.S_IMODE(found.st_mode) if found else 0o700
        return 0o700 | (mode & 0o2070 if not mode & 0o007 else 0)

    def take(self, descriptor: int) -> None:
        """Give a new file to the repository's owner, with its rights."""
        self._give(descriptor, self.mode & 0o660)

    def take_folder(self, path: Path) -> None:
        """Give a new folder to the repository's owner, with its rights."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._give(descriptor, self.mode)
        finally:
            os.close(descriptor)

    def _give(self, descriptor: int, mode: int) -> None:
        found = self._folder()
        if found is None:
            return
        with contextlib.suppress(OSError):  # file systems without owners and modes
            if os.geteuid() == 0 and (found.st_uid or found.st_gid):
                os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fchmod(descriptor, mode)
