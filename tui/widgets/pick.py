"""One of several options, `(*)` for the one that holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Pick(Widget, can_focus=True):
    """Up and down move, Space takes, Enter takes and goes on."""

    DEFAULT_CSS = """
    Pick { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "take", "Pick"),
        Binding("enter", "take_and_go", "Next field"),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
    ]
    cursor: reactive[int] = reactive(0, layout=True)
    taken: reactive[int] = reactive(0)

    @dataclass
    class Taken(Message):
        """An option was taken; `on` says whether to go to the next field."""

        pick: Pick
        value: Any
        on: bool

    def __init__(self, options: Sequence[tuple[Any, str, str]], chosen: Any, *, id: str | None = None) -> None:
        """`options` are (value, label, why); a `chosen` among none of them leaves all unmarked."""
        super().__init__(id=id)
        self.options = tuple(options)
        at = next((at for at, option in enumerate(self.options) if option[0] == chosen), -1)
        self.set_reactive(Pick.taken, at)
        self.set_reactive(Pick.cursor, max(at, 0))

    @property
    def value(self) -> Any:
        """The option that holds, None where none does."""
        return self.options[self.taken][0] if self.taken >= 0 else None

    def take(self, value: Any) -> None:
        """Take an option by its value."""
        self.taken = next(at for at, option in enumerate(self.options) if option[0] == value)
        self.cursor = self.taken

    def on_click(self, event: Click) -> None:
        """A click takes the option that it hits."""
        tall = [at for at, (_, _, why) in enumerate(self.options) for _ in range(2 if why else 1)]
        if event.y < len(tall):
            self.cursor = tall[event.y]
            self.action_take()

    def render(self) -> Content:
        lines: list[Content] = []
        for at, (_, label, why) in enumerate(self.options):
            here = self.has_focus and at == self.cursor
            mark = f"{'>' if here else ' '} ({'*' if at == self.taken else ' '}) "
            lines.append(Content.assemble(mark, (label, "reverse" if here else "")))
            if why:
                lines.append(Content(f"      {why}"))
        return Content("\n").join(lines)

    def action_move(self, by: int) -> None:
        """Move within the options; at either end the focus moves on."""
        if 0 <= self.cursor + by < len(self.options):
            self.cursor += by
            self.refresh()
        elif by > 0:
            self.screen.focus_next()
        else:
            self.screen.focus_previous()

    def action_take(self) -> None:
        """Take the option under the cursor."""
        self._take(on=False)

    def action_take_and_go(self) -> None:
        """Take the option under the cursor and go on."""
        self._take(on=True)

    def _take(self, *, on: bool) -> None:
        self.taken = self.cursor
        self.refresh()
        self.post_message(self.Taken(self, self.value, on))
