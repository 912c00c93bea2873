"""A name searched for in the whole restore point, what is found shown as it is found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from engines.backup.files import globs
from engines.backup.files.model import Node, shown
from tui.browse import words
from tui.browse.background import Background, Task, Told
from tui.browse.marks import Marks
from tui.browse.reader import Reader
from tui.widgets.calm import LeanScreen
from tui.widgets.keys import Keys
from tui.widgets.listing import Listing


@dataclass(frozen=True)
class Found:
    """A file whose name fits."""

    path: bytes
    node: Node


@dataclass(frozen=True)
class Part:
    """What was found since the last part, and how many names were looked at in all."""

    found: list[Found]
    looked: int


def matcher(wanted: str) -> Callable[[bytes], bool]:
    """Whether a name fits: a pattern where it has * ? or [, else any name that has it in it; capitals not minded."""
    needle = wanted.encode("utf-8", "surrogateescape").lower()
    if any(special in wanted for special in "*?["):
        fits = globs.matcher(needle)
        return lambda name: fits(name.lower())
    return lambda name: needle in name.lower()


class Finding(LeanScreen[Found | None]):
    """Enter goes to what was found, ^x stops the search."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark"),
        Binding("ctrl+x", "stop", "Stop", priority=True),
        Binding("escape,ctrl+o", "dismiss(None)", "Back"),
    ]

    def __init__(self, reader: Reader, wanted: str, marks: Marks) -> None:
        super().__init__()
        self.reader = reader
        self.wanted = wanted
        self.marks = marks
        self.aside = Background(self)
        self.found: list[Found] = []
        self.looked = 0

    def compose(self) -> ComposeResult:
        yield Static(Content(f"crashcart | names with {self.wanted}"), id="title")
        yield Static(Content(f"     {words.COLUMNS}"), id="columns")
        yield Listing(self._line)
        yield Static(id="why")
        yield Keys()

    def on_mount(self) -> None:
        listing = self.query_one(Listing)
        listing.fill(self.found)
        listing.focus()
        self._say("Searching ...")
        self.aside.begin("find", self._search)

    def on_unmount(self) -> None:
        self.aside.end()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "mark":
            return bool(self.found)
        return self.aside.at_work("find") if action == "stop" else True

    def _line(self, found: Found) -> str:
        name = words.tail(shown(found.path), max(10, self.size.width - 43))
        return words.line(found.node, marked=found.path in self.marks.nodes, name=name)

    def _search(self, task: Task) -> Part:
        fits, said, found, looked = matcher(self.wanted), time.monotonic(), list[Found](), 0
        for batch in self.reader.walk(b"/", task):
            looked += len(batch)
            found += [Found(path, node) for path, node in batch if fits(node.name)]
            if time.monotonic() - said > 0.5:
                task.tell(Part(found, looked))
                found, said = [], time.monotonic()
        return Part(found, looked)

    @on(Told)
    def _told(self, event: Told) -> None:
        if not self.aside.wanted(event):
            return
        if isinstance(event.result, Part):
            self.found += event.result.found
            self.looked = event.result.looked
            self.query_one(Listing).grow()
        how = f"! {event.error}" if event.error else "That is all." if event.over else "Searching ..."
        self._say(f"{self.looked:,} names looked at, {len(self.found):,} found. {how}")
        self.refresh_bindings()

    def _say(self, text: str) -> None:
        self.query_one("#why", Static).update(Content(f"{text}\n{self.marks.words()}"), layout=False)

    @on(Listing.Chosen)
    def _chosen(self, event: Listing.Chosen) -> None:
        self.dismiss(event.row)

    def action_stop(self) -> None:
        """Search no further."""
        self.aside.drop("find")
        self._say(f"Stopped after {self.looked:,} names, {len(self.found):,} found so far.")
        self.refresh_bindings()

    def action_mark(self) -> None:
        """Mark what stands under the cursor, or take its mark away."""
        listing = self.query_one(Listing)
        if listing.row is not None:
            self.marks.turn(listing.row.path, listing.row.node)
            listing.redraw()
            listing.action_move(1)
            self._say("")
