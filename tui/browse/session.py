"""One restore point, opened for looking: its tree, and who serves it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from engines.backup import names
from engines.backup.browse.tree import Tree
from engines.backup.byte_source import open_point
from engines.job.contract import Cancel
from tui.browse.access import Access
from tui.browse.aside import Task
from tui.browse.reader import Reader

Opening = Callable[[Cancel], AbstractContextManager[Tree]]


class Session:
    """Its reader may be exchanged for a better one while it is on show."""

    def __init__(self, point: str, access: Access, opening: Opening) -> None:
        """point: VM/DISK@TIME. opening: gives the tree; may take long, and raises what the technician reads."""
        self.point = point
        self.access = access
        self.reader: Reader | None = None
        self._opening = opening
        self._cancel = Cancel()
        self._held = ExitStack()

    def start(self, task: Task) -> None:
        """Open it; the reader is there afterwards."""
        held = ExitStack()
        tree = held.enter_context(self._opening(self._cancel))
        if task.unwanted:  # the screen was left meanwhile
            held.close()
            return
        self._held, self.reader = held, Reader(tree)

    def served(self, path: bytes) -> str:
        """Who serves a path, in words; may start an appliance."""
        assert self.reader is not None
        serving = self.reader.serving(path)
        if serving is None:
            return "This disk has several file systems; each is a folder here."
        how = "read directly" if serving.driver == "quick" else f"read by {serving.driver}"
        mark, state = "", serving.state or "clean"
        if "not replayed" in serving.state:
            mark, state = "! ", f"{serving.state}: the newest files may be missing"
        return f"{mark}{serving.format}, {how}, {state}"

    def poll(self) -> bool:
        """Whether a better reader has taken the place."""
        return False

    def close(self) -> None:
        """Let go of it, without the screen waiting for who still reads."""
        self._cancel.set()
        if self.reader:
            threading.Thread(target=self._close, daemon=True).start()

    def _close(self) -> None:
        assert self.reader is not None
        with self.reader.held():
            self._held.close()


def opening(access: Access, point: str) -> Opening:
    """How a point of a repository is opened for looking."""

    @contextmanager
    def opened(cancel: Cancel) -> Iterator[Tree]:
        from engines.backup.browse.opening import open_tree

        with (
            open_point(access.unlocked(), names.parse(point), "browsing") as source,
            open_tree(source, "auto", "look", cancel) as tree,
        ):
            yield tree

    return opened
