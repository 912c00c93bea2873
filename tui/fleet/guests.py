"""The Fleet page: every guest with its light, age and where it is kept; Enter shows its runs."""

from __future__ import annotations

import os
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from engines.fleet.commands.status import StatusParams, answer
from engines.fleet.config.load import PATH, Mistakes
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.ledger.rows import Job
from engines.fleet.morning.night import headline, took, what
from engines.fleet.morning.standing import Row as Guest
from engines.fleet.morning.standing import Standing
from engines.job import units
from tui.browse.background import Background, Told
from tui.widgets.asking import Typing
from tui.widgets.menu import Menu, Row
from tui.widgets.menued import MenuScreen
from tui.widgets.reading import Text

MOST = 200  # runs of a guest that are shown


class Guests(MenuScreen[None]):
    """A row a guest, by what the repositories hold."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("r", "look", "Look again"),
        Binding("f", "file", "Another fleet"),
        Binding("escape,ctrl+o", "back", "Back"),
    ]

    def __init__(self, path: Path = PATH) -> None:
        super().__init__()
        self.path = path
        self.aside = Background(self)
        self.standing: Standing | None = None
        self.wanted = ""

    def compose(self) -> ComposeResult:
        yield from self.composed("crashcart | Fleet | every guest", Menu([Row("")], id="home"))

    def on_mount(self) -> None:
        self.action_look()

    def on_unmount(self) -> None:
        self.aside.end()

    def action_look(self) -> None:
        """Ask hosts and repositories."""
        if not self.path.exists():
            self.say(f"! f names another file: there is no {self.path}")
            return
        self.say(f"Asking the hosts and repositories of {self.path} ...")
        self.aside.begin("look", lambda _: answer(StatusParams(fleet=str(self.path))))

    @on(Told)
    def _told(self, event: Told) -> None:
        if not self.aside.wanted(event):
            return
        if isinstance(mistakes := event.refused, Mistakes):
            self.say(f"! {event.error}")
            self.app.push_screen(Text(f"Fleet | {self.path.name}", lambda: "\n".join(mistakes.lines)))
        elif event.error:
            self.say(f"! {event.error}")
        elif isinstance(event.result, Standing):
            self.standing = event.result
            self._show()

    def _show(self) -> None:
        assert self.standing is not None
        rows = [row for row in self.standing.rows if not self.wanted or fnmatchcase(row.name, self.wanted)]
        silent = "".join(f"; host {host} is silent" for host in self.standing.silent)
        silent += "".join(f"; host {host} shows no guest" for host in self.standing.emptied)
        filtered = f" | {self.wanted}: {len(rows)}" if self.wanted else ""
        title = f"crashcart | Fleet | {headline(self.standing)}{silent}{filtered}"
        self.query_one("#title", Static).update(Content(units.one_line(title)))
        menu = self.query_one(Menu)
        menu.fill([Row(head()), *map(line, rows)] if rows else [Row("no guest is called so")])
        self.say("")
        menu.action_move(-len(rows) - 1)

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        guest = next((row for row in self.standing.rows if row.uuid == event.id), None) if self.standing else None
        if guest:
            self.app.push_screen(Text(f"Fleet | {guest.name}", lambda: runs(self.path, guest)))

    @work
    async def action_filter(self) -> None:
        """Show some of them."""
        said = await self.app.push_screen_wait(Typing("Filter", "Guests of such names, like web*; nothing for all:"))
        if said is not None and self.standing:
            self.wanted = said
            self._show()

    @work
    async def action_file(self) -> None:
        """Take another fleet.yaml."""
        said = await self.app.push_screen_wait(Typing("Fleet", "The file with hosts and policies:", kind="file"))
        if said:
            self.path = Path(os.path.expanduser(said)).absolute()  # noqa: PTH111  pathlib raises where there is no such user
            self.action_look()

    def action_back(self) -> None:
        """Give up looking, or leave."""
        if self.aside.at_work("look"):
            self.aside.drop("look")
            self.say("Stopped.")
        else:
            self.dismiss(None)


def head() -> str:
    """What stands over the rows."""
    return f"{'guest':<20} {'stands':<9} {'last good':>12} {'stored':>10}  where"


def line(guest: Guest) -> Row:
    """A guest's row; what is wrong with it, and what helps, in the line below the list."""
    age = "never" if guest.age is None else units.span(guest.age)
    name = guest.name if len(guest.name) <= 20 else guest.name[:19] + "~"
    text = f"{name:<20} {guest.light:<9} {age:>12} {units.size(guest.stored):>10}  {', '.join(guest.where) or '-'}"
    helps = f" What helps: {guest.what_helps}." if guest.what_helps else ""
    allowed = f"allowed are {units.span(guest.late_after)}" if guest.late_after else ""
    why = guest.why or f"on {guest.host}, policy {guest.policy}, {allowed}"
    return Row(units.one_line(text)[:78], guest.uuid, units.one_line(f"{why}.{helps}"))


def runs(path: Path, guest: Guest) -> str:
    """Its jobs, the newest first."""
    fleet = StatusParams(fleet=str(path)).read()
    with Ledger(place(fleet)) as ledger:
        jobs = ledger.jobs("uuid = ?", (guest.uuid,))
    shown = sorted(jobs, key=lambda job: -(job.started or job.planned))[:MOST]
    lines = [f"{guest.name} on {guest.host}: {guest.light}", *filter(None, (guest.why, guest.what_helps)), ""]
    return units.clean("\n".join([*lines, *(text for job in shown for text in told(job))] or ["no run of it is known"]))


def told(job: Job) -> list[str]:
    """One run in lines."""
    begun = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(job.started or job.planned))
    moved = f"{units.size(job.read)} read, {units.size(job.stored)} stored" if job.ended else "not ended"
    first = f"{begun}  {job.state:<8} {what(job)}, {units.span(took(job, time.time()))}, {moved}"
    return [first, *(f"    {text}" for text in (job.why, job.what_helps, job.run and f"run {job.run}") if text)]
