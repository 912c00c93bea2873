"""A whole task by keyboard at 80x24, with real plans, real runs and real files."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engines.job import detach, runs
from engines.job.contract import Finished, RunStopped
from engines.job.journal import entries
from tests.tui.conftest import Desk, fill, page, shown, start, suite, to_review, until
from tui.pages.review import ReviewPage

SIZE = (80, 24)


async def test_a_file_gets_from_the_home_screen_to_the_report_by_keyboard_alone(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Files")
        fill(pilot, source=str(desk.source), output=str(desk.output))
        await pilot.press("enter", "enter")
        assert page(pilot) == "Manner"
        await pilot.press("down", "space", "ctrl+n", "ctrl+n")
        await until(pilot, lambda: "^n Start" in shown(pilot))
        await start(pilot)
        await until(pilot, lambda: "Done, with warnings" in shown(pilot))
        assert f"{runs.every()[0].id}/report.md" in shown(pilot).replace("\n ", "")
        assert "compare the two files" in shown(pilot)
    assert desk.output.read_text() == "ONE\nTWO\nTHREE\n"


async def test_the_review_shows_every_change_and_the_way_back(desk: Desk) -> None:
    async with suite().run_test(size=(80, 70)) as pilot:
        await to_review(pilot, desk)
        said = shown(pilot)
    for words in (
        "! the file that is there is replaced",
        "-old one",
        "+one",
        "written as a whole",
        "expected answer: noted",
        "cannot be stopped: half a file is worse than none",
        "the earlier text is put back",
        "You will be asked to type  b.txt",
        "Nothing has been touched yet.",
    ):
        assert words in said, words


async def test_nothing_starts_without_the_very_word(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk)
        await pilot.press("enter", "space")
        assert page(pilot) == "Review"
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "TypedWord")
        await pilot.press("enter", "y", "enter")
        assert "y is not b.txt: nothing was started" in shown(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Review")
        assert not runs.every()
    assert desk.output.read_text() == "old one\ntwo\n"


async def test_a_held_key_does_not_start_what_needs_no_word(desk: Desk) -> None:
    desk.output.unlink()
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Files")
        fill(pilot, source=str(desk.source), output=str(desk.output))
        review = pilot.app.screen.query_one(ReviewPage)
        review.settle = 3600.0
        await pilot.press(*["ctrl+n"] * 3)
        await until(pilot, lambda: pilot.app.screen.query("Decision"))
        await pilot.press("ctrl+n", "ctrl+n")
        assert page(pilot) == "Review"
        assert not runs.every()
        review.settle = 0.0
        review._settle()
        await until(pilot, lambda: "^n Start" in shown(pilot))
        await start(pilot, word="")
        await until(pilot, lambda: page(pilot) == "Result")
    assert desk.output.read_text() == desk.source.read_text()


async def test_a_bad_value_is_said_under_its_field_and_the_focus_is_there(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Files")
        await pilot.press("ctrl+n")
        assert "! needed: a file" in shown(pilot)
        fill(pilot, source=str(desk.source), output=str(desk.output), count="many")
        await pilot.press("ctrl+n", "ctrl+n")
        assert page(pilot) == "Manner"
        assert "! many will not do; needed: a whole number from 0 to" in shown(pilot)
        assert pilot.app.focused is pilot.app.screen.page.entries["count"].control  # type: ignore[attr-defined]


async def test_what_planning_finds_goes_to_the_field_at_fault(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Files")
        fill(pilot, source=str(desk.source.parent), output=str(desk.output))
        await pilot.press(*["ctrl+n"] * 3)
        await until(pilot, lambda: "will not do; needed: a file that exists" in " ".join(shown(pilot).split()))
        assert page(pilot) == "Files"
        assert pilot.app.focused is pilot.app.screen.page.entries["source"].control  # type: ignore[attr-defined]


@pytest.mark.parametrize(("count", "words"), [(666, "an engine's own fault"), (777, "Looking ...")])
async def test_a_plan_that_crashes_or_takes_long_leaves_a_way_back(desk: Desk, count: int, words: str) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Files")
        fill(pilot, source=str(desk.source), output=str(desk.output), count=str(count), pause="60000")
        await pilot.press(*["ctrl+n"] * 3)
        await until(pilot, lambda: words in shown(pilot))
        await pilot.press("ctrl+x" if count == 777 else "escape")
        await until(pilot, lambda: page(pilot) == "More")


async def test_a_choice_on_the_review_plans_again(desk: Desk) -> None:
    async with suite().run_test(size=(80, 70)) as pilot:
        await to_review(pilot, desk)
        assert "+one" in shown(pilot)
        await pilot.press("tab", "down", "space")
        await until(pilot, lambda: "+ONE" in shown(pilot))
        assert "(*) UPPER CASE" in shown(pilot)


async def test_going_back_keeps_what_was_typed_and_leaving_asks_once(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk)
        await pilot.press("escape", "ctrl+o", "escape")
        assert page(pilot) == "Files"
        assert str(desk.source)[-20:] in shown(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Choosing")
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Files")
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Choosing")
        await pilot.press("down", "enter")
        await until(pilot, lambda: page(pilot) == "Home")
    assert desk.output.read_text() == "old one\ntwo\n"


async def test_a_secret_reaches_the_plan_and_no_file(desk: Desk, tmp_path: Path) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk, token="hunter2hunter2", notes='x, "y, z"')
        assert "token             given" in shown(pilot)
        await start(pilot)
        await until(pilot, lambda: page(pilot) == "Result")
    run = runs.every()[0]
    assert run.job().params["notes"] == ["x", "y, z"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


async def test_a_job_file_that_is_saved_is_the_job_that_would_run(desk: Desk, tmp_path: Path) -> None:
    from engines.job.jobfile import load

    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk, count="5")
        await pilot.press("ctrl+e")
        await until(pilot, lambda: "crashcart run" in shown(pilot))
        job = load(next((runs.home().parent / "jobs").iterdir()))
    assert job.task == "copy"
    assert job.params == {"source": str(desk.source), "output": str(desk.output), "count": 5}


async def test_stop_is_answered_and_the_target_stays_as_it_was(desk: Desk) -> None:
    desk.gate("wait").touch()
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk, count="200", hold=str(desk.hold))
        await start(pilot)
        await until(pilot, lambda: "/200 lines" in shown(pilot))
        await pilot.press("ctrl+x")
        await until(pilot, lambda: page(pilot) == "Choosing")
        await pilot.press("down", "enter")
        await until(pilot, lambda: "[!] Stopped" in shown(pilot))
        assert "r Resume" in shown(pilot)
    assert isinstance(entries(runs.every()[0].journal)[-1].event, RunStopped)
    assert desk.output.read_text() == "old one\ntwo\n"


async def test_stop_in_a_step_that_cannot_be_stopped_says_why(desk: Desk) -> None:
    desk.gate("write").touch()
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.open_task(  # type: ignore[attr-defined]  a Suite
            "copy", {"source": str(desk.source), "output": str(desk.output), "hold": str(desk.hold)}
        )
        await until(pilot, lambda: page(pilot) == "Files")
        await pilot.press("ctrl+n", "ctrl+n", "ctrl+n")
        await until(pilot, lambda: "^n Start" in shown(pilot))
        await start(pilot)
        await until(pilot, lambda: "(cannot be stopped)" in shown(pilot))
        await pilot.press("ctrl+x")
        await until(pilot, lambda: page(pilot) == "Choosing")
        await pilot.press("down", "enter")
        await until(pilot, lambda: "Not now, because half a file is worse than none" in shown(pilot))
        desk.gate("write").unlink()
        await until(pilot, lambda: page(pilot) == "Result")
    assert desk.output.read_text() == desk.source.read_text()


async def test_a_question_is_answered_here_or_elsewhere(desk: Desk) -> None:
    from engines.job import answers

    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk, ask=True)
        await start(pilot)
        await until(pilot, lambda: "Write it?" in shown(pilot) and page(pilot) == "Choosing")
        answers.send(runs.every()[0].folder, "yes")
        await until(pilot, lambda: page(pilot) == "Typing")
        await pilot.press("escape")
        await until(pilot, lambda: "^n Answer" in shown(pilot))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "Typing")
        await pilot.press(*"opensesame")
        assert "opensesame" not in shown(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Result")
    journal = runs.every()[0].journal
    assert isinstance(entries(journal)[-1].event, Finished)
    assert b"opensesame" not in journal.read_bytes()


async def test_quitting_in_mid_run_leaves_it_going_and_says_how_to_come_back(desk: Desk) -> None:
    desk.gate("wait").touch()
    app = suite()
    async with app.run_test(size=SIZE) as pilot:
        await to_review(pilot, desk, count="20", hold=str(desk.hold))
        await start(pilot)
        await until(pilot, lambda: "/20 lines" in shown(pilot))
        await pilot.press("ctrl+c")
    run = runs.every()[0]
    assert app.return_value and f"crashcart attach {run.id}" in app.return_value
    desk.gate("wait").unlink()
    assert isinstance([entry.event for entry in detach.follow(run)][-1], Finished)


async def test_undo_asks_for_the_word_and_puts_back(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk)
        await start(pilot)
        await until(pilot, lambda: "u Undo" in shown(pilot))
        assert desk.output.read_text() == "one\ntwo\nthree\n"
        await pilot.press("u")
        await until(pilot, lambda: page(pilot) == "TypedWord")
        await pilot.press(*"b.txt", "enter")
        await until(pilot, lambda: "is as it was" in " ".join(shown(pilot).split()))
        await pilot.press("escape", "escape", "h")
        await until(pilot, lambda: "copy undo" in shown(pilot))
    assert desk.output.read_text() == "old one\ntwo\n"


async def test_a_killed_run_stands_on_the_home_screen_and_can_be_resumed(desk: Desk) -> None:
    desk.gate("wait").touch()
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk, count="30", hold=str(desk.hold))
        await start(pilot)
        await until(pilot, lambda: "/30 lines" in shown(pilot))
        holder = runs.every()[0].holder()
        assert holder
        os.kill(holder.pid, signal.SIGKILL)
        desk.gate("wait").unlink()
        await until(pilot, lambda: "INTERRUPTED" in shown(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "! KILLED" in shown(pilot))
        await pilot.press("home", "enter")
        await until(pilot, lambda: page(pilot) == "Choosing")
        await pilot.press("down", "enter")
        await until(pilot, lambda: page(pilot) == "TypedWord")
        await pilot.press(*"b.txt", "enter")
        await until(pilot, lambda: page(pilot) == "Result" and "[x] Done" in shown(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Home" and "KILLED" not in shown(pilot))
    assert desk.output.read_text() == "one\ntwo\nthree\n"


async def test_a_run_that_fails_says_so_with_what_helps(desk: Desk) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await to_review(pilot, desk)
        desk.output.write_text("changed under the review\n")
        await start(pilot)
        await until(pilot, lambda: page(pilot) == "Result")
        await until(pilot, lambda: "the world has changed since the review" in shown(pilot))
        assert "nothing was touched" in shown(pilot)
        await pilot.press("a")
        await until(pilot, lambda: page(pilot) == "Files" and str(desk.source)[-20:] in shown(pilot))
    assert desk.output.read_text() == "changed under the review\n"
