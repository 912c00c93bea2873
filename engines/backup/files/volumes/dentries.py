"""The names of the folders that were looked into last, so that a path costs no second reading of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

FOLDERS = 4096  # remembered at most; fewer than a path has steps would be read anew at every look
NAMES = 400_000  # in all of them
T = TypeVar("T")


class Dentries(Generic[T]):
    """By folder, its names and what they stand for, such as inodes; used by any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: OrderedDict[int, dict[bytes, T]] = OrderedDict()
        self._names = 0

    def get(self, folder: int, read: Callable[[], dict[bytes, T]]) -> dict[bytes, T]:
        """A folder's names; `read` gives them where they are not known."""
        with self._lock:
            known = self._folders.get(folder)
            if known is not None:
                self._folders.move_to_end(folder)
                return known
        return self.put(folder, read())

    def put(self, folder: int, names: dict[bytes, T]) -> dict[bytes, T]:
        """Remember a folder's names."""
        with self._lock:
            self._names += len(names) - len(self._folders.pop(folder, ()))
            self._folders[folder] = names
            while len(self._folders) > 1 and (len(self._folders) > FOLDERS or self._names > NAMES):
                self._names -= len(self._folders.popitem(last=False)[1])
        return names

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._folders.clear()
            self._names = 0
