"""The review: the exact plan before anything is touched, and the one way to start it."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker, WorkerState, get_current_worker

from engines.host.files import write_whole
from engines.job import detach, runs
from engines.job.contract import Plan
from engines.job.errors import BadParam, Refused
from engines.job.jobfile import Job, dump
from engines.job.params import Field, Secret
from engines.job.telling import plan_lines
from engines.job.units import one_line
from tui.draft import Draft
from tui.fault import told
from tui.keyboard import KeyQueue
from tui.pages import plan as drawn
from tui.pages.form import FormPage
from tui.pages.page import Page
from tui.widgets.asking import Choosing, TypedWord
from tui.widgets.copying import copied
from tui.widgets.menu import Row
from tui.widgets.pick import Pick
from tui.widgets.reading import Text
from tui.widgets.rendering import changes

COMPLETE = "This is everything that will change. Nothing has been touched yet."
LOOKING = "Looking, not touching. Nothing has been changed."


class Sheet(VerticalScroll, can_focus=True):
    """The plan, scrolled by keyboard."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("pagedown", "page_down", "More")]


class ReviewPage(Page):
    """Plans in a child process, shows the plan, and starts the run that does exactly it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "start", "Start"),
        Binding("ctrl+x", "stop_looking", "Stop looking", priority=True),
        Binding("ctrl+r", "look", "Look again"),
        Binding("ctrl+e", "save", "Save job"),
        Binding("slash", "read", "Find", show=False),
        Binding("y", "copy", "Copy the plan", show=False),
    ]

    settle = 1.0  # s without ^n before it starts anything: ^n also came here, and a held key repeats
    held = 0.4  # s after ^n in which another one tells of a held key, or of a line that stuttered

    def __init__(self, draft: Draft) -> None:
        super().__init__("Review", COMPLETE)
        self.draft = draft
        self.looking: Worker[detach.Planned] | None = None
        self.starting = False
        self.since = 0.0
        self.settled = False

    def compose(self) -> ComposeResult:
        yield Sheet()

    def on_mount(self) -> None:
        self.set_interval(1.0, self._tick)

    def arrive(self) -> None:
        """Plan, unless the plan on show is still the job's."""
        self.sheet.focus()
        self.action_look()

    def depart(self) -> None:
        self._end_looking()

    def unsaved(self) -> bool:
        return self.draft.touched and self.draft.run is None

    @property
    def sheet(self) -> Sheet:
        """Where the plan stands."""
        return self.query_one(Sheet)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        looking = self.looking is not None
        wanted = {
            "start": self.draft.plan is not None and self.settled and not self.starting,
            "save": self.draft.plan is not None and not looking,
            "read": self.draft.plan is not None,
            "copy": self.draft.plan is not None,
            "stop_looking": looking,
            "look": not looking and not self.starting,
        }
        return wanted.get(action, True)

    # ── looking ─────────────────────────────────────────────────────────────────────────────────────

    def action_look(self) -> None:
        """Plan anew."""
        self.draft.plan, self.settled = None, False
        try:
            job = self.draft.job()
        except Refused as refused:
            self._refused(detach.Planned(why=refused.why, what_helps=refused.what_helps, param=_param(refused)))
            return
        self.since = time.monotonic()
        self.looking = self._plan(job, self.draft.secrets())
        self.post_message(self.Why(LOOKING))
        self._show(Static(Content("Looking ..."), id="looking"))
        self.refresh_bindings()

    @work(thread=True, exclusive=True, group="plan", exit_on_error=False)
    def _plan(self, job: Job, secrets: dict[str, Secret]) -> detach.Planned:
        worker = get_current_worker()
        return detach.plan(job, secrets, lambda: worker.is_cancelled)

    def _tick(self) -> None:
        if self.looking and (line := self.query("#looking")):
            spent = int(time.monotonic() - self.since)
            line.first(Static).update(Content(f"Looking ... {spent} s"))

    def action_stop_looking(self) -> None:
        """Give up looking and go back to the form."""
        self._end_looking()
        self.post_message(self.Turn(self, -1))

    def _end_looking(self) -> None:
        if self.looking:
            self.looking.cancel()
            self.looking = None
            self.refresh_bindings()

    @on(Worker.StateChanged)
    def _looked(self, event: Worker.StateChanged) -> None:
        event.stop()
        if event.worker.group == "start":
            self._begun(event)
        if event.worker is not self.looking or not event.worker.is_finished:
            return
        self.looking = None
        planned = event.worker.result
        if event.state is WorkerState.ERROR or not isinstance(planned, detach.Planned):
            planned = detach.Planned(why=f"looking ended early: {event.worker.error}", what_helps="try again with ^r")
        self._planned(planned)
        self.refresh_bindings()

    def _planned(self, planned: detach.Planned) -> None:
        if planned.plan is None:
            self._refused(planned)
            return
        self.draft.plan = planned.plan
        self.post_message(self.Why(COMPLETE))
        self._show(*drawn.widgets(self._labelled(planned.plan)), self._ending(planned.plan))
        self.set_timer(self.settle, self._settle)

    def _settle(self) -> None:
        if (waits := self.settle - self._rested()) > 0:
            self.set_timer(waits, self._settle)
            return
        self.settled = self.draft.plan is not None
        self.refresh_bindings()

    def _rested(self) -> float:
        return self.app.rested("ctrl+n") if isinstance(self.app, KeyQueue) else self.settle

    def _labelled(self, plan: Plan) -> Plan:
        return drawn.labelled(plan, self.draft.fields())

    def _ending(self, plan: Plan) -> Static:
        start = f"You will be asked to type  {plan.confirm}  before anything starts." if plan.confirm else ""
        words = (
            f"{start or 'Nothing existing is overwritten: ^n starts it, no word is asked.'}\nPlan {plan.digest[:12]}"
        )
        return Static(Content(words), classes="part")

    def _refused(self, planned: detach.Planned) -> None:
        param = planned.param
        label = next((field.label for field in self.draft.fields() if field.name == param), "")
        why, what_helps = told(planned.why, planned.what_helps, param, self._asked(), self.draft.rows)
        why, what_helps = one_line(why), one_line(what_helps)
        self.post_message(self.Why("Nothing has been touched. Esc goes back to correct it, ^r looks again."))
        self._show(
            Static(Content(f"! {label}: {why}" if label else f"! {why}"), classes="warnings"),
            *(Static(Content(one_line(line)), classes="indented") for line in planned.lines),
            Static(Content(what_helps or (f'correct "{label}"' if label else ""))),
        )
        if param:
            self.post_message(self.Fault(param, why + (f"; {what_helps}" if what_helps else "")))

    def _asked(self) -> tuple[Field, ...]:
        """The fields of this walk's forms."""
        return tuple(entry.field for form in self.screen.query(FormPage) for entry in form.entries.values())

    def _show(self, *widgets: Widget) -> None:
        self.sheet.remove_children()
        self.sheet.mount(*widgets)
        self.sheet.scroll_home(animate=False)

    @on(Pick.Taken)
    def _taken(self, event: Pick.Taken) -> None:
        if isinstance(event.pick, drawn.Decision):
            self.draft.chosen[event.pick.param] = event.value
            self.draft.touched = True
            self.sheet.focus()
            self.action_look()

    # ── starting ────────────────────────────────────────────────────────────────────────────────────

    @work(exclusive=True, group="agree")
    async def action_start(self) -> None:
        """Ask for the word, where there is one, and start the run."""
        plan = self.draft.plan
        if plan is None or self.starting:
            return
        if plan.confirm:
            words = "\n".join([one_line(plan.target), *drawn.briefly(self._labelled(plan).warnings)])
            if not await self.app.push_screen_wait(TypedWord("Start", words, plan)):
                return
        elif await self._held():
            return
        self.starting = True
        self.post_message(self.Why("Starting the run in a process of its own ..."))
        self._start(self.draft.job(), plan, self.draft.secrets())
        self.refresh_bindings()

    async def _held(self) -> bool:
        """Whether ^n is being held down, which is no wish to start; it has to rest before it counts again."""
        if not isinstance(self.app, KeyQueue):
            return False
        presses = self.app.presses
        await asyncio.sleep(self.held)
        if self.app.presses == presses:
            return False
        self.settled = False
        self.refresh_bindings()
        self._settle()
        return True

    @work(thread=True, exclusive=True, group="start", exit_on_error=False)
    def _start(self, job: Job, plan: Plan, secrets: dict[str, Secret]) -> runs.Run:
        run = runs.create(job, plan.target, reviewed=plan.digest)
        detach.start(run, secrets, plan.confirm)
        return run

    def _begun(self, event: Worker.StateChanged) -> None:
        if not event.worker.is_finished:
            return
        self.starting = False
        if isinstance(event.worker.result, runs.Run) and event.state is WorkerState.SUCCESS:
            self.draft.run = event.worker.result
            self.draft.plan = None
            self.post_message(self.Turn(self, 1))
        else:
            error = event.worker.error
            why, helps = (error.why, error.what_helps) if isinstance(error, Refused) else (str(error), "try again")
            self._refused(detach.Planned(why=why, what_helps=helps))
        self.refresh_bindings()

    # ── read, searched, copied ──────────────────────────────────────────────────────────────────────

    def action_read(self) -> None:
        """The plan in the reader, which can search it."""
        if plan := self.draft.plan:
            lines = plan_lines(self._labelled(plan))
            self.app.push_screen(
                Text("Review", lambda: "\n".join(lines), COMPLETE, form=lambda text: changes(text.split("\n")))
            )

    def action_copy(self) -> None:
        """The plan as text, to the terminal's clipboard."""
        if plan := self.draft.plan:
            self.post_message(self.Why(copied(self.app, "\n".join(plan_lines(self._labelled(plan))) + "\n")))

    # ── the job file ────────────────────────────────────────────────────────────────────────────────

    @work
    async def action_save(self) -> None:
        """Write the job file, and say which command does the same."""
        job = self.draft.job()
        path = runs.home().parent / "jobs" / f"{job.task}-{time.strftime('%Y%m%dT%H%M%S')}.yaml"
        worker = self._write(path.name, job)
        try:
            await worker.wait()
        except Exception as error:  # noqa: BLE001  a worker's own error is wrapped; its words are what counts
            words = f"The job file was not written: {error}"
        else:
            words = f"Written: {path}\n\nThe same from a shell:\n  crashcart run {path}\n\n{dump(job)}"
        await self.app.push_screen_wait(Choosing("Job file", words, [Row("Go on", "on")]))

    @work(thread=True, group="save", exit_on_error=False)
    def _write(self, name: str, job: Job) -> None:
        folder = runs.home().parent / "jobs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(folder / name, dump(job).encode())


def _param(refused: Refused) -> str:
    return refused.name if isinstance(refused, BadParam) else ""
