"""Yes or no, `[x]` or `[ ]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Flag(Widget, can_focus=True):
    """Space changes it, Enter goes on, up and down go to the fields beside it."""

    DEFAULT_CSS = """
    Flag { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "change", "Change"),
        Binding("enter", "go", "Next field"),
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]
    value: reactive[bool] = reactive(False)

    @dataclass
    class Changed(Message):
        """It was changed, or Enter was pressed (`on`)."""

        flag: Flag
        on: bool

    def __init__(self, label: str, value: bool, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.label = label
        self.set_reactive(Flag.value, value)

    def render(self) -> Content:
        mark = f"{'>' if self.has_focus else ' '} [{'x' if self.value else ' '}] "
        return Content.assemble(mark, (self.label, "reverse" if self.has_focus else "bold"))

    def on_click(self) -> None:
        """A click is Space."""
        self.action_change()

    def action_change(self) -> None:
        """Turn it over."""
        self.value = not self.value
        self.post_message(self.Changed(self, on=False))

    def action_go(self) -> None:
        """Leave it and go on."""
        self.post_message(self.Changed(self, on=True))
