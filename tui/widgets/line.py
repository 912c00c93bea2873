"""One line of input, with Tab completing paths as a shell does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from tui.widgets.completing import Completion, complete, last_item

SHOWN = 8  # candidates named under the field at once


class Line(Input):
    """An Input of one row whose cursor is seen without colour; Enter goes on."""

    DEFAULT_CSS = """
    Line { background: $field-background; width: 1fr; }
    Line:focus { background: $field-background; background-tint: $field-background; }
    Line > .input--cursor { text-style: reverse; background: $field-background; color: $foreground; }
    Line > .input--selection { text-style: reverse; background: $field-background; color: $foreground; }
    Line:ansi > .input--selection { text-style: reverse; background: ansi_default; color: ansi_default; }
    Line:ansi > .input--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Next field"),
        Binding("tab", "complete", "Complete"),
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]

    @dataclass
    class Offers(Message):
        """Words about what Tab could still mean."""

        line: Line
        words: str

    def __init__(
        self,
        value: str = "",
        *,
        kind: str = "text",
        password: bool = False,
        replaces: bool = False,
        several: bool = False,
    ) -> None:
        """`replaces`: typing replaces what is there, so that 40 typed over 3 is not 340. `several`: a list of paths."""
        super().__init__(value, password=password, compact=True, select_on_focus=replaces)
        self.kind = kind
        self.several = several
        self.cursor_blink = False  # each blink is bytes on a serial line

    def on_resize(self) -> None:
        """A long path shows its end, which says more than its beginning."""
        self.scroll_to(x=max(0, cell_len(self.value) + 1 - self.size.width), animate=False, force=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "complete":
            return self.kind in ("file", "folder", "output")
        return super().check_action(action, parameters)

    def action_complete(self) -> None:
        """Complete the path; again, and the next names are told; a path that is whole goes on."""
        self._look(self.value)

    @work(thread=True, exclusive=True, group="complete", exit_on_error=False)
    def _look(self, text: str) -> tuple[str, Completion]:
        before, item = last_item(text) if self.several else ("", text)
        return before, complete(item, folders_only=self.kind == "folder")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Take the completion over, unless typing went on meanwhile."""
        event.stop()
        if event.state is not WorkerState.SUCCESS or not isinstance(event.worker.result, tuple):
            return
        before, found = event.worker.result
        if not self.value.startswith(before):
            return
        same = before + found.text == self.value
        if not same:
            self.value = before + found.text
            self.cursor_position = len(self.value)
        if same and found.whole:
            self.screen.focus_next()
            return
        self._page = self._page + 1 if same and found.names == self._offered else 0
        self._offered = found.names
        self.post_message(self.Offers(self, found.wrong or told(found.names, self._page)))

    _offered: tuple[str, ...] = ()
    _page: int = 0


def told(names: tuple[str, ...], page: int) -> str:
    """One page of names, and how many there are in all where one page does not hold them."""
    pages = max(1, -(-len(names) // SHOWN))
    at = page % pages * SHOWN
    more = f"  ({at + 1}-{min(at + SHOWN, len(names))} of {len(names)}, Tab: more)" if pages > 1 else ""
    return "  ".join(names[at : at + SHOWN]) + more
