"""Which repository: those used before on this machine, another one, or one made for trying it."""

from __future__ import annotations

from typing import ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from typing_extensions import override

from engines.backup.commands.listing import PointRow as Point
from engines.job.params import Secret
from tui.browse.access import Access, known
from tui.browse.background import Background, Told
from tui.browse.calendar import Disk, disks
from tui.browse.disks import Disks, Points
from tui.stage import Stages
from tui.widgets.asking import Typing
from tui.widgets.menu import Menu, Row
from tui.widgets.menued import MenuScreen

OTHER = Row("Another repository ...", "other:", "You type its folder, sftp://USER@HOST/FOLDER or s3://BUCKET/PREFIX.")
TRIAL = Row(
    "A repository to try it on", "trial:", "Made on this machine in a few seconds. Nothing of yours is touched."
)


class Repositories(MenuScreen[None]):
    """Opens a repository, asking for what unlocks it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o", "back", "Back")]

    where = "Browse"

    def __init__(self, stages: Stages) -> None:
        super().__init__()
        self.stages = stages
        self.aside = Background(self)
        self.access = Access("")

    def compose(self) -> ComposeResult:
        yield from self.composed(
            f"crashcart | {self.where} | which repository", Menu([Row(""), OTHER, TRIAL], id="home")
        )

    def on_mount(self) -> None:
        self.aside.begin("known", lambda _: known())

    def on_unmount(self) -> None:
        self.aside.end()

    @override
    def moved(self, row: Row) -> None:
        if not self.aside.at_work("look"):
            self.say(row.why)

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        kind, _, place = event.id.partition(":")
        match kind:
            case "used":
                self._open(Access(place))
            case "trial":
                self.say("Making a disk with a file system and three restore points ...")
                self.aside.begin("trial", lambda _: str(self.stages.make("backup").job.params["repo"]))
            case "other":
                self._ask_place()

    @work
    async def _ask_place(self) -> None:
        said = await self.app.push_screen_wait(
            Typing("Repository", "Its folder, sftp://USER@HOST/FOLDER or s3://BUCKET/PREFIX:", kind="folder")
        )
        if said:
            self._open(Access(said.rstrip("/") or "/"))

    def _open(self, access: Access) -> None:
        self.access = access
        self.say(f"Reading {access.repo} ...")
        self.aside.begin("look", lambda _: self.look(access))

    def look(self, access: Access) -> object:
        """What is read of it, or the name of what unlocks it. Raises Refused, Damaged."""
        return access.lacks() or access.points()

    @on(Told)
    def _told(self, event: Told) -> None:
        if not self.aside.wanted(event):
            return
        match event.task.job, event.result:
            case _ if event.error:
                self.say(f"! {event.error}")
            case "known", list() as places:
                menu = self.query_one(Menu)
                untouched = menu.row == OTHER
                menu.fill([Row(""), *map(_used, places), OTHER, TRIAL])
                if untouched:
                    menu.action_move(-len(menu.rows))
            case "trial", str() as place:
                self._open(Access(place))
            case "look", str() as lacking:
                self._ask_key(lacking)
            case "look", found:
                self.say("")
                self.present(found)

    @work
    async def _ask_key(self, lacking: str) -> None:
        secret = lacking == "passphrase"
        words = f"{self.access.repo} is locked. Its {lacking}:"
        said = await self.app.push_screen_wait(
            Typing("Unlock", words, secret=secret, kind="text" if secret else "file")
        )
        if said:
            place = self.access.repo
            self._open(Access(place, passphrase=Secret(said)) if secret else Access(place, key_file=said))

    def present(self, found: object) -> None:
        """Open what was read."""
        self._show(disks(cast("list[Point]", found)))

    def _show(self, found: list[Disk]) -> None:
        if not found:
            self.say(f"{self.access.repo} holds no restore point yet.")
        elif len(found) == 1:
            self.app.push_screen(Points(self.access, found[0]))
        else:
            self.app.push_screen(Disks(self.access, found))

    def action_back(self) -> None:
        """Give up reading, or leave."""
        if self.aside.at_work("look") or self.aside.at_work("trial"):
            self.aside.drop("look")
            self.aside.drop("trial")
            self.say("Stopped.")
        else:
            self.dismiss(None)


def _used(place: str) -> Row:
    return Row(place if len(place) <= 74 else "~" + place[-73:], f"used:{place}", "Used on this machine before.")
