"""The suite: opens tasks, shows runs, and leaves them running when it goes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from textual import on, work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from engines.job import detach, report, runs
from engines.job.contract import Plan
from engines.job.errors import CrashcartError, Refused
from engines.job.telling import plan_lines
from engines.job.undoing import way_back
from engines.job.units import one_line
from engines.job.work import follow_up, what_follows
from engines.rehearsal.stage import Staged
from tui.browse.taking import OpenTask
from tui.console import Terminal
from tui.draft import Draft
from tui.dress import Dressed
from tui.frame import Frame, attach, walk
from tui.help import about
from tui.pages.page import Page
from tui.pages.result import report_line
from tui.pages.run import RunPage
from tui.screens.history import History
from tui.screens.home import Home
from tui.screens.section import SectionScreen, commanded, listed
from tui.stage import Stages
from tui.widgets.asking import Choosing, TypedWord
from tui.widgets.menu import Row
from tui.widgets.reading import Text
from tui.widgets.rendering import rendered
from tui.widgets.waiting import Waiting
from tui.wizard import Section, Wizard

SWITCH = 0.001  # s; with Python's 5 ms, a thread that reads a folder makes every paint wait in dozens of places


class Suite(Dressed):
    """The crash cart. Exits with the words to leave on the terminal."""

    TITLE = "crashcart"
    CSS_PATH = "crashcart.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_DISPLAY = "^p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+g,f1,question_mark", "help", "Help"),
        Binding("ctrl+c", "quit", "Quit", priority=True),
    ]

    def __init__(
        self,
        wizards: Sequence[Wizard],
        terminal: Terminal | None = None,
        attach_to: str = "",
        host: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.host = host or os.uname().nodename
        self.clock = clock
        super().__init__(terminal or Terminal())
        sys.setswitchinterval(SWITCH)
        self.wizards = {wizard.task: wizard for wizard in wizards}
        self.attach_to = attach_to
        self.stages = Stages()

    def on_mount(self) -> None:
        tasks = listed(self.wizards.values())
        words = f"{self.host} | {self.terminal.words()}"
        if self.terminal.size_guessed:
            words += f" | size unknown, {self.size.width}x{self.size.height} assumed (stty rows R cols C)"
        self.push_screen(Home(tasks, words))
        if self.attach_to:
            self.show_run(runs.find(self.attach_to))

    # ── opening ─────────────────────────────────────────────────────────────────────────────────────

    @on(Home.Picked)
    def _picked(self, event: Home.Picked) -> None:
        kind, _, name = event.id.partition(":")
        match kind:
            case "task":
                self.open_task(name)
            case "section":
                self.push_screen(SectionScreen(self.section(name), tuple(self.wizards.values())))
            case "door":
                section, _, door = name.partition("/")
                here = self.section(section)
                opened = next(one for one in (*here.doors, *here.after) if one.name == door)
                self.push_screen(opened.open(self.stages))
            case "run":
                self.show_run(runs.find(name))
            case "history":
                self.push_screen(History())
            case "doctor":
                self.action_doctor()
            case "rehearse":
                self.rehearse()

    def section(self, name: str) -> Section:
        """The section of that name."""
        return next(one.under for one in self.wizards.values() if one.under and one.under.name == name)

    @work
    async def rehearse(self) -> None:
        """Fill in a task's form with a target made for trying it."""
        about = "A target is made for it on this machine. Nothing of yours is touched."
        task = await self.push_screen_wait(Choosing("Rehearse which task?", about, self.stages.rows(self.wizards)))
        if not task:
            return
        staged = await self.push_screen_wait(Waiting(f"Making a target for {task}", lambda: self.stages.make(task)))
        if not isinstance(staged, Staged):
            if staged:
                words = f"! {staged}"
                self.push_screen(Text(task, lambda: words))
            return
        secrets = {name: secret.reveal() for name, secret in staged.secrets.items()}
        self.open_task(staged.job.task, staged.job.params, secrets)

    def on_unmount(self) -> None:
        self.stages.close()

    def open_task(
        self, task: str, params: Mapping[str, object] | None = None, secrets: Mapping[str, str] | None = None
    ) -> None:
        """Begin a task's wizard."""
        try:
            wizard = self.wizards[task]
            draft = Draft(wizard.engine, rows=commanded(self.wizards.values()))
            if params is None:
                draft.remember(wizard.keeps)
            draft.prefill(params or {})
            draft.raw.update(secrets or {})
            self.push_screen(walk(wizard, draft))
        except CrashcartError as error:
            words = str(error)
            self.push_screen(Text(task, lambda: words))

    def show_run(self, run: runs.Run) -> None:
        """A run at work, or the end of one; one that was killed asks what to do."""
        info = run.info()
        if run.status() == "interrupted" and run.id not in runs.followed_up():
            self._killed(run)
            return
        live = self.wizards[info.task].live if info.task in self.wizards else RunPage
        self.push_screen(attach(f"{info.task} {one_line(info.target)}", run, live))

    @work
    async def _killed(self, run: runs.Run) -> None:
        plan, info = run.plan(), run.info()
        rows = [Row("Read its report first", "report")]
        if plan:
            rows += [Row("Resume it", "resume"), Row("Take it back", "undo")]
        said = await self.push_screen_wait(Choosing("This run was killed", _killed_words(info, plan), rows))
        if said == "report":
            self.read_report(run)
        elif said:
            self.follow_up(run, said)

    def read_report(self, run: runs.Run) -> None:
        """The report as Markdown."""
        why = report_line(run, self.size.width)
        self.push_screen(Text(run.id, lambda: report.markdown(report.gather(run)), why, form=rendered))

    @on(Page.ReadReport)
    def _read(self, event: Page.ReadReport) -> None:
        self.read_report(event.run)

    @on(History.Attach)
    def _attach_run(self, event: History.Attach) -> None:
        self.show_run(runs.find(event.id))

    @on(OpenTask)
    def _begin_task(self, event: OpenTask) -> None:
        self.open_task(event.task, event.params, event.secrets)

    @on(Page.Again)
    def _again(self, event: Page.Again) -> None:
        if event.job.task in self.wizards:
            self.open_task(event.job.task, event.job.params)

    # ── resume and undo ─────────────────────────────────────────────────────────────────────────────

    @on(Page.FollowUp)
    def _follow_up(self, event: Page.FollowUp) -> None:
        self.follow_up(event.run, event.mode)

    @work
    async def follow_up(self, run: runs.Run, mode: str) -> None:
        """Ask for the word, then take the run up or back in a run of its own."""
        title = "Take this run back" if mode == "undo" else "Resume this run"
        try:
            run, plan = what_follows(run, mode)
        except Refused as refused:
            why = f"! {one_line(refused.why)}\n{one_line(refused.what_helps)}"
            self.push_screen(Text(title, lambda: why))
            return
        words = "\n".join(plan_lines(way_back(plan) if mode == "undo" else plan))
        asked = (
            TypedWord(title, words, plan)
            if plan.confirm
            else Choosing(title, words, [Row("Not now", "-"), Row(title, mode)])
        )
        if await self.push_screen_wait(asked) in ("", "-"):
            return
        worker = self._begin(run, mode)
        try:
            begun = await worker.wait()
        except Exception:  # noqa: BLE001  wait wraps what the worker raised; its own words are shown
            failed = str(worker.error)
            self.push_screen(Text(title, lambda: f"! {failed}"))
            return
        if isinstance(self.screen, Frame):
            self.pop_screen()  # it shows the end of the earlier run, which is its end no more
        self.show_run(begun)

    @work(thread=True, group="begin", exit_on_error=False)
    def _begin(self, run: runs.Run, mode: str) -> runs.Run:
        begun, plan = follow_up(run, mode)
        detach.start(begun, confirm=plan.confirm)
        return begun

    # ── keys that work everywhere ───────────────────────────────────────────────────────────────────

    def action_help(self) -> None:
        """About the page on show, and the keys."""
        words = about(self.screen)
        self.push_screen(Text("Help", lambda: words))

    def action_doctor(self) -> None:
        """What this machine can do."""
        self.push_screen(Text("Doctor", _doctor, "Nothing is changed by looking.", "Trying each thing ..."))

    async def action_quit(self) -> None:
        """Leave; a run on show goes on, and the words left behind say how to see it again."""
        screen = self.screen
        pages = [one.page for one in self.screen_stack if isinstance(one, Frame)]
        if any(page.unsaved() for page in pages) and not isinstance(screen, Choosing):
            self._leave()
            return
        going = [page.run.id for page in pages if isinstance(page, RunPage) and not page.ended]
        self.exit("".join(f"Run {name} goes on.\r\nSee it again: crashcart attach {name}\r\n" for name in going))

    @work
    async def _leave(self) -> None:
        rows = [Row("Stay here", "stay"), Row("Quit, and forget what was typed", "leave")]
        if await self.push_screen_wait(Choosing("Quit?", "Nothing has been touched.", rows)) == "leave":
            self.exit("")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What ^p offers."""
        for wizard in self.wizards.values():
            if wizard.under and not wizard.name:
                continue  # a screen opens it, and gives it what it works on
            yield SystemCommand(f"Open {wizard.task}", wizard.title, lambda task=wizard.task: self.open_task(task))
        yield SystemCommand("History", "every run, with its report", lambda: self.push_screen(History()))
        yield SystemCommand("Last report", "of the newest run", self._last_report)
        yield SystemCommand("Doctor", "what this machine can do", self.action_doctor)
        yield SystemCommand("Plain or rich screen", "remembered for this terminal", self.action_turn_plain)
        yield SystemCommand("Light or dark screen", "remembered for this terminal", self.action_turn_light)
        yield SystemCommand("Quit", "a run goes on", self.action_quit)

    def _last_report(self) -> None:
        try:
            self.read_report(runs.find("last"))
        except Refused as refused:
            words = str(refused)
            self.push_screen(Text("Last report", lambda: words))


def _killed_words(info: runs.Info, plan: Plan | None) -> str:
    words = f"{info.id}\nIt has no last word: its process was killed, or the machine went down.\n\n"
    return words + (f"The way back: {one_line(plan.undo)}" if plan and plan.undo else "It never got as far as a plan.")


def _doctor() -> str:
    from engines import doctor

    return doctor.table(doctor.examine())
