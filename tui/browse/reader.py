"""A tree that several threads share: one call at a time, long ones in slices so that nobody waits for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from engines.backup.files.model import Node
from engines.backup.files.tree import Tree
from engines.job.errors import CrashcartError

SLICE = 0.015  # s that one thread holds the tree, and the interpreter, while another waits
GAP = 0.002  # s in which the other gets it; a lock let go and taken again at once would never change hands
PREVIEW = 64 * 1024  # bytes

T = TypeVar("T")


class MayEnd(Protocol):
    """Work that may be given up."""

    @property
    def unwanted(self) -> bool:
        """Whether it may stop."""
        ...


@dataclass(frozen=True)
class Serving:
    """Who serves a volume: driver, file system, and what was done about its journal."""

    driver: str
    format: str
    state: str


class Reader:
    """Lists, walks and reads. Everything raises BrowseError, and Damaged where the backup is the culprit."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._lock = threading.Lock()

    def entries(self, path: bytes, task: MayEnd) -> Iterator[list[Node]]:
        """The entries of a folder, batch by batch."""
        return self._sliced(self.tree.list(path), task)

    def walk(self, path: bytes, task: MayEnd) -> Iterator[list[tuple[bytes, Node]]]:
        """Everything at and below a path, batch by batch."""
        return self._sliced(self.tree.walk(path), task)

    def _sliced(self, items: Iterator[T], task: MayEnd) -> Iterator[list[T]]:
        """What was found before a fault is given before the fault is raised."""
        while not task.unwanted:
            batch: list[T] = []
            over, fault = False, None
            with self._lock:
                until = time.monotonic() + SLICE
                try:
                    while time.monotonic() < until:
                        batch.append(next(items))
                except StopIteration:
                    over = True
                except CrashcartError as error:
                    fault = error
            yield batch
            if fault:
                raise fault
            if over:
                return
            time.sleep(GAP)

    def found(self, path: bytes) -> tuple[bytes, Node]:
        """Where a path leads, its links followed, and what is there."""
        with self._lock:
            path = self.tree.resolve(path)
            return path, self.tree.stat(path)

    def weighed(self, path: bytes, task: MayEnd) -> tuple[bytes, int, int]:
        """The path, and how many files and bytes lie at and below it."""
        files = size = 0
        for batch in self.walk(path, task):
            found = [node for _, node in batch if not node.is_folder]
            files += len(found)
            size += sum(node.size for node in found if node.is_file)
        return path, files, size

    def first(self, path: bytes) -> bytes:
        """The beginning of a file."""
        with self._lock:
            return self.tree.read(path, 0, PREVIEW)

    def serving(self, path: bytes) -> Serving | None:
        """Who serves a path; None for the list of volumes."""
        if self.tree.is_top(path):
            return None
        with self._lock:
            volume, _ = self.tree.volume(path)
            return Serving(volume.driver, volume.info.format, volume.state)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else reads within the `with`."""
        with self._lock:
            yield
