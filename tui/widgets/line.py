"""One line of input, with Tab completing paths as a shell does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from rich.cells import cell_len
from textual import events, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from tui.widgets.completing import Completion, as_item, choose, complete, last_item
from tui.widgets.picking import PATHS, Offer, Picker

SHOWN = 8  # candidates named under the field at once


class Knows(Protocol):
    """What a field can be filled in with; asked in a thread."""

    def earlier(self) -> list[str]:
        """Whole texts of earlier runs, newest first."""
        ...

    def offers(self, *, far: bool = True) -> list[Offer]:
        """Values, the likeliest first; `far` asks other machines, too."""
        ...


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
        Binding("ctrl+f", "pick", "Pick"),
        Binding("ctrl+r", "earlier", "Earlier value", show=False),
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
        known: Knows | None = None,
        label: str = "",
    ) -> None:
        """`replaces`: typing replaces what is there, so that 40 typed over 3 is not 340. `several`: a list.

        known: what Tab, ^f and ^r offer besides paths. label: the heading of what ^f shows.
        """
        super().__init__(value, password=password, compact=True, select_on_focus=replaces)
        self.kind = kind
        self.several = several
        self.known = None if password else known
        self.label = label
        self._before: list[str] = []  # what ^r has yet to offer
        self.cursor_blink = False  # each blink is bytes on a serial line

    def on_resize(self) -> None:
        """A long path shows its end, which says more than its beginning."""
        self.scroll_to(x=max(0, cell_len(self.value) + 1 - self.size.width), animate=False, force=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        known = self.known is not None
        wanted = {
            "complete": self.kind in PATHS or (known and self.kind != "number"),
            "pick": (self.kind in PATHS and not self.password) or known,
            "earlier": known,
        }
        return wanted.get(action, super().check_action(action, parameters))

    def put(self, text: str) -> None:
        """Have `text` in the line, the cursor behind it."""
        self.value = text
        self.cursor_position = len(text)

    def on_paste(self, event: events.Paste) -> None:
        """Pasted lines are a list's items; another field takes the first that is not empty, and tells of the rest."""
        lines = [text if self.password else text.strip() for text in event.text.splitlines() if text.strip()]
        event.text = lines[0] if lines else ""
        if len(lines) > 1 and self.several:
            event.text = ", ".join(as_item(text, whole=True) for text in lines)
        elif len(lines) > 1:
            words = f"the first of {len(lines)} pasted lines was taken"
            self.call_later(self.post_message, self.Offers(self, words))  # behind the change, which clears such words

    # ── completing ──────────────────────────────────────────────────────────────────────────────────

    def action_complete(self) -> None:
        """Complete it; again, and the next names are told; what is whole, or is no name, goes on."""
        self._look(self.value)

    @work(thread=True, exclusive=True, group="complete", exit_on_error=False)
    def _look(self, text: str) -> tuple[str, Completion]:
        before, item = last_item(text) if self.several else ("", text)
        return before, self._completion(item)

    def _completion(self, item: str) -> Completion:
        offers = self.known.offers(far=False) if self.known and (self.kind not in PATHS or not item) else []
        values = [offer.value for offer in offers]
        if self.kind in PATHS and not values:
            return complete(item, folders_only=self.kind == "folder")
        found = choose(item, values)
        free = found.wrong and not any(offer.words == "in the repository" for offer in offers)
        return Completion(item, whole=True) if free else found

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Take over what was found, unless typing went on meanwhile."""
        event.stop()
        if event.state is not WorkerState.SUCCESS:
            return
        if event.worker.group == "earlier":
            self._before = event.worker.result or []
            self._step_back()
        elif event.worker.group == "complete" and isinstance(event.worker.result, tuple):
            self._take_over(*event.worker.result)

    def _take_over(self, before: str, found: Completion) -> None:
        if not self.value.startswith(before):
            return
        text = before + (as_item(found.text, whole=found.whole) if self.several else found.text)
        same = text == self.value
        if not same:
            self.put(text)
        if same and found.whole:
            self.screen.focus_next()
            return
        self._page = self._page + 1 if same and found.names == self._offered else 0
        self._offered = found.names
        self.post_message(self.Offers(self, found.wrong or told(found.names, self._page)))

    # ── picking, and what was typed before ──────────────────────────────────────────────────────────

    @work
    async def action_pick(self) -> None:
        """Choose it from what is known, or from the files of this machine."""
        before, item = last_item(self.value) if self.several else ("", self.value)
        said = await self.app.push_screen_wait(Picker(self.label or "Pick", self._known, self.kind, item))
        if said:
            self.put(before + (as_item(said, whole=True) if self.several else said))
        self.focus()

    def _known(self) -> Sequence[Offer]:
        return self.known.offers() if self.known else ()

    def action_earlier(self) -> None:
        """The value of the run before; again, and of the one before that; behind the oldest, what was there."""
        if self._before and self.value in self._before:
            self._step_back()
        else:
            self._remember(self.value)

    @work(thread=True, exclusive=True, group="earlier", exit_on_error=False)
    def _remember(self, now: str) -> list[str]:
        assert self.known is not None
        return [now, *(text for text in self.known.earlier() if text != now)]

    def _step_back(self) -> None:
        if len(self._before) < 2:
            self.post_message(self.Offers(self, "no earlier run had another value"))
            return
        at = self._before.index(self.value) if self.value in self._before else 0
        self.put(self._before[(at + 1) % len(self._before)])

    _offered: tuple[str, ...] = ()
    _page: int = 0


def told(names: tuple[str, ...], page: int) -> str:
    """One page of names, and how many there are in all where one page does not hold them."""
    pages = max(1, -(-len(names) // SHOWN))
    at = page % pages * SHOWN
    more = f"  ({at + 1}-{min(at + SHOWN, len(names))} of {len(names)}, Tab: more)" if pages > 1 else ""
    return "  ".join(names[at : at + SHOWN]) + more
