"""Which disk, and which moment of it: restore points by month, with what is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from typing_extensions import override

from engines.backup.commands.listing import PointRow as Point
from engines.job.units import one_line
from tui.browse.access import Access
from tui.browse.background import Background, Told
from tui.browse.calendar import Disk, disk_rows, point_rows
from tui.browse.files import Files
from tui.browse.searching import ask
from tui.browse.session import Session, opening, warmed
from tui.browse.taking import OpenTask
from tui.widgets.menu import Menu, Row
from tui.widgets.menued import MenuScreen

REST = 1.0  # s that the cursor rests on a point before it is looked into


class Disks(MenuScreen[None]):
    """The disks of a repository."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "search", "Search them all"),
        Binding("escape,ctrl+o", "dismiss(None)", "Back"),
    ]

    def __init__(self, access: Access, found: list[Disk]) -> None:
        super().__init__()
        self.access = access
        self.found: Mapping[str, Disk] = {disk.name: disk for disk in found}

    def compose(self) -> ComposeResult:
        yield from self.composed(
            f"crashcart | Browse | {one_line(self.access.repo)}", Menu(disk_rows(list(self.found.values())), id="home")
        )

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        self.app.push_screen(Points(self.access, self.found[event.id]))

    def action_search(self) -> None:
        """A name over all points of all disks."""
        ask(self, self.access, list(self.found))


class Points(MenuScreen[None]):
    """The restore points of one disk."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "task('backup-restore')", "Restore disk"),
        Binding("b", "task('backup-boot')", "Boot"),
        Binding("s", "search", "Search"),
        Binding("escape,ctrl+o", "dismiss(None)", "Back"),
    ]

    def __init__(self, access: Access, disk: Disk) -> None:
        super().__init__()
        self.access = access
        self.disk = disk
        self.found: Mapping[str, Point] = {point.point: point for point in disk.points}
        self.aside = Background(self)
        self.holds: dict[str, str] = {}
        self.resting: Timer | None = None

    def compose(self) -> ComposeResult:
        yield from self.composed(f"crashcart | Browse | {self.disk.name}", Menu(point_rows(self.disk), id="home"))

    def on_unmount(self) -> None:
        self.aside.end()

    @override
    def moved(self, row: Row) -> None:
        self._tell(row)
        if self.resting:
            self.resting.stop()
        point = row.id
        if point not in self.holds and not self.found[point].trouble:
            self.resting = self.set_timer(REST, lambda: self._look(point))

    def _look(self, point: str) -> None:
        """See what is on the disk; what will need an appliance gets one before it is asked for."""
        self.aside.begin("warm", lambda _: (point, *warmed(self.access, point)))

    @on(Told)
    def _told(self, event: Told) -> None:
        if not self.aside.wanted(event):
            return
        if event.error:
            return  # choosing the point says it, in full
        point, inside, needed = cast("tuple[str, str, bool]", event.result)
        self.holds[point] = f" Holds {inside}" + ("; its reader starts now." if needed else ".")
        if row := self.query_one(Menu).row:
            self._tell(row)

    def _tell(self, row: Row) -> None:
        self.say(row.why + self.holds.get(row.id, ""))

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        if self.found[event.id].trouble:
            self.say(f"! {event.id} cannot be read: choose another, or verify.")
        else:
            self.app.push_screen(Files(Session(event.id, self.access, opening(self.access, event.id))))

    def action_search(self) -> None:
        """A name over all points of this disk."""
        ask(self, self.access, [self.disk.name])

    def action_task(self, task: str) -> None:
        """Open a task's wizard with the point filled in."""
        if row := self.query_one(Menu).row:
            params = {**self.access.params(), "point": row.id}
            self.post_message(OpenTask(task, params, self.access.secrets()))
