"""A name searched for over every point of some disks: where it lies, since when and until when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from typing_extensions import override

from engines.backup.commands.search import Match, Searched, SearchParams, answer
from engines.job.units import one_line
from tui.browse.access import Access
from tui.browse.background import Background, Task, Told
from tui.browse.files import Files
from tui.browse.session import Session, opening
from tui.widgets.asking import Typing
from tui.widgets.menu import Menu, Row
from tui.widgets.menued import MenuScreen


def ask(screen: Screen[None], access: Access, disks: Sequence[str]) -> None:
    """Have a name typed on `screen`, then search the points of `disks` (VM/DISK) for it."""

    def begun(wanted: str | None) -> None:
        if wanted:
            screen.app.push_screen(Searching(access, disks, wanted))

    words = "A name, or a pattern with * ? [abc]; with a / in it, the whole path:"
    screen.app.push_screen(Typing("Search every point", words), begun)


class Searching(MenuScreen[None]):
    """What is found disk by disk; Enter opens the newest point that has it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+x", "stop", "Stop", priority=True),
        Binding("escape,ctrl+o", "dismiss(None)", "Back"),
    ]

    def __init__(self, access: Access, disks: Sequence[str], wanted: str) -> None:
        super().__init__()
        self.access = access
        self.disks = disks
        self.wanted = wanted
        self.aside = Background(self)
        self.found: list[Match] = []
        self.notes: list[str] = []
        self.points = 0
        self.how = ""

    def compose(self) -> ComposeResult:
        yield from self.composed(f"crashcart | points with {one_line(self.wanted)}", Menu([Row("")], id="home"))

    def on_mount(self) -> None:
        self._tell("Searching ...")
        self.aside.begin("search", self._search)

    def on_unmount(self) -> None:
        self.aside.end()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.aside.at_work("search") if action == "stop" else True

    def _search(self, task: Task) -> None:
        own = self.access.task()
        for disk in self.disks:
            if task.unwanted:
                return
            asked = SearchParams(
                repo=own.repo, key_file=own.key_file, passphrase=own.passphrase, pattern=self.wanted, only=disk
            )
            task.tell(answer(asked))

    @on(Told)
    def _told(self, event: Told) -> None:
        if not self.aside.wanted(event):
            return
        if isinstance(event.result, Searched):
            self.points += event.result.points
            self.found += event.result.found
            self.notes += event.result.notes
            self.query_one(Menu).fill([Row(""), *(self._row(at, match) for at, match in enumerate(self.found))])
        how = f"! {event.error}" if event.error else "That is all." if event.over else "Searching ..."
        unread = f" {len(self.notes)} were not read: {self.notes[0]}" if self.notes else ""
        self._tell(f"{self.points:,} points searched, {len(self.found):,} found. {how}{unread}")
        self.refresh_bindings()

    def _tell(self, how: str) -> None:
        """How far the search is, and below it the row under the cursor."""
        self.how = how
        row = self.query_one(Menu).row
        self.say(f"{how}\n{row.why if row else ''}")

    @override
    def moved(self, row: Row) -> None:
        self._tell(self.how)

    def _row(self, at: int, match: Match) -> Row:
        oldest, newest = match.versions[0], match.versions[-1]
        ends = "still there" if match.here else "gone since"
        states = f"{len(match.versions)} versions" if len(match.versions) > 1 else "one version"
        since = f"{oldest.first.rpartition('@')[2]} to {newest.last.rpartition('@')[2]}"
        return Row(f"{match.disk}:{match.path}", str(at), f"{since}, {states}, {ends}. Enter: newest.")

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        point = self.found[int(event.id)].versions[-1].last
        self.app.push_screen(Files(Session(point, self.access, opening(self.access, point))))

    def action_stop(self) -> None:
        """Search no further."""
        self.aside.drop("search")
        self._tell(f"Stopped after {self.points:,} points, {len(self.found):,} found so far.")
        self.refresh_bindings()
