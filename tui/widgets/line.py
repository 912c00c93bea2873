"""One line of input, with Tab completing paths as a shell does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input
from textual.worker import Worker, WorkerState

SHOWN = 8  # candidates named under the field


@dataclass(frozen=True)
class Completion:
    """What Tab makes of a path: the text it becomes, and the names it could still become."""

    text: str
    names: tuple[str, ...] = ()


def complete(text: str, *, folders_only: bool) -> Completion:
    """The longest beginning that all fitting names share."""
    head, tail = os.path.split(text)
    folder = Path(head).expanduser()
    try:
        with os.scandir(folder) as found:
            fitting = sorted(
                entry.name + ("/" if entry.is_dir() else "")
                for entry in found
                if entry.name.startswith(tail)
                and (tail or not entry.name.startswith("."))
                and (entry.is_dir() or not folders_only)
            )
    except OSError:
        return Completion(text)
    if not fitting:
        return Completion(text)
    shared = os.path.commonprefix(fitting)  # noqa: RUF071  a shell, too, completes by characters
    return Completion(text[: len(text) - len(tail)] + shared, tuple(fitting) if len(fitting) > 1 else ())


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
        Binding("up", "screen.focus_previous", show=False),
        Binding("down", "screen.focus_next", show=False),
    ]

    @dataclass
    class Offers(Message):
        """The names that Tab could still mean."""

        line: Line
        names: tuple[str, ...]

    def __init__(self, value: str = "", *, kind: str = "text", password: bool = False, replaces: bool = False) -> None:
        """`replaces`: typing replaces what is there, so that 40 typed over 3 is not 340."""
        super().__init__(value, password=password, compact=True, select_on_focus=replaces)
        self.kind = kind
        self.cursor_blink = False  # each blink is bytes on a serial line

    def on_resize(self) -> None:
        """A long path shows its end, which says more than its beginning."""
        self.scroll_to(x=max(0, cell_len(self.value) + 1 - self.size.width), animate=False, force=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "complete":
            return self.kind in ("file", "folder", "output")
        return super().check_action(action, parameters)

    def action_complete(self) -> None:
        """Complete the path, or go on where there is nothing to complete."""
        if self.value:
            self._look(self.value)
        else:
            self.screen.focus_next()

    @work(thread=True, exclusive=True, group="complete", exit_on_error=False)
    def _look(self, text: str) -> Completion:
        return complete(text, folders_only=self.kind == "folder")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Take the completion over, unless typing went on meanwhile."""
        event.stop()
        found = event.worker.result
        if event.state is not WorkerState.SUCCESS or not isinstance(found, Completion):
            return
        if found.text != self.value:
            self.value = found.text
            self.cursor_position = len(found.text)
        elif not found.names or self._offered == found.names:
            self.screen.focus_next()
            return
        self._offered = found.names
        self.post_message(self.Offers(self, found.names))

    _offered: tuple[str, ...] = ()
