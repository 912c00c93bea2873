"""Fields that are chosen instead of typed: Tab, ^f, ^r, and what the last run was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.job import earlier, runs
from engines.job.jobfile import Job
from tests.tui.conftest import Desk, Suite, fill, page, shown, suite, type_of_pilot, until
from tui.console import Terminal
from tui.pages.form import FormPage
from tui.widgets.completing import as_item, choose, last_item
from tui.widgets.picking import Picker
from wizards import WIZARDS

SIZE = (80, 24)


def ran(task: str, **params: object) -> None:
    runs.create(Job(task=task, params=dict(params)), str(params.get("output", "target")))


async def form(pilot: type_of_pilot, task: str, heading: str) -> FormPage:
    await until(pilot, lambda: page(pilot) == "Home")
    pilot.app.open_task(task)  # type: ignore[attr-defined]  a Suite
    await until(pilot, lambda: len(pilot.app.screen_stack) == 3 and page(pilot) != "Home")
    frame = pilot.app.screen
    while page(pilot) != heading:
        frame.go(frame.at + 1)  # type: ignore[attr-defined]  a Frame, by the wait above
        await pilot.pause()
    return frame.page  # type: ignore[attr-defined, no-any-return]  as above


def test_earlier_values_come_newest_first_even_of_one_second() -> None:
    for number in range(12):
        ran("copy", source=f"/s{number}", notes=["a, b", f"n{number}"])
    ran("copycat", source="/other")
    assert earlier.values("copy", "source") == [f"/s{number}" for number in reversed(range(12))]
    assert earlier.values("copy", "notes")[:2] == ["a, b", "n11"]
    assert earlier.last("copy")["source"] == "/s11"
    assert earlier.last("nothing") == {}


def test_kin_share_what_they_were_given_and_others_do_not() -> None:
    ran("backup", repo="/srv/repo", key_file="/k")
    ran("vdx", key_file="/ssh")
    assert earlier.values("backup-get", "repo", "key_file") == ["/srv/repo", "/k"]


async def test_a_form_begins_as_in_the_last_run_but_for_what_the_run_changes(tmp_path: Path) -> None:
    ran("backup-restore", repo=str(tmp_path), point="web1/disk0@latest", target="/dev/gone", powered_off=True)
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        page_one = await form(pilot, "backup-restore", "Repository")
        assert page_one.entries["repo"].raw == str(tmp_path)
        assert "as in the last run" in shown(pilot)
        await pilot.press("x")
        await until(pilot, lambda: "as in the last run" not in shown(pilot))
        assert page_one.entries["repo"].raw == "x"
        await pilot.press("ctrl+n")
        entries = pilot.app.screen.pages[1].entries  # type: ignore[attr-defined]  the frame's second form
        assert (entries["point"].raw, entries["target"].raw, entries["powered_off"].raw) == ("", "", False)


async def test_ctrl_r_walks_through_earlier_values_and_back_to_what_was_typed(desk: Desk) -> None:
    ran("copy", source="/old", output="/o")
    ran("copy", source="/new", output="/o")
    async with suite().run_test(size=SIZE) as pilot:
        entry = (await form(pilot, "copy", "Files")).entries["source"]
        await pilot.press(*"/ty", "ctrl+r")
        for value in ("/new", "/old", "/ty"):
            await until(pilot, lambda value=value: entry.raw == value)  # type: ignore[misc]
            await pilot.press("ctrl+r")
        await pilot.press("down")
        assert pilot.app.focused is not entry.control


async def test_tab_on_an_empty_field_names_what_is_here(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.source.parent)
    async with suite().run_test(size=SIZE) as pilot:
        await form(pilot, "copy", "Files")
        await pilot.press("tab")
        await until(pilot, lambda: "a.txt" in shown(pilot) and "b.txt" in shown(pilot))


async def test_tab_pages_through_ten_thousand_names(tmp_path: Path) -> None:
    for number in range(10000):
        (tmp_path / f"disk{number:05}.img").touch()
    async with suite().run_test(size=SIZE) as pilot:
        await form(pilot, "copy", "Files")
        fill(pilot, source=f"{tmp_path}/d")
        await pilot.press("tab")
        await until(pilot, lambda: "1-8 of 10000" in shown(pilot))
        await pilot.press("tab")
        await until(pilot, lambda: "9-16 of 10000" in shown(pilot))


async def test_a_list_is_completed_item_by_item(desk: Desk) -> None:
    (desk.source.parent / "with, comma.img").touch()
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        entry = (await form(pilot, "backup", "Disk")).entries["more"]
        entry.control.focus()
        fill(pilot, more=f"{desk.source}, {desk.source.parent}/with")
        await pilot.press("end", "tab")
        await until(pilot, lambda: entry.raw == f'{desk.source}, "{desk.source.parent}/with, comma.img"')


@pytest.mark.parametrize(
    ("text", "before", "item"),
    [("", "", ""), ("a, b", "a, ", "b"), ('"a, b', "", "a, b"), ('"a, b", c', '"a, b", ', "c"), ("a,", "a,", "")],
)
def test_the_last_item_of_a_list(text: str, before: str, item: str) -> None:
    assert last_item(text) == (before, item)


def test_an_item_is_quoted_where_its_comma_would_split_it() -> None:
    assert [as_item(item, whole=True) for item in ("a", "a,b", 'a"b')] == ["a", '"a,b"', '"a""b"']
    assert last_item(as_item('x, "y', whole=False))[1] == 'x, "y'


def test_a_name_is_chosen_by_its_beginning() -> None:
    assert choose("w", ["web1/a@1", "web1/b@1"]).text == "web1/"
    assert choose("x", ["web1/a@1"]).wrong == "no such name"


@pytest.fixture
def repository(tmp_path: Path) -> str:
    import engines

    disk, repo = tmp_path / "web1.img", str(tmp_path / "repo")
    disk.write_bytes(b"x" * 4096)
    engines.run("backup-init", repo=repo, cipher="none")
    engines.run("backup", source=str(disk), repo=repo, vm="web1")
    return repo


async def test_a_point_is_picked_from_the_repository_and_completed_by_tab(repository: str) -> None:
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        page_two = await form(pilot, "backup-restore", "Disk")
        entry = page_two.entries["point"]
        assert page_two.draft.raw["repo"] == repository  # of the backup, which is its kin
        entry.control.focus()
        await pilot.press("tab")
        await until(pilot, lambda: entry.raw == "web1/disk0@")
        await pilot.press("ctrl+f")
        await until(pilot, lambda: "web1/disk0@latest" in shown(pilot))
        assert isinstance(pilot.app.screen, Picker)
        await pilot.press("enter")
        await until(pilot, lambda: entry.raw == "web1/disk0@latest")
        assert pilot.app.focused is entry.control
        fill(pilot, point="web9")
        await pilot.press("tab")
        await until(pilot, lambda: "no such name" in shown(pilot))


async def test_a_repository_is_picked_from_those_of_earlier_runs(repository: str) -> None:
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        entry = (await form(pilot, "backup-verify", "Repository")).entries["repo"]
        await pilot.press("ctrl+f")
        await until(pilot, lambda: "used before" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: entry.raw == repository)


async def test_a_file_is_picked_folder_by_folder(desk: Desk) -> None:
    folder = desk.source.parent / "deep"
    folder.mkdir()
    (folder / "web1.img").touch()
    async with suite().run_test(size=SIZE) as pilot:
        entry = (await form(pilot, "copy", "Files")).entries["source"]
        fill(pilot, source=f"{desk.source.parent}/nothing")
        await pilot.press("ctrl+f")
        await until(pilot, lambda: "deep/" in shown(pilot))
        await pilot.press("d", "enter")
        await until(pilot, lambda: "web1.img" in shown(pilot))
        await pilot.press("w", "e", "enter")
        await until(pilot, lambda: entry.raw == str(folder / "web1.img"))
        await pilot.press("ctrl+f")
        await until(pilot, lambda: page(pilot) == "Picker")
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Files")
        assert entry.raw == str(folder / "web1.img")
