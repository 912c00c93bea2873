"""A value chosen from a list instead of typed: what is known, and the files of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from tui.widgets.calm import LeanScreen
from tui.widgets.keys import Keys
from tui.widgets.menu import Menu, Row

PATHS = ("file", "folder", "output")
WHY = "Letters go to a name that begins so. Enter takes it, or opens a folder."


@dataclass(frozen=True)
class Offer:
    """A value that a field can have, and where it is known from."""

    value: str
    words: str = ""


class Picker(LeanScreen[str]):
    """Dismissed with the value, with "" where it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o", "dismiss('')", "Back")]

    def __init__(self, heading: str, offers: Callable[[], Sequence[Offer]], kind: str = "text", text: str = "") -> None:
        """`kind`: as of a form's field; a path shows the folders of this machine. `text`: what is typed so far."""
        super().__init__()
        self.heading = heading
        self.offers = offers
        self.kind = kind
        self.folder = _start(text)

    def compose(self) -> ComposeResult:
        yield Static(Content(f"crashcart | {self.heading}"), id="title")
        yield Menu([Row("Reading ...")], id="home", jumps=True)
        yield Static(Content(WHY), id="why")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(Menu).focus()
        self._look(self.folder, first=True)

    @work(thread=True, exclusive=True, group="pick", exit_on_error=False)
    def _look(self, folder: str, *, first: bool, aim: str = "") -> tuple[list[Row], str]:
        known = [Row(offer.value, f"value:{offer.value}", offer.words) for offer in self.offers()] if first else []
        files = _files(folder, self.kind) if self.kind in PATHS else []
        if known and files:
            return [Row("Known"), *known, Row(""), *files], aim
        return known or files or [Row("Nothing is known yet: type it.")], aim

    @on(Worker.StateChanged)
    def _looked(self, event: Worker.StateChanged) -> None:
        event.stop()
        if event.worker.group != "pick" or event.state is not WorkerState.SUCCESS or not event.worker.result:
            return
        rows, aim = event.worker.result
        menu = self.query_one(Menu)
        menu.fill(rows)
        menu.go_to(f"open:{aim}" if aim else next((row.id for row in rows if row.id), ""))

    @on(Menu.Moved)
    def _moved(self, event: Menu.Moved) -> None:
        self.query_one("#why", Static).update(Content(f"{event.row.why or WHY}"), layout=False)

    @on(Menu.Chosen)
    def _chosen(self, event: Menu.Chosen) -> None:
        event.stop()
        what, _, value = event.id.partition(":")
        if what == "open":
            left = self.folder if value == os.path.dirname(self.folder) else ""  # noqa: PTH120  as text
            self.folder = value
            self._look(value, first=False, aim=left)
        else:
            self.dismiss(value)


def _start(text: str) -> str:
    """The folder that a typed path leads to, as far as it exists."""
    folder = os.path.abspath(os.path.expanduser(text or "."))  # noqa: PTH100, PTH111  pathlib raises on unknown users
    while not os.path.isdir(folder):  # noqa: PTH112  pathlib raises where a name is too long
        folder = os.path.dirname(folder)  # noqa: PTH120  as above
    return folder


def _files(folder: str, kind: str) -> list[Row]:
    """What lies in a folder: the way up, itself where one may be taken, folders, then files; hidden ones last."""
    above = os.path.dirname(folder)  # noqa: PTH120  as text
    rows = [Row(f"In {folder}")]
    rows += [Row(f"[take {folder}]", f"take:{folder}", "This folder.")] if kind != "file" else []
    rows += [Row("../", f"open:{above}", above)] if above != folder else []
    try:
        with os.scandir(folder) as found:
            entries = [(entry.name, entry.is_dir()) for entry in found]
    except OSError as error:
        return [*rows, Row(f"! {(error.strerror or str(error)).lower()}")]
    for name, is_folder in sorted(entries, key=lambda entry: (entry[0].startswith("."), not entry[1], entry[0])):
        path = os.path.join(folder, name)  # noqa: PTH118  as text
        if is_folder:
            rows.append(Row(f"{name}/", f"open:{path}", path))
        elif kind != "folder":
            rows.append(Row(name, f"take:{path}", path))
    return rows
