"""What holds of the screens' source and of their plain parts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import copytask
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from engines.job.contract import Answered, Asked, Finished, Progress, Started, Step, StepEnded, StepStarted
from engines.job.errors import BadParam
from engines.job.journal import Entry
from engines.job.params import fields
from engines.job.units import amount, span
from tests.tui.conftest import ROOT
from tui.ascii import ascii_only
from tui.console import Terminal, prepare, remember, remembered
from tui.draft import Draft, shown, typed
from tui.story import RunView
from tui.widgets.diff import folded
from tui.widgets.line import complete

SOURCES = [*ROOT.glob("tui/**/*.py"), *ROOT.glob("wizards/*.py")]
EATEN = {"ctrl+b", "ctrl+a", "ctrl+s", "ctrl+q", "ctrl+z"}  # tmux, screen, XON/XOFF, the shell
FIELDS = {field.name: field for field in fields(copytask.CopyParams)}


@pytest.mark.parametrize("word", ["subprocess", r"(?<![\w.])open\(", "guestfs", "os.system", "popen"])
def test_no_screen_touches_the_machine(word: str) -> None:
    assert [str(path) for path in SOURCES if re.search(word, path.read_text())] == []


def test_no_key_is_one_that_a_line_or_a_multiplexer_eats() -> None:
    bound = {
        key
        for path in SOURCES
        for keys in re.findall(r'Binding\(\s*"([^"]+)"', path.read_text())
        for key in keys.split(",")
    }
    assert "ctrl+n" in bound
    assert not bound & EATEN
    alone = [keys for path in SOURCES for keys in re.findall(r'Binding\(\s*"([^"]+)"', path.read_text())]
    assert not [keys for keys in alone if all(re.fullmatch(r"f\d+|alt\+.*", key) for key in keys.split(","))]


@pytest.mark.parametrize("path", [*ROOT.glob("wizards/*.py")], ids=lambda path: path.name)
def test_a_wizard_module_stays_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 30


def test_every_shipped_wizard_asks_for_every_needed_parameter_and_for_none_twice() -> None:
    from wizards import WIZARDS

    for wizard in WIZARDS:
        asked = [field.name for form in wizard.forms for field in wizard.fields(form)]
        needed = {field.name for field in fields(wizard.engine.params) if field.required}
        given = {"paths"} if wizard.under and not wizard.name else set()  # by the screen that opens it
        assert needed <= set(asked) | given
        assert len(asked) == len(set(asked))


@given(st.text(max_size=40))
def test_ascii_text_is_ascii_and_as_wide_as_it_was(text: str) -> None:
    text = "".join(char for char in text if char.isprintable() and cell_len(char) > 0)
    assert ascii_only(text).isascii()
    assert cell_len(ascii_only(text)) == cell_len(text)


@given(st.text(alphabet=st.characters(blacklist_categories=["C", "Z"]), max_size=200), st.integers(10, 60))
def test_a_folded_line_loses_nothing(line: str, width: int) -> None:
    first, *more = folded(line, width)
    assert first + "".join(piece[1:] for piece in more) == line
    assert all(cell_len(piece) <= width for piece in (first, *more))


@given(st.lists(st.text(alphabet="abc ,\"'x/", min_size=1, max_size=8).map(str.strip).filter(bool), max_size=4))
def test_a_list_comes_back_from_the_line_that_shows_it(items: list[str]) -> None:
    assert tuple(typed(FIELDS["notes"], shown(FIELDS["notes"], items)) or ()) == tuple(items)


def test_one_text_for_a_list_is_shown_as_a_list_of_one() -> None:
    assert shown(FIELDS["notes"], "disk0, more") == '"disk0, more"'
    assert shown(FIELDS["notes"], "disk0") == "disk0"


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("count", " 5 ", 5),
        ("ask", True, True),
        ("style", "upper case", "upper case"),
        ("count", "", None),
        ("notes", "", None),
    ],
)
def test_a_form_text_becomes_the_parameter(name: str, raw: Any, value: Any) -> None:
    assert typed(FIELDS[name], raw) == value


def test_an_empty_needed_field_is_refused() -> None:
    with pytest.raises(BadParam):
        typed(FIELDS["source"], "")


def test_a_secret_is_in_no_job() -> None:
    draft = Draft(copytask.Copy(), raw={"source": "a", "output": "b", "token": "hunter2"})
    assert "hunter2" not in repr(draft.job())
    assert draft.secrets()["token"].reveal() == "hunter2"


@pytest.mark.parametrize(
    ("env", "tty", "colour", "unicode", "slow"),
    [
        ({"TERM": "xterm-256color", "LANG": "de_DE.UTF-8"}, "", "full", True, False),
        ({"TERM": "xterm", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}, "", "full", True, False),
        ({"TERM": "linux", "LANG": "de_DE.UTF-8"}, "/dev/tty1", "16", False, False),
        ({"TERM": "vt220", "LANG": "de_DE.UTF-8"}, "/dev/ttyS0", "16", False, True),
        ({"TERM": "xterm-256color", "LANG": "C", "LC_CTYPE": "C.UTF-8"}, "", "full", False, False),
        ({"TERM": "xterm-256color", "LANG": "de_DE.ISO-8859-1"}, "", "full", False, False),
        ({"TERM": "xterm-256color", "LANG": "C.UTF-8", "NO_COLOR": ""}, "", "mono", True, False),
        ({"TERM": "tmux-256color", "TMUX": "x", "LANG": "C.UTF-8"}, "", "16", False, True),
        ({}, "", "16", False, False),
    ],
)
def test_a_terminal_is_guessed(env: dict[str, str], tty: str, colour: str, unicode: bool, slow: bool) -> None:
    found = Terminal.guess(env, tty, lambda: "vt100 0")
    assert (found.colour, found.unicode, found.slow) == (colour, unicode, slow)


def test_textual_is_told_before_it_is_imported() -> None:
    env: dict[str, str] = {}
    prepare(Terminal(colour="mono"), env)
    assert env["TEXTUAL_THEME"] == "ansi-dark"
    assert env["TEXTUAL_COLOR_SYSTEM"] == "standard"
    assert env["TEXTUAL_DISABLE_KITTY_KEY"] == "1"
    assert env["ESCDELAY"] == "500"


def test_a_choice_of_looks_is_kept_by_terminal() -> None:
    here, there = Terminal(tty="/dev/ttyS0", term="vt100"), Terminal(tty="/dev/pts/1", term="xterm")
    remember(here, plain=True)
    assert remembered(here) is True
    assert remembered(there) is None


def test_a_story_knows_where_a_run_stands() -> None:
    story = RunView()
    steps = (Step(id="a", title="First"), Step(id="b", title="Second", no_stop="it renames"))
    told = [
        Started(task="copy", target="x", steps=steps),
        StepStarted(step="a"),
        StepEnded(step="a"),
        StepStarted(step="b"),
    ]
    told += [Progress(done=0, total=100 << 20), Progress(done=50 << 20, total=100 << 20), Asked(question="Go on?")]
    for at, event in enumerate(told):
        story.tell(Entry(at, 100.0 + at * 2, event))
    assert [stage.line(115.0, over=False) for stage in story.stages] == [
        "[x] First  2.0 s",
        "[>] Second  9.0 s  (cannot be stopped)",
    ]
    assert story.bar(60).endswith("]  50%  50/100 MiB  ETA 0:02")
    assert len(story.bar(60)) <= 60
    assert story.bar(60).count("#") == story.bar(60).count(".")
    assert story.question is not None
    story.tell(Entry(8, 120.0, Answered(text="yes")))
    assert story.question is None
    story.tell(Entry(9, 121.0, Finished(summary="done")))
    assert story.last is not None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (12.3, "12 s"), (185, "3 min 05 s"), (7805, "2 h 10 min")]
)
def test_a_time_is_spelled(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_an_amount_has_its_unit() -> None:
    assert amount(12 << 20, 23 << 20, "bytes") == "12/23 MiB"
    assert amount(3, 17, "lines") == "3/17 lines"


def test_tab_completes_as_a_shell_does(tmp_path: Path) -> None:
    for name in ("x9scm2.608", "x9scm2.zip", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "out").mkdir()
    assert complete(f"{tmp_path}/x", folders_only=False).text == f"{tmp_path}/x9scm2."
    assert complete(f"{tmp_path}/x", folders_only=False).names == ("x9scm2.608", "x9scm2.zip")
    assert complete(f"{tmp_path}/o", folders_only=False).text == f"{tmp_path}/out/"
    assert complete(f"{tmp_path}/", folders_only=True).text == f"{tmp_path}/out/"
    assert complete(f"{tmp_path}/nothing", folders_only=False).text == f"{tmp_path}/nothing"
