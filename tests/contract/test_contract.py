"""What DESIGN promises of every task, held against each of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from engines import tasks
from engines.job import answers, detach, journal, runs
from engines.job.contract import (
    AnyEvent,
    Asked,
    Finished,
    Plan,
    Progress,
    RunFailed,
    RunStopped,
    Started,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Refused
from engines.job.journal import Entry
from engines.job.perform import Stop, perform
from engines.job.work import Work, what_follows
from tests.agreed import AGREED
from tests.contract.cases import CASES, ELSEWHERE
from tests.contract.target import Case, Target, snapshot

# A guest's appliance takes ten seconds to start: what needs it dozens of times is for `make soak`.
SLOW = ("virtio",)
each = pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.soak] if case.name in SLOW else []) for case in CASES],
)
quick = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
asks = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.name in (
        "copier", "biosiso over a file", "biosiso insert", "backup prune", "vdx", "virtio"
    )],
    ids=lambda case: case.name,
)  # fmt: skip


def performed(
    case: Case,
    target: Target,
    listen: Callable[[Entry], None] | None = None,
    *,
    stop: Stop | None = None,
    confirm: str | Callable[[Plan], str] = AGREED,
    **info: str,
) -> tuple[runs.Run, AnyEvent]:
    """A run to its last word; its questions get their first choice, and one that goes on is stopped once it is up."""
    earlier, plan = info.get("earlier"), None
    if not earlier:
        plan = target.plan()
    words = plan.target if plan else runs.find(str(earlier)).info().target
    run, stop = runs.create(target.job, words, **info), stop or Stop()
    up = False

    def heard(entry: Entry) -> None:
        nonlocal up
        if listen:
            listen(entry)
        if isinstance(entry.event, Asked):
            reply = (entry.event.choices or ("",))[0]
            threading.Thread(target=answers.send, args=(run.folder, reply), daemon=True).start()
        if case.until and not up and case.until(entry.event):
            up = True
            stop.ask()

    last = perform(
        run,
        target.engine,
        plan=plan if target.engine.holds and not info else None,
        stop=stop,
        listen=heard,
        secrets=target.secrets,
        confirm=confirm,
        answer_within=120.0,
    )
    return run, last


def over(case: Case, last: AnyEvent) -> bool:
    """Whether that is how a run of it ends that did its work."""
    return isinstance(last, Finished) or (case.until is not None and isinstance(last, RunStopped))


def events_of(run: runs.Run) -> list[AnyEvent]:
    return [entry.event for entry in journal.entries(run.journal)]


@quick
def test_planning_changes_no_byte_and_gives_the_same_plan_twice(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        state, before = target.state(), snapshot(tmp_path / "stage")
        first, second = target.plan(), target.plan()
        assert snapshot(tmp_path / "stage") == before
        assert target.state() == state
        assert first.digest == second.digest != ""
        assert first == second
        assert bool(target.engine.irreversible) == (not first.undoable)
        assert first.undo, "how it is taken back, or why it cannot be"


@each
def test_a_relative_path_is_the_same_plan(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with case.staged(tmp_path / "stage") as target:
        monkeypatch.chdir(tmp_path / "stage")
        inside = f"{tmp_path / 'stage'}/"

        def shorter(value: object) -> object:
            if isinstance(value, list):
                return [shorter(item) for item in value]
            return value.removeprefix(inside) if isinstance(value, str) else value

        given = {name: shorter(value) for name, value in target.job.params.items()}
        work = Work.of(target.engine, given, target.secrets)
        assert work.job == target.work.job
        assert work.plan() == target.plan()


@each
def test_a_run_tells_its_steps_in_order_and_its_progress_never_goes_back(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        run, last = performed(case, target)
        assert over(case, last), last
        events = events_of(run)
        plan = run.plan()
        assert plan is not None
        assert isinstance(events[0], Started)
        steps = [step.id for step in plan.steps]
        assert [event.step for event in events if isinstance(event, StepStarted)] == steps
        if isinstance(last, Finished):
            assert [event.step for event in events if isinstance(event, StepEnded)] == steps
        at: Progress | None = None
        for event in events:
            if isinstance(event, Progress):
                assert 0 <= event.done <= event.total
                if at is not None:
                    assert (event.total, event.unit) == (at.total, at.unit)
                    assert event.done >= at.done
            at = event if isinstance(event, Progress) else (None if isinstance(event, StepStarted) else at)
        assert run.report.read_text().startswith("# crashcart")
        if isinstance(last, Finished) and target.engine.result is not dict:
            found = msgspec.convert(last.result, target.engine.result)
            assert set(msgspec.to_builtins(last.result)) <= set(msgspec.to_builtins(found))


@each
def test_stopping_at_any_event_leaves_the_target_as_it_was(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "whole") as target:
        total = len(events_of(performed(case, target)[0]))
    stopped = 0
    for nth in case.few(list(range(total))):
        with case.staged(tmp_path / f"stage{nth}") as target:
            before, stop = target.state(), Stop()

            def listen(entry: Entry, stop: Stop = stop, nth: int = nth) -> None:
                if entry.seq == nth:
                    stop.ask()

            run, last = performed(case, target, listen, stop=stop)
            if isinstance(last, RunStopped):
                stopped += 1
                assert case.kept(before, target.state()) or last.left_behind
            else:
                assert isinstance(last, Finished), last
                assert run.status() in ("done", "warned")
    assert stopped > 0


def killed_at(moment: AnyEvent, case: Case, target: Target) -> runs.Run:
    """A run whose process is gone by SIGKILL once that event is on disk, before what follows it."""
    plan = target.plan()
    if case.apart:
        return killed_apart(moment, target, plan)
    started = {run.id for run in runs.every()}
    child = os.fork()
    if child == 0:

        def listen(entry: Entry) -> None:
            if entry.event == moment or (isinstance(entry.event, Progress) and isinstance(moment, Progress)):
                os.kill(os.getpid(), signal.SIGKILL)

        performed(case, target, listen)
        os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    new = [run for run in runs.every() if run.id not in started]  # a fleet's run begins others
    (run,) = (run for run in new if run.info().target == plan.target)
    return run


def killed_apart(moment: AnyEvent, target: Target, plan: Plan) -> runs.Run:
    run = target.work.begin(plan)
    detach.start(run, target.secrets, plan.confirm)
    for entry in detach.follow(run):
        if entry.event == moment:
            holder = run.holder()
            assert holder is not None
            os.kill(holder.pid, signal.SIGKILL)
            while holder.alive():
                time.sleep(0.01)
            break
    assert run.status() == "interrupted", events_of(run)[-1]
    return run


@each
@pytest.mark.parametrize("mode", ["resume", "undo"])
def test_a_run_killed_at_any_step_is_found_and_then_finished_or_taken_back(
    case: Case, mode: str, tmp_path: Path
) -> None:
    with case.staged(tmp_path / "whole") as target:
        whole, _ = performed(case, target)
        irreversible = bool(target.engine.irreversible)
    kinds = StepStarted if case.until or case.apart else StepStarted | StepEnded  # a clock meets no end of a step
    moments: list[AnyEvent] = [event for event in events_of(whole) if isinstance(event, kinds)]
    if not case.moments:
        moments += [event for event in events_of(whole) if isinstance(event, Progress)][:1]
    for nth, moment in enumerate(case.few(moments)):
        with case.staged(tmp_path / f"at{nth}") as target:
            before = target.state()
            run = killed_at(moment, case, target)
            assert run.status() == "interrupted"
            assert run.id in [found.id for found in runs.interrupted(run.info().target)]
            if mode == "undo" and irreversible:
                with pytest.raises(Refused) as refused:
                    what_follows(run, mode)
                assert refused.value.what_helps
                continue
            _, last = performed(case, target, mode=mode, earlier=run.id)
            if mode == "resume":
                assert over(case, last), (moment, last)
            else:
                assert isinstance(last, Finished) or (isinstance(last, RunFailed) and last.what_helps), (moment, last)
                assert case.kept(before, target.state())
            assert run.id not in [found.id for found in runs.interrupted()]


@each
def test_a_finished_run_is_undone_or_says_before_that_it_cannot_be(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        before = target.state()
        run, last = performed(case, target)
        assert over(case, last), last
        plan = run.plan()
        assert plan is not None
        if not plan.undoable:
            _, refused = performed(case, target, mode="undo", earlier=run.id)
            assert isinstance(refused, RunFailed)
            assert refused.refused and refused.what_helps
            return
        assert target.state() != before or case.until or case.passes
        _, undone = performed(case, target, mode="undo", earlier=run.id)
        assert isinstance(undone, Finished), undone
        assert case.kept(before, target.state())


@asks
@pytest.mark.parametrize("word", ["", "wrong"])
def test_without_its_word_nothing_is_begun_taken_up_or_taken_back(case: Case, word: str, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        before = target.state()
        assert target.plan().confirm
        run, last = performed(case, target, confirm=word)
        assert isinstance(last, RunFailed) and last.refused
        assert target.plan().confirm in last.what_helps
        for mode in ("resume", "undo"):
            _, last = performed(case, target, confirm=word, mode=mode, earlier=run.id)
            assert isinstance(last, RunFailed) and last.refused
        assert target.state() == before


@each
def test_a_review_that_no_longer_holds_is_refused_with_nothing_touched(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        state, before = target.state(), snapshot(tmp_path / "stage")
        _, last = performed(case, target, reviewed="of another world")
        assert isinstance(last, RunFailed)
        assert last.refused
        assert last.what_helps
        assert snapshot(tmp_path / "stage") == before
        assert target.state() == state


@quick
def test_every_refusal_names_the_next_action_and_touches_nothing(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        state, before = target.state(), snapshot(tmp_path / "stage")
        assert case.wrong
        for wrong in case.wrong:
            with pytest.raises(Refused) as refused:
                Work.of(target.engine, {**target.job.params, **wrong}, target.secrets).plan()
            assert refused.value.why
            assert refused.value.what_helps
        assert snapshot(tmp_path / "stage") == before
        assert target.state() == state


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A state disk of 4 MiB."""
    import subprocess

    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "crashcart-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # a server that just ended may still have its log open


@each
def test_a_state_disk_that_fills_up_does_not_stop_the_work_half_way(
    case: Case, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk))

    def fill(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and not (small_disk / "filler").exists():
            with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while True:
                    filler.write(b"x" * 4096)

    with case.staged(tmp_path / "stage") as target:
        before = target.state()
        run, last = performed(case, target, fill)
        assert (small_disk / "filler").exists()
        if isinstance(last, RunFailed):  # what its undo needs must lie there: then nothing was touched
            assert last.what_helps
            assert case.kept(before, target.state())
        else:
            assert over(case, last), last
        assert type(events_of(run)[-1]) is type(last)


@each
def test_a_full_state_disk_is_refused_before_anything_is_touched(
    case: Case, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk))
    with case.staged(tmp_path / "stage") as target:
        state, before = target.state(), snapshot(tmp_path / "stage")
        (small_disk / "filler").write_bytes(b"x" * (4 * 1024 * 1024 - 256 * 1024))
        _, last = performed(case, target)
        assert isinstance(last, RunFailed)
        assert last.refused
        assert last.what_helps
        assert snapshot(tmp_path / "stage") == before
        assert target.state() == state


def test_every_engine_has_a_case_or_is_said_to_be_held_elsewhere() -> None:
    every = {engine.name for task in tasks.TASKS.values() for engine in task.engines()}
    here = {case.engine().name for case in CASES}
    assert every - here == set(ELSEWHERE)
    root = Path(__file__).resolve().parents[2]
    for words in ELSEWHERE.values():
        assert (root / words.rpartition(" ")[2]).exists(), words
