"""Packs of a local repository, kept open while they are read."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from engines.backup.pages import direct

OPEN = 16  # packs kept open


class OpenFile:
    """A file open for reading, closed when the last thread has let go of it. `direct` reads past the page cache."""

    def __init__(self, path: Path) -> None:
        self.descriptor = self.direct = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)

    def open_direct(self) -> None:
        """Set `direct`; calls come from one thread at a time."""
        if self.direct < 0:
            self.direct = direct.reopened(self.descriptor, os.O_RDONLY)

    def __del__(self) -> None:
        for descriptor in {self.descriptor, self.direct} - {-1}:
            os.close(descriptor)


class OpenPacks:
    """The last few packs below `root` that were read; thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def opened(self, name: str) -> OpenFile:
        """A pack, kept open: the kernel reads ahead per open file, and packs never change."""
        with self._lock:
            opened = self._open.get(name) or OpenFile(self._root / name)
            self._open[name] = opened
            self._open.move_to_end(name)
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
        return opened

    def open_direct(self, opened: OpenFile) -> None:
        """Have `opened` read past the page cache, too."""
        with self._lock:
            opened.open_direct()

    def forget(self, name: str) -> None:
        """Let go of a pack that is about to be deleted."""
        with self._lock:
            self._open.pop(name, None)

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._open.clear()
