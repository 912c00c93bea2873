"""The frame that every task shares: steps at the left, the page, one line that says why, the keys that work now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import ContentSwitcher, Static

from engines.job.runs import Run
from tui.draft import Draft
from tui.pages.form import FormPage
from tui.pages.page import Page
from tui.pages.result import ResultPage
from tui.pages.review import ReviewPage
from tui.pages.run import RunPage
from tui.widgets.asking import Choosing
from tui.widgets.calm import LeanScreen
from tui.widgets.keys import Keys
from tui.widgets.menu import Row
from tui.wizard import Wizard

WIDE = 100  # columns from which there is room for the steps beside the page


class Frame(LeanScreen[None]):
    """Pages in a row; going back keeps what they hold."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+o", "back", "Back"),
    ]

    def __init__(self, title: str, pages: Sequence[Page], at: int = 0) -> None:
        super().__init__()
        self.words = title
        self.pages = tuple(pages)
        self.at = at

    def compose(self) -> ComposeResult:
        self._fit()
        for number, page in enumerate(self.pages):
            page.id = f"page-{number}"
        yield Static(Content(f"crashcart | {self.words}"), id="title")
        with Horizontal(id="middle"):
            yield Static(id="steps")
            yield ContentSwitcher(*self.pages, initial=f"page-{self.at}")
        yield Static(id="why")
        yield Keys()

    def on_mount(self) -> None:
        self._show()

    @property
    def page(self) -> Page:
        """The page on show."""
        return self.pages[self.at]

    def go(self, at: int) -> None:
        """Show another page."""
        self.page.depart()
        self.at = max(0, min(len(self.pages) - 1, at))
        self._show()

    def _show(self) -> None:
        self.query_one(ContentSwitcher).current = f"page-{self.at}"
        self._tell_steps()
        self.page.arrive()

    def on_resize(self) -> None:
        self._fit()
        self._tell_steps()

    def _fit(self) -> None:
        self.set_class(self.app.size.width < WIDE, "-narrow")

    def _tell_steps(self) -> None:
        """Every step beside the page, or where the page needs the width only the one on show above it."""
        if self.app.size.width < WIDE:
            follows = f"   next: {self.pages[self.at + 1].heading}" if self.at + 1 < len(self.pages) else ""
            words = Content(f"[>] {self.page.heading}   {self.at + 1} of {len(self.pages)}{follows}")
        else:
            marks = ["[x]" if at < self.at else "[>]" if at == self.at else "[ ]" for at in range(len(self.pages))]
            words = Content("\n").join(
                Content.styled(f"{mark} {page.heading}", "bold" if mark == "[>]" else "")
                for mark, page in zip(marks, self.pages, strict=True)
            )
        self.query_one("#steps", Static).update(words, layout=False)

    @on(Page.Why)
    def _why(self, event: Page.Why) -> None:
        self.query_one("#why", Static).update(Content(event.text), layout=False)

    @on(Page.Turn)
    def _turn(self, event: Page.Turn) -> None:
        if event.page is not self.page:
            return
        if self.at + event.by < 0:
            self._leave()
        else:
            self.go(self.at + event.by)

    @on(Page.Fault)
    def _fault(self, event: Page.Fault) -> None:
        for at, page in enumerate(self.pages):
            if isinstance(page, FormPage) and event.param in page.entries:
                self.go(at)
                page.fault(event.param, event.words)
                return

    @on(Page.Leave)
    def _leaving(self) -> None:
        self._leave()

    def action_back(self) -> None:
        """One page back; from the first page, leave."""
        self.page.back()

    @work
    async def _leave(self) -> None:
        if self.page.unsaved():
            rows = [Row("Stay here", "stay"), Row("Leave, and forget what was typed", "leave")]
            words = "Nothing has been touched."
            if await self.app.push_screen_wait(Choosing("Leave this task?", words, rows)) != "leave":
                return
        self.page.depart()
        self.dismiss(None)


def walk(wizard: Wizard, draft: Draft) -> Frame:
    """The frame of one wizard. Raises Refused where the wizard module does not fit its task."""
    forms = [FormPage(form.title, form.why, wizard.fields(form), draft, form.twice) for form in wizard.forms]
    return Frame(wizard.engine.title, [*forms, ReviewPage(draft), wizard.live(draft), ResultPage(draft)])


def attach(title: str, run: Run, live: type[RunPage] = RunPage) -> Frame:
    """The frame of a run that was started elsewhere or before."""
    return Frame(title, [live(run=run), ResultPage(run=run)])
