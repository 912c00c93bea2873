from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engines.job import answers, journal, runs
from engines.job.contract import (
    Answered,
    AnyEvent,
    Asked,
    Context,
    Events,
    Finished,
    LastWord,
    Log,
    Plan,
    RunFailed,
    RunStopped,
    Started,
    StepStarted,
)
from engines.job.errors import Refused, Stopped
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.perform import Stop, exit_code, perform
from engines.job.report import gather, markdown
from engines.job.web import page
from tests.agreed import AGREED
from tests.contract.copier import Copier


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "source").write_text("cold console")
    return Job(task="copier", params={"source": str(tmp_path / "source"), "output": str(tmp_path / "out")})


def with_params(job: Job, **more: object) -> Job:
    return Job(task=job.task, params={**job.params, **more})


def run_of(job: Job, **info: str) -> runs.Run:
    return runs.create(job, job.params["output"], **info)


def test_a_journal_begins_with_started_and_ends_in_one_last_word(job: Job) -> None:
    run = run_of(job)
    last = perform(run, Copier(), confirm=AGREED)
    events = [entry.event for entry in journal.entries(run.journal)]
    assert isinstance(events[0], Started)
    assert events[-1] == last
    assert sum(isinstance(event, LastWord) for event in events) == 1
    assert run.status() == "done"
    assert Path(job.params["output"]).read_text() == "cold console"


@pytest.mark.parametrize(
    ("trouble", "status", "words"), [("failed", "failed", "the pen broke"), ("crash", "failed", "surprise")]
)
def test_an_engine_that_raises_leaves_a_last_word_and_no_traceback(
    job: Job, trouble: str, status: str, words: str
) -> None:
    run = run_of(with_params(job, trouble=trouble))
    last = perform(run, Copier(), confirm=AGREED)
    assert isinstance(last, RunFailed)
    assert words in last.why
    assert run.status() == status
    assert "Traceback" not in markdown(gather(run))
    assert (run.folder / "crash.txt").exists() == (trouble == "crash")
    assert exit_code(last, warned=False) == 1


def test_a_changed_world_is_refused_before_anything_is_touched(job: Job) -> None:
    plan = Copier().plan(Copier.params(**job.params), Stop().cancel)
    Path(job.params["output"]).write_text("somebody was here")
    last = perform(run_of(job, reviewed=plan.digest), Copier(), confirm=AGREED)
    assert isinstance(last, RunFailed)
    assert last.refused
    assert exit_code(last, warned=False) == 3
    assert Path(job.params["output"]).read_text() == "somebody was here"


def test_an_unknown_parameter_is_refused_by_name(job: Job) -> None:
    last = perform(run_of(with_params(job, colour="red")), Copier(), confirm=AGREED)
    assert isinstance(last, RunFailed)
    assert "colour" in last.why
    assert last.refused


class AnswersWhenAsked:
    def __init__(self, run: runs.Run, *texts: str) -> None:
        self.run = run
        self.texts = texts
        self.refused: list[str] = []

    def __call__(self, entry: Entry) -> None:
        if isinstance(entry.event, Asked):
            threading.Thread(target=self.send, daemon=True).start()

    def send(self) -> None:
        for text in self.texts:
            try:
                answers.send(self.run.folder, text)
            except Refused as refused:
                self.refused.append(str(refused))


def test_a_question_waits_for_an_allowed_answer(job: Job) -> None:
    run = run_of(with_params(job, ask=True))
    asker = AnswersWhenAsked(run, "maybe", "yes")
    last = perform(run, Copier(), listen=asker, confirm=AGREED)
    assert isinstance(last, Finished)
    assert Answered(text="yes") in [entry.event for entry in journal.entries(run.journal)]
    assert len(asker.refused) == 1
    assert "yes, no" in asker.refused[0]


def test_a_question_that_nobody_answers_ends_stopped(job: Job) -> None:
    run = run_of(with_params(job, ask=True))
    last = perform(run, Copier(), answer_within=0.2, confirm=AGREED)
    assert isinstance(last, RunStopped)
    assert "nobody answered" in last.left_behind[0]
    assert list(Path(job.params["output"]).parent.glob("*out*")) == []


class PutsBackAloud(Copier):
    """Tells what it puts back when it is stopped."""

    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="write")
        try:
            yield Asked(question="for ever", patient=True)
        except Stopped as stopped:
            yield Log(text="putting the pen back")
            yield Log(text="closing the book")
            raise Stopped(("an ink stain",)) from stopped


def test_what_an_engine_tells_while_it_puts_things_back_is_recorded(job: Job) -> None:
    stop = Stop()
    run = run_of(job)

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Asked):
            threading.Timer(0.3, stop.ask).start()

    last = perform(run, PutsBackAloud(), stop=stop, listen=listen, answer_within=0.1, confirm=AGREED)
    assert last == RunStopped(left_behind=("an ink stain",))
    told = [entry.event.text for entry in journal.entries(run.journal) if isinstance(entry.event, Log)]
    assert told == ["putting the pen back", "closing the book"]


def test_the_answer_socket_works_in_a_folder_deeper_than_a_socket_name(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("deep" * 20) / ("deeper" * 20)))
    run = run_of(with_params(job, ask=True))
    assert isinstance(perform(run, Copier(), listen=AnswersWhenAsked(run, "no"), confirm=AGREED), Finished)


def test_a_stop_inside_a_step_that_cannot_be_stopped_waits_for_its_end(job: Job) -> None:
    stop = Stop()

    def listen(entry: Entry) -> None:
        if entry.event == StepStarted(step="place"):
            stop.enter("the rename is one moment")
            stop.ask()
            assert not stop.cancel

    last: AnyEvent = perform(run_of(job), Copier(), stop=stop, listen=listen, confirm=AGREED)
    assert isinstance(last, Finished)
    assert Path(job.params["output"]).read_text() == "cold console"


def test_two_runs_cannot_hold_one_target(job: Job) -> None:
    first = run_of(with_params(job, ask=True))
    seen: list[RunFailed] = []

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Asked):
            second = perform(run_of(job), Copier(), confirm=AGREED)
            assert isinstance(second, RunFailed)
            seen.append(second)
            threading.Thread(target=answers.send, args=(first.folder, "yes"), daemon=True).start()

    assert isinstance(perform(first, Copier(), listen=listen, confirm=AGREED), Finished)
    assert first.id in seen[0].why
    assert str(os.getpid()) in seen[0].why
    assert seen[0].refused


def test_the_report_shows_the_diff_and_what_to_do_next(job: Job) -> None:
    Path(job.params["output"]).write_text("old\n")
    run = run_of(with_params(job, warn=True))
    perform(run, Copier(), confirm=AGREED)
    text = markdown(gather(run))
    assert "-old" in text
    assert "+cold console" in text
    assert "1. read it" in text
    assert "this is only a copy" in text
    assert run.status() == "warned"


def test_a_hostile_name_breaks_neither_markdown_nor_html(job: Job, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("```\n\x1b[31m<script>alert(1)</script>\n")
    run = run_of(job)
    perform(run, Copier(), confirm=AGREED)
    text, html = markdown(gather(run)), page(gather(run), run.folder)
    assert "\x1b" not in text
    assert "\x1b" not in html
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
