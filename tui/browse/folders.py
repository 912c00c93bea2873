"""A folder at a time: opened in a thread, shown as soon as something of it is there, left at any moment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from engines.backup.files.model import Node, VolumeInfo, join, shown
from tui.browse import words
from tui.browse.background import Background, Task, Told
from tui.browse.beside import Beside
from tui.browse.folder import Folder, narrowed
from tui.browse.marks import Marks
from tui.browse.preview import Preview
from tui.browse.session import Session
from tui.widgets.calm import LeanScreen
from tui.widgets.keys import Keys
from tui.widgets.line import Line
from tui.widgets.listing import Listing

WIDE = 120  # columns from which a file is shown beside its folder
SLOW = 3  # s; what is read directly is there by then, so the wait deserves its reason


@dataclass(frozen=True)
class Opened:
    """A folder as far as it was read: `count` entries; `nodes` is None where those on show stay for now."""

    path: bytes
    nodes: list[Node] | None
    count: int
    serves: str


class Narrow(Line):
    """The line that narrows the folder."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Keep")]


class Folders(LeanScreen[None]):
    """Enter goes in, Escape goes out; nothing here writes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,backspace", "up", "Up", show=False),
        Binding("right", "open_folder", "Open", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.aside = Background(self)
        self.marks = Marks()
        self.path = b"/"
        self.nodes: list[Node] = []
        self.needle = ""
        self.cursors: dict[bytes, bytes] = {}
        self.aim = b""  # the name that the cursor goes to
        self.waits, self.since = "", 0.0

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        yield Static(Content(f"     {words.COLUMNS}"), id="columns")
        with Horizontal(id="middle"):
            yield Listing(self._line)
            yield Beside(id="beside")
        with Horizontal(id="narrow"):
            yield Static("Names with [", markup=False)
            yield Narrow()
            yield Static("]", markup=False)
        yield Static(id="serves")
        yield Static(id="why")
        yield Keys()

    @property
    def listing(self) -> Listing:
        """Where the entries stand."""
        return self.query_one(Listing)

    def on_mount(self) -> None:
        self.listing.focus()
        self._title()
        self._wait(f"Opening {self.session.point}")
        self.aside.begin("open", self.session.start)
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        self.aside.end()
        self.session.close()

    # ── what is on show ─────────────────────────────────────────────────────────────────────────────

    def _line(self, node: Node) -> str:
        info = self.volume(node)
        name = f"{info.name}/  {_volume_words(info)}" if info else ""
        return words.line(node, marked=join(self.path, node.name) in self.marks.nodes, name=name)

    def volume(self, node: Node) -> VolumeInfo | None:
        """What an entry stands for in the list of volumes; None in any folder."""
        reader = self.session.reader
        if reader is None or not reader.tree.is_top(self.path):
            return None
        return reader.tree.infos.get(node.name.decode())

    def _title(self) -> None:
        front = f"crashcart | {self.session.point} | "
        self._put("#title", front + words.tail(shown(self.path), max(20, self.size.width - 2 - len(front))))

    def _put(self, where: str, text: str) -> None:
        widget = self.query_one(where, Static)
        if str(widget.content) != text:
            widget.update(Content(text), layout=False)

    def _wait(self, what: str) -> None:
        """Say what is waited for; nothing any more where `what` is empty."""
        self.waits, self.since = what, time.monotonic()
        self.say(f"{what} ..." if what else "")

    def _tick(self) -> None:
        spent = int(time.monotonic() - self.since)
        if self.waits.startswith(("Opening", "Reading")) and spent >= SLOW:
            self.say(f"{self.waits} ... {spent} s; a virtual machine may have to start to read it")
        if self.session.poll() and not self.aside.at_work("load"):
            self.load(self.path)

    def say(self, text: str) -> None:
        """Words on the first line below the list; the second tells what is marked."""
        self._put("#why", f"{text}\n{self.marks.words()}")

    def tell(self) -> None:
        """The name under the cursor where its line has no room for it, and what is marked."""
        node: Node | None = self.listing.row
        whole = node is not None and len(words.line(node)) > self.size.width - 4
        self.say(words.named(node) if node is not None and whole else "")

    # ── opening folders ─────────────────────────────────────────────────────────────────────────────

    def load(self, path: bytes, aim: bytes = b"") -> None:
        """Open a folder, the cursor on the entry `aim`, or where it was when the folder was left."""
        here: Node | None = self.listing.row
        if here is not None:
            self.cursors[self.path] = here.name
        self.aim = aim or self.cursors.get(path, b"")
        self._wait(f"Reading {words.tail(shown(path), 14)}")
        self.aside.begin("load", lambda task: self._read(path, task))

    def _read(self, path: bytes, task: Task) -> Opened:
        assert self.session.reader is not None
        folder, said, first = Folder(), time.monotonic(), True
        pace = 1.0 if getattr(getattr(self.app, "terminal", None), "slow", False) else 0.25
        serves = self.session.served(path)
        for batch in self.session.reader.entries(path, task):
            folder.add(batch)
            if time.monotonic() - said > pace:
                task.tell(Opened(path, folder.nodes() if first else None, folder.count, serves))
                said, first = time.monotonic(), False
        return Opened(path, folder.nodes(), folder.count, serves)

    @on(Told)
    def _told(self, event: Told) -> None:
        if not self.aside.wanted(event):
            return
        if event.error:
            self._wait("")
            self.say(f"! {event.error}")
        else:
            self.learned(event)

    def learned(self, event: Told) -> None:
        """Take over what a thread found."""
        match event.task.job, event.result:
            case "open", _:
                self.load(self.path)
            case "load", Opened() as opened:
                self._opened(opened, whole=event.over)
            case "narrow", list() as nodes:
                self.listing.fill(nodes)
                self.tell()
            case "stat", (bytes() as path, Node() as node):
                self._wait("")
                self.go(path, node)

    def _opened(self, opened: Opened, *, whole: bool) -> None:
        if opened.path != self.path:
            self.path = opened.path
            self.narrowing(on=False)
            self._title()
        if opened.nodes is not None:
            self.nodes = opened.nodes
            self.fill()
        self._put("#serves", opened.serves)
        if not whole:
            self._wait(f"loading, {opened.count:,} so far")
            return
        self._wait("")
        self.tell()
        if not self.nodes:
            self.say("This folder is empty.")

    def fill(self) -> None:
        """Show the entries that have the needle in their names."""
        if self.needle:
            nodes, needle = self.nodes, self.needle
            self.aside.begin("narrow", lambda _: narrowed(nodes, needle))
            return
        at = next((at for at, node in enumerate(self.nodes) if node.name == self.aim), 0) if self.aim else 0
        self.listing.fill(self.nodes, at)

    def narrowing(self, *, on: bool) -> None:
        """Show or hide the line that narrows; hiding it ends the narrowing."""
        line = self.query_one(Narrow)
        self.query_one("#narrow").display = on
        if on:
            line.focus()
        else:
            self.needle = line.value = ""
            self.listing.focus()

    # ── moving ──────────────────────────────────────────────────────────────────────────────────────

    @on(Listing.Chosen)
    def _chosen(self, event: Listing.Chosen) -> None:
        node: Node = event.row
        info = self.volume(node)
        if info is not None and not info.drivers:
            self.say(f"{info.name} holds no files that can be shown: {info.format or 'its format is unknown'}.")
        elif node.is_link:
            self.look(join(self.path, node.name))
        else:
            self.go(join(self.path, node.name), node)

    def go(self, path: bytes, node: Node) -> None:
        """Into a folder, or the beginning of a file."""
        if node.is_folder:
            self.load(path)
        elif node.is_file and self.session.reader:
            self.app.push_screen(Preview(self.session.reader, path, node))
        else:
            self.say(f"{words.named(node)} is neither a file nor a folder: there is nothing to show.")

    def look(self, path: bytes) -> None:
        """Go where a path leads, its links followed."""
        if reader := self.session.reader:
            self._wait("Looking")
            self.aside.begin("stat", lambda _: reader.found(path))

    @on(Listing.Moved)
    def _moved(self) -> None:
        if not self.waits:
            self.tell()
        self._peek()

    def on_resize(self) -> None:
        """A wide screen shows the file under the cursor beside the list."""
        self.set_class(self.app.size.width >= WIDE, "-wide")
        self._peek()

    def _peek(self) -> None:
        node: Node | None = self.listing.row
        path = join(self.path, node.name) if node is not None else b""
        self.query_one(Beside).rest(self.session.reader if self.has_class("-wide") else None, path, node)

    def action_up(self) -> None:
        """The folder above, the cursor on the one that was left."""
        if self.path != b"/" and self.session.reader:
            above, _, name = self.path.rpartition(b"/")
            self.load(above or b"/", name)

    def action_open_folder(self) -> None:
        """Open the folder under the cursor."""
        if self.listing.row is not None and self.listing.row.is_folder:
            self.listing.action_choose()

    def stop_loading(self) -> bool:
        """Load no further; whether something was being loaded."""
        going = self.aside.at_work("load")
        if going:
            self.aside.drop("load")
            self._wait("")
            self.say("Stopped. Not everything is here.")
        return going


def _volume_words(info: VolumeInfo) -> str:
    told = [
        info.format or "unknown",
        words.brief(info.size),
        info.label and shown(info.label.encode()),
        info.subvolume,
        info.state,
    ]
    return ", ".join(filter(None, told))
