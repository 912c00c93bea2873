"""A page of fields made from the parameters as the task declares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.widget import Widget
from textual.widgets import Input, Static

from engines.job.params import Field
from tui.draft import Draft, Raw, shown
from tui.fault import fault, in_labels
from tui.known import Known
from tui.pages.page import Page
from tui.widgets.asking import Typing
from tui.widgets.flag import Flag
from tui.widgets.line import Line
from tui.widgets.pick import Pick


class Entry(Vertical):
    """A field: its caption, what it is filled in with, and a line for what is wrong with it."""

    DEFAULT_CSS = """
    Entry { height: auto; margin-bottom: 1; }
    Entry > .caption { text-style: bold; height: auto; }
    Entry > .note { display: none; height: auto; padding-left: 2; }
    Entry > .note.-shown { display: block; }
    Entry > .note.-wrong { color: $error; }
    """

    def __init__(self, field: Field, draft: Draft) -> None:
        super().__init__()
        self.field = field
        self.remembered = field.name in draft.remembered
        self.control = _control(field, draft)

    def compose(self) -> ComposeResult:
        if not isinstance(self.control, Flag):
            yield Static(Content(self._caption()), classes="caption")
        if isinstance(self.control, Line):
            with Horizontal(classes="brackets"):
                yield Static("[", markup=False)
                yield self.control
                yield Static("]", markup=False)
        else:
            yield self.control
        yield Static("", classes="note")

    def _caption(self) -> str:
        hints = {"list": "several, with commas between", "secret": "not shown"}
        told = [hints[self.field.shape]] if self.field.shape in hints else []
        told += (
            ["may stay empty"]
            if not self.remembered and not self.field.required and self.field.default in (None, "", ())
            else []
        )
        told += ["as in the last run"] if self.remembered else []
        return self.field.label + (f"  ({'; '.join(told)})" if told else "")

    @property
    def raw(self) -> Raw:
        """What the form holds."""
        return str(self.control.value or "") if isinstance(self.control, Pick) else self.control.value

    def changed(self) -> None:
        """It is no more as it was in the last run."""
        if self.remembered:
            self.remembered = False
            self.query_one(".caption", Static).update(Content(self._caption()))

    def note(self, words: str, *, wrong: bool = False) -> None:
        """Words under the field, empty for none."""
        line = self.query_one(".note", Static)
        if not words and not line.has_class("-shown"):
            return
        line.update(Content(f"! {words}" if wrong else words))
        line.set_class(bool(words), "-shown")
        line.set_class(wrong, "-wrong")


def _control(field: Field, draft: Draft) -> Line | Pick | Flag:
    raw = draft.raw.get(field.name)
    value = shown(field, field.default) if raw is None else raw
    if field.shape == "flag":
        return Flag(field.label, bool(value))
    if field.shape == "choice":
        return Pick([(choice, choice, "") for choice in field.choices], value)
    return Line(
        str(value),
        kind="number" if field.shape in ("int", "float") else field.kind,
        password=field.shape == "secret",
        replaces=field.shape in ("int", "float") or bool(value),
        several=field.shape == "list",
        known=Known(draft, field),
        label=field.label,
    )


class FormPage(Page):
    """Fields of one form; Enter goes to the next, and from the last to the next page."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+n", "next", "Next page")]

    def __init__(
        self, heading: str, about: str, fields: Sequence[Field], draft: Draft, twice: Sequence[str] = ()
    ) -> None:
        """`twice`: the secrets that nothing else knows yet, so that a slip of the finger would lock them out."""
        super().__init__(heading, about)
        self.draft = draft
        self.twice = tuple(twice)
        self.repeated: dict[str, Raw] = {}
        self.entries = {field.name: Entry(field, draft) for field in fields}

    def compose(self) -> ComposeResult:
        yield Static(Content(self.about), classes="about")
        with VerticalScroll(can_focus=False):
            yield from self.entries.values()

    def arrive(self) -> None:
        """Focus the first field that is wrong, else the first."""
        wrong = next((entry for entry in self.entries.values() if entry.query(".-wrong")), None)
        first = wrong or next(iter(self.entries.values()))
        first.control.focus()
        self._why(first)

    def fault(self, param: str, words: str) -> None:
        """Say what is wrong under its field, and go there."""
        self.entries[param].note(words, wrong=True)
        self.entries[param].control.focus()

    def unsaved(self) -> bool:
        return self.draft.touched

    def action_next(self) -> None:
        """Check every field, and go on if all will do."""
        for entry in self.entries.values():
            if not self._check(entry):
                entry.control.focus()
                return
        unsure = next((name for name in self.twice if self.entries[name].raw not in ("", self.repeated.get(name))), "")
        if unsure:
            self._repeat(self.entries[unsure])
        else:
            self.post_message(self.Turn(self, 1))

    @work(exclusive=True, group="repeat")
    async def _repeat(self, entry: Entry) -> None:
        """Have a new secret typed once more."""
        asked = Typing(entry.field.label, "Once more: it is kept nowhere, and nothing opens without it.", secret=True)
        again = await self.app.push_screen_wait(asked)
        if again == entry.raw:
            self.repeated[entry.field.name] = again
            self.action_next()
            return
        entry.control.focus()
        entry.note("not typed alike twice; type it again" if again else "to be typed twice", wrong=True)

    @on(DescendantFocus)
    def _focused(self, event: DescendantFocus) -> None:
        entry = self._entry(event.widget)
        if entry:
            self._why(entry)

    @on(DescendantBlur)
    def _left(self, event: DescendantBlur) -> None:
        """A field says what is wrong with it when it is left; one that was only passed by says nothing yet."""
        entry = self._entry(event.widget)
        if entry and entry.raw != "" and self.app.screen is self.screen:
            self._check(entry)

    def _why(self, entry: Entry) -> None:
        self.post_message(self.Why(in_labels(entry.field.why, self.draft.fields()) or self.about))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        entry = self._entry(event.input)
        if entry and event.value != str(self.draft.raw.get(entry.field.name, shown(entry.field, entry.field.default))):
            self._keep(entry)

    @on(Line.Offers)
    def _offers(self, event: Line.Offers) -> None:
        entry = self._entry(event.line)
        if entry:
            entry.note(event.words)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self._advance(self._entry(event.input))

    @on(Pick.Taken)
    def _taken(self, event: Pick.Taken) -> None:
        entry = self._entry(event.pick)
        if entry:
            self._keep(entry)
        if event.on:
            self._advance(entry)

    @on(Flag.Changed)
    def _changed(self, event: Flag.Changed) -> None:
        entry = self._entry(event.flag)
        if entry and not event.on:
            self._keep(entry)
        if event.on:
            self._advance(entry)

    def _keep(self, entry: Entry) -> None:
        self.draft.raw[entry.field.name] = entry.raw
        self.draft.chosen.pop(entry.field.name, None)
        self.draft.touched = True
        entry.changed()
        entry.note("")

    def _check(self, entry: Entry) -> bool:
        self.draft.raw[entry.field.name] = entry.raw
        words = fault(entry.field, entry.raw)
        entry.note(words, wrong=bool(words))
        return not words

    def _advance(self, entry: Entry | None) -> None:
        if entry is None or not self._check(entry):
            return
        order = list(self.entries.values())
        at = order.index(entry)
        if at + 1 < len(order):
            order[at + 1].control.focus()
        else:
            self.action_next()

    def _entry(self, widget: Widget) -> Entry | None:
        return next((entry for entry in self.entries.values() if entry.control is widget), None)
