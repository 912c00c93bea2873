"""One restore point, opened for looking: its tree, who serves it, and a better tree once an appliance is up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal

from engines.backup import names
from engines.backup.files.model import NOT_REPLAYED, VolumeInfo
from engines.backup.files.tree import Tree
from engines.backup.files.volumes.signatures import APPLIANCE
from engines.backup.repository.byte_source import open_point
from engines.job.contract import Cancel
from engines.job.errors import CrashcartError, Stopped
from tui.browse.access import Access
from tui.browse.background import Task
from tui.browse.reader import Reader

Purpose = Literal["look", "take"]
Opening = Callable[[Purpose, Cancel], AbstractContextManager[Tree]]
MISSING = f"{NOT_REPLAYED}, newest files may be missing"


class Session:
    """Looks at once with what is at hand; where that leaves a journal out, has it replayed and then changes over."""

    def __init__(self, point: str, access: Access, opening: Opening) -> None:
        """point: VM/DISK@TIME. opening: gives the tree; may take long, and raises what the technician reads."""
        self.point = point
        self.access = access
        self.reader: Reader | None = None
        self._opening = opening
        self._cancel = Cancel()
        self._better: Reader | None = None
        self._replaying = ""  # why the better tree is not there yet; empty where none is wanted
        self._ending = threading.Lock()
        self._held = ExitStack()

    def start(self, _: Task) -> None:
        """Open it; the reader is there afterwards."""
        self.reader = self._opened("look")

    def _opened(self, purpose: Purpose) -> Reader:
        tree = self._opening(purpose, self._cancel)
        with self._ending:
            found = Reader(self._held.enter_context(tree))
            if self._cancel:  # the screen was left meanwhile
                self._held.close()
                raise Stopped()
            return found

    def served(self, path: bytes) -> str:
        """Who serves a path, in words; may start an appliance."""
        assert self.reader is not None
        serving = self.reader.serving(path)
        if serving is None:
            return "This disk has several file systems; each is a folder here."
        if serving.state == NOT_REPLAYED:
            return f"! {serving.format}: {MISSING}{self._replayed_soon(path)}"
        how = "read directly" if serving.driver == "quick" else f"read by {serving.driver}"
        return f"{serving.format}, {how}, {serving.state or 'clean'}"

    # ── the better tree ─────────────────────────────────────────────────────────────────────────────

    def _replayed_soon(self, path: bytes) -> str:
        """Begin to have the journal replayed, once; how that stands."""
        if not self._replaying:
            self._replaying = "replaying it ..."
            threading.Thread(target=self._replay, args=(path,), daemon=True, name="browse-replay").start()
        return f"; {self._replaying}"

    def _replay(self, path: bytes) -> None:
        try:
            better = self._opened("take")
            better.serving(path)
            self._better = better
        except (CrashcartError, OSError, RuntimeError):
            self._replaying = "it cannot be replayed"

    def poll(self) -> bool:
        """Whether a better reader has taken the place."""
        if self._better is None or self._better is self.reader:
            return False
        self.reader = self._better
        return True

    def close(self) -> None:
        """Let go of it, without the screen waiting for who still reads."""
        self._cancel.set()
        threading.Thread(target=self._close, daemon=True).start()

    def _close(self) -> None:
        with self._ending, ExitStack() as still:
            for reader in filter(None, (self.reader, self._better)):
                still.enter_context(reader.held())
            self._held.close()


def opening(access: Access, point: str) -> Opening:
    """How a point of a repository is opened for looking."""

    @contextmanager
    def opened(purpose: Purpose, cancel: Cancel) -> Iterator[Tree]:
        from engines.backup.files import reach

        with (
            access.unlocked() as repository,
            reach.opened(repository, names.parse(point), purpose=purpose, cancel=cancel) as tree,
        ):
            yield tree

    return opened


def warmed(access: Access, point: str) -> tuple[str, bool]:
    """What is in a point, in words; an appliance is begun where one will be needed. Raises Refused, BrowseError."""
    from engines.backup.files.appliance import client
    from engines.backup.files.volumes.disk_map import survey

    name = names.parse(point)
    with access.unlocked() as repository, open_point(repository, name, "looking at the disk") as source:
        infos = survey(source).volumes
    if needed := any(map(needs_appliance, infos)):
        client.begin(access.task(), name)
    return ", ".join(f"{info.name} {info.format or 'unknown'}" for info in infos), needed


def needs_appliance(info: VolumeInfo) -> bool:
    """Whether the quick driver cannot read it, or not whole; it replays journals of ext by itself."""
    if not {*APPLIANCE} & {*info.drivers} or info.format == "luks":
        return False
    return "quick" not in info.drivers or (info.dirty == NOT_REPLAYED and not info.format.startswith("ext"))
