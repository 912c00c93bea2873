"""The one reader: rendered, searched and copied by the same keys; help about the page; lists by digit and letter."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.tui.conftest import Desk, Suite, page, shown, start, suite, to_review, until
from tests.tui.serial import NEXT, Serial
from tui.console import Terminal, remember, remembered
from tui.widgets.diff import beside
from tui.widgets.flag import Flag
from tui.widgets.lines import Lines
from tui.widgets.menu import Menu
from tui.widgets.reading import Text
from tui.widgets.rendering import Said, laid, plain, rendered
from wizards import WIZARDS

SIZE = (80, 24)
REPORT = """\
# crashcart copy: /srv/b\\_c.txt

- run: 20260101T000000Z
  - nested \\*one\\*

**it is done**

## Steps

| step | took |
|---|---|
| Read the \\| source | 1.0 s |

### Change: x

```diff
--- a/etc/fstab
-/dev/hda1 /
+/dev/vda1 /
```

## Log

```
one
```
"""


def test_a_report_is_read_without_its_marks() -> None:
    lines = rendered(REPORT)
    texts = [line.text for line in lines]
    assert texts[0] == "crashcart copy: /srv/b_c.txt" and lines[0].style == "title"
    assert "  - nested *one*" in texts and "it is done" in texts
    assert "step                 took" in [" ".join([text]) for text in texts] or any(
        text.startswith("step ") and text.endswith("took") for text in texts
    )
    assert any(text.startswith("Read the | source") and text.endswith("1.0 s") for text in texts)
    assert {line.text: line.style for line in lines}["+/dev/vda1 /"] == "added"
    assert "  one" in texts
    assert not any("```" in text or text.startswith("#") or "|---" in text for text in texts)


@pytest.mark.parametrize("width", [20, 40, 58, 78, 130])
def test_no_path_is_ever_broken(width: int) -> None:
    path = "/var/lib/libvirt/images/" + "a-long-name-" * 9 + "web1.img"
    rows = laid(rendered(f"- how it is taken back: {path} is put back\n"), width)
    assert sum(path in row.text for row in rows) == 1
    assert all(cell_len(row.lead + row.text) <= width for row in rows if path not in row.text)
    assert "".join(row.text for row in rows).replace(" ", "") == f"-howitistakenback:{path}isputback"


def test_what_counts_to_the_byte_is_folded_behind_a_mark() -> None:
    rows = laid([Said("+" + "x " * 60, "added", exact=True)], 40)
    assert [row.lead for row in rows] == ["", "~", "~", "~"]
    assert "".join(row.text for row in rows) == "+" + "x " * 60


def test_a_table_stays_in_its_columns() -> None:
    assert laid(plain("[ok] kvm       " + "word " * 20), 40)[1].lead == " " * 15


async def test_a_text_is_searched_and_its_place_is_told() -> None:
    text = "\n".join(f"line {number}" + (" needle" if number % 40 == 7 else "") for number in range(200))
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.push_screen(Text("a log", lambda: text))
        await until(pilot, lambda: "line 0" in shown(pilot))
        lines = pilot.app.screen.query_one(Lines)
        pages = -(-200 // lines.size.height)
        assert shown(pilot).splitlines()[0].endswith(f"1/{pages}")
        await pilot.press("slash", *"NEEDLE", "enter")
        await until(pilot, lambda: "NEEDLE: 1 of 5" in shown(pilot))
        await pilot.press("n", "n")
        await until(pilot, lambda: "3 of 5" in shown(pilot) and "line 87 needle" in shown(pilot))
        await pilot.press("N", "N", "N")
        await until(pilot, lambda: "5 of 5" in shown(pilot))
        await pilot.press("g")
        await until(pilot, lambda: "line 0" in shown(pilot))
        await pilot.press("G")
        await until(pilot, lambda: shown(pilot).splitlines()[0].endswith(f"{pages}/{pages}"))
        await pilot.press("slash", *"nowhere", "enter")
        await until(pilot, lambda: "nowhere in this text: nowhere" in shown(pilot))
        await pilot.press("slash", "y", "escape")
        await until(pilot, lambda: not pilot.app.screen.query_one("#narrow").display)
        assert page(pilot) == "Text"
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Home")


async def test_plan_log_and_report_are_read_in_the_same_reader(desk: Desk) -> None:
    async with suite(Terminal(colour="full", unicode=True, term="xterm-256color")).run_test(size=SIZE) as pilot:
        await to_review(pilot, desk)
        await pilot.press("y")
        await until(pilot, lambda: "Copied:" in shown(pilot))
        assert "+one" in pilot.app.clipboard
        await pilot.press("slash")
        await until(pilot, lambda: page(pilot) == "Text")
        await pilot.press("slash", *"three", "enter")
        await until(pilot, lambda: "three: 1 of 1" in shown(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Review")
        await start(pilot)
        await until(pilot, lambda: "[x] Done" in shown(pilot))
        await pilot.press("y")
        await until(pilot, lambda: "Copied:" in shown(pilot))
        assert pilot.app.clipboard.endswith("/report.md")
        await pilot.press("v")
        await until(pilot, lambda: page(pilot) == "Text" and "outcome" in shown(pilot))
        await pilot.press("y")
        await until(pilot, lambda: "Copied:" in shown(pilot))
        assert pilot.app.clipboard.startswith("# crashcart copy")


async def test_a_terminal_that_cannot_copy_is_sent_nothing() -> None:
    async with suite(Terminal(term="vt100")).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.push_screen(Text("a log", lambda: "words"))
        await until(pilot, lambda: "words" in shown(pilot))
        await pilot.press("y")
        await until(pilot, lambda: "cannot copy" in shown(pilot))
        assert pilot.app.clipboard == ""


def test_what_is_copied_goes_down_the_line_as_osc_52(tmp_path: Path) -> None:
    env = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(tmp_path)}
    with Serial(env) as serial:
        serial.until("Tasks")
        serial.press("\x07")
        serial.until("The same keys")
        serial.press("y")
        serial.until("Copied:")
        sent = serial.raw.split(b"\x1b]52;c;")[1].partition(b"\x07")[0]
        assert base64.b64decode(sent).startswith(b"The same keys work on every page")
        serial.press(NEXT)


async def test_help_tells_about_the_page_on_show() -> None:
    async with Suite(WIZARDS, Terminal()).run_test(size=(80, 60)) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.open_task("backup-restore")  # type: ignore[attr-defined]  a Suite
        await until(pilot, lambda: page(pilot) == "Repository")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "This page: Repository" in shown(pilot))
        text = shown(pilot)
        assert "Key file: " in text and "Pick" in text and "Next page" in text
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Repository")


async def test_tasks_are_opened_by_digit_and_found_by_letters() -> None:
    async with Suite(WIZARDS, Terminal()).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        menu = pilot.app.screen.query_one(Menu)
        for letters, name in (("v", "virtio"), ("d", "vdx"), ("x", "vdx")):
            await pilot.press(letters)
            assert menu.row is not None and menu.row.text.startswith(name)
        await pilot.press("backspace", "backspace", "i")
        assert menu.row.text.startswith("virtio")
        await pilot.press("down", "r", "e")
        assert menu.row.text.startswith("Rehearse")
        await pilot.press("down", "8")
        await until(pilot, lambda: page(pilot) == "SectionScreen")
        await pilot.press("1")
        await until(pilot, lambda: page(pilot) == "Repositories")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("b", "a", "enter")
        await until(pilot, lambda: page(pilot) == "SectionScreen")
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.press("f", "l")  # not "bafl"
        assert menu.row.text.startswith("Fleet")
        await pilot.press("h")
        await until(pilot, lambda: page(pilot) == "History")


async def test_a_mouse_chooses_where_there_is_one(desk: Desk) -> None:
    assert Terminal(unicode=True, term="xterm").mouse
    assert not Terminal(unicode=True, slow=True).mouse and not Terminal(term="vt100").mouse
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        await pilot.click(Menu, offset=(5, next(at for at, row in enumerate(_rows(pilot)) if row == "task:copy")))
        await until(pilot, lambda: page(pilot) == "Files")
        pilot.app.screen.go(1)  # type: ignore[attr-defined]  a Frame
        await pilot.pause()
        await pilot.click(Flag)
        assert pilot.app.screen.query_one(Flag).value
        await pilot.click("Keys", offset=(shown(pilot).splitlines()[-1].index("^n") + 1, 0))
        await until(pilot, lambda: page(pilot) == "More")


def _rows(pilot: object) -> list[str]:
    return [row.id for row in pilot.app.screen.query_one(Menu).rows]  # type: ignore[attr-defined]


async def test_light_and_dark_are_remembered_for_the_terminal(tmp_path: Path) -> None:
    light = Terminal(colour="full", unicode=True, term="xterm", tty="/dev/pts/99", light=True)
    async with suite(light).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        assert pilot.app.theme == "crashcart-light"
        pilot.app.action_turn_light()  # type: ignore[attr-defined]  a Suite
        await until(pilot, lambda: remembered(light, "light") is False)
        assert pilot.app.theme == "crashcart"
    remember(light, True)
    assert (remembered(light), remembered(light, "light")) == (True, False)
    assert Terminal.guess({"TERM": "xterm", "COLORFGBG": "0;15"}).light
    assert not Terminal.guess({"TERM": "xterm", "COLORFGBG": "15;0"}).light


def test_old_and_new_stand_side_by_side_where_there_is_room() -> None:
    diff = ["--- a/etc/fstab", "+++ b/etc/fstab", "@@ -1,3 +1,2 @@", " proc", "-/dev/hda1 /", "-gone", "+/dev/vda1 /"]
    rows = str(beside(diff, 113)).splitlines()
    halves = [tuple(part.strip() for part in row.split(" | ")) for row in rows if " | " in row]
    assert halves == [("proc", "proc"), ("-/dev/hda1 /", "+/dev/vda1 /"), ("-gone", "")]
    assert all(cell_len(row) <= 113 for row in rows)
