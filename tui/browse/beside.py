"""The beginning of the file under the cursor, beside its folder, once the cursor has come to rest."""

from __future__ import annotations

from textual import on
from textual.timer import Timer

from engines.backup.files.model import Node
from tui.browse.background import Background, Told
from tui.browse.preview import drawn, extent, looks_like_text
from tui.browse.reader import Reader
from tui.widgets.lines import Lines
from tui.widgets.rendering import Said

REST = 0.3  # s; a held key reads no file


class Beside(Lines, can_focus=False):
    """Shown where the screen is wide; Enter on the file opens it in the reader."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.aside = Background(self)
        self.resting: Timer | None = None
        self.node: Node | None = None

    def on_unmount(self) -> None:
        self.aside.end()

    def rest(self, reader: Reader | None, path: bytes, node: Node | None) -> None:
        """The cursor is on another entry; without a reader nothing is shown."""
        if self.resting:
            self.resting.stop()
        self.node = node
        if reader is None or node is None or not node.is_file:
            self.fill([])
            return
        self.resting = self.set_timer(REST, lambda: self.aside.begin("peek", lambda _: (path, reader.first(path))))

    @on(Told)
    def _told(self, event: Told) -> None:
        event.stop()
        if not self.aside.wanted(event) or self.node is None:
            return
        if event.error:
            self.fill([Said(f"! {event.error}", hang=2)])
        elif isinstance(event.result, tuple):
            raw: bytes = event.result[1]
            lines = [Said(line, exact=True) for line in drawn(raw, as_bytes=not looks_like_text(raw))]
            self.fill([Said(extent(self.node, len(raw)), "title", hang=2), Said(""), *lines])
