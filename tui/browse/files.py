"""What is done with the files of a restore point: mark, narrow, find, take out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.widgets import Input

from engines.backup.files.model import Node, join, parsed
from tui.browse.background import Told
from tui.browse.finding import Finding, Found
from tui.browse.folders import Folders, Narrow
from tui.browse.taking import begin, choose
from tui.widgets.asking import Choosing, Typing
from tui.widgets.menu import Row


class Files(Folders):
    """Space marks, r restores what is marked or stands under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark"),
        Binding("asterisk", "mark_all", "Mark all", show=False),
        Binding("slash", "narrow", "Narrow"),
        Binding("f", "find", "Find"),
        Binding("g", "go_to", "Go to", show=False),
        Binding("v", "view", "View", show=False),
        Binding("r", "take", "Restore"),
        Binding("escape,ctrl+o", "back", "Back"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not self.query_one(Narrow).has_focus if action == "narrow" and self.is_mounted else True

    def learned(self, event: Told) -> None:
        match event.task.job, event.result:
            case "all", (bool() as on, list() as found):
                (self.marks.add if on else self._unmark)(found)
                self.listing.refresh()
                self._marked()
            case "count", (bytes() as path, int() as files, int() as size):
                self.marks.counted(path, files, size)
                self._marked()
            case _:
                super().learned(event)

    # ── marks ───────────────────────────────────────────────────────────────────────────────────────

    def action_mark(self) -> None:
        """Mark the entry under the cursor, or take its mark away; go on to the next."""
        node: Node | None = self.listing.row
        if node is None or self.volume(node) is not None:
            return
        self.marks.turn(join(self.path, node.name), node)
        self.listing.redraw()
        self.listing.action_move(1)
        self._marked()

    def action_mark_all(self) -> None:
        """Mark all entries on show; where all are marked, none."""
        nodes, path, marked = self.listing.rows, self.path, self.marks.nodes
        if nodes and self.volume(nodes[0]) is None:
            self.aside.begin("all", lambda _: _all(nodes, path, marked))

    def _unmark(self, found: list[tuple[bytes, Node]]) -> None:
        self.marks.drop(path for path, _ in found if path in self.marks.nodes)

    def _marked(self) -> None:
        """Tell the marks, and look into a marked folder that nobody has counted."""
        self.tell()
        folder = next(iter(self.marks.uncounted), None)
        if folder is not None and not self.aside.at_work("count") and (reader := self.session.reader):
            self.aside.begin("count", lambda task: reader.weighed(folder, task))

    # ── narrowing, finding, going ───────────────────────────────────────────────────────────────────

    def action_narrow(self) -> None:
        """Type what the names must have in them."""
        self.narrowing(on=True)

    @on(Input.Changed)
    def _narrowed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self.needle and self.query_one("#narrow").display:
            self.needle = event.value
            self.fill()

    @on(Input.Submitted)
    def _kept(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value:
            self.listing.focus()
        else:
            self.narrowing(on=False)

    @work
    async def action_find(self) -> None:
        """Search the whole point for a name."""
        reader = self.session.reader
        if reader is None:
            return
        said = await self.app.push_screen_wait(Typing("Find", "Part of a name, or a pattern like *.conf:"))
        if said:
            found: Found | None = await self.app.push_screen_wait(Finding(reader, said, self.marks))
            self.listing.refresh()
            self._marked()
            if found is not None:
                above, _, name = found.path.rpartition(b"/")
                self.load(above or b"/", name)

    @work
    async def action_go_to(self) -> None:
        """Type a path and go there."""
        said = await self.app.push_screen_wait(Typing("Go to", "A folder or file of this point, like /etc/hosts:"))
        if said:
            self.look(parsed(said))

    def action_view(self) -> None:
        """Show the beginning of the file under the cursor."""
        if self.listing.row is not None and not self.listing.row.is_folder:
            self.listing.action_choose()

    # ── out ─────────────────────────────────────────────────────────────────────────────────────────

    @work
    async def action_take(self) -> None:
        """Take out what is marked, or else what stands under the cursor."""
        node: Node | None = self.listing.row
        if node is not None and not self.marks.nodes and self.volume(node) is None:
            self.marks.add([(join(self.path, node.name), node)])
            self.listing.redraw()
            self._marked()
        if self.marks.nodes and (where := await self.app.push_screen_wait(choose(self.marks))):
            self.post_message(begin(where, self.session.point, self.session.access, list(self.marks.nodes)))

    def action_back(self) -> None:
        """Out of what was begun last: narrowing, loading, the folder, the point."""
        if self.needle or self.query_one(Narrow).has_focus:
            here: Node | None = self.listing.row
            self.aim = here.name if here is not None else b""
            self.narrowing(on=False)
            self.fill()
        elif self.stop_loading():
            return
        elif self.path != b"/" and self.session.reader:
            self.action_up()
        else:
            self._leave()

    @work
    async def _leave(self) -> None:
        if self.marks.nodes:
            rows = [Row("Stay here", "stay"), Row("Leave, and forget the marks", "leave")]
            if await self.app.push_screen_wait(Choosing("Leave?", self.marks.words(), rows)) != "leave":
                return
        self.dismiss(None)


def _all(nodes: Sequence[Node], folder: bytes, marked: Mapping[bytes, Node]) -> tuple[bool, list[tuple[bytes, Node]]]:
    """What to mark, or, where all of it is marked, what to unmark."""
    found = [(join(folder, node.name), node) for node in nodes]
    fresh = [each for each in found if each[0] not in marked]
    return (True, fresh) if fresh else (False, found)
