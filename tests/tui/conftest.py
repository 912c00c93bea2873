"""The lab's task is known to this process and to every process that a test starts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engines import tasks
from engines.job import runs
from tui import app
from tui.console import Terminal
from tui.frame import Frame
from tui.pages.form import FormPage

LAB = Path(__file__).parent / "lab"
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(LAB))

import copysuite  # noqa: E402  the lab is a folder, not a package, so that a child finds it by PYTHONPATH


class Suite(app.Suite):
    """The suite, whose keys in a test have done all that they do once they are pressed, however busy the machine is."""

    CSS_PATH = ROOT / "tui" / "crashcart.tcss"

    async def _press_keys(self, keys: Iterable[str]) -> None:
        for key in keys:
            presses = self.presses
            await super()._press_keys([key])
            async with asyncio.timeout(600):
                while self.is_running and (self.typing or self.presses == presses):
                    await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A child imports sitecustomize from the lab; this process is told directly."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(LAB), str(ROOT))))
    monkeypatch.delenv("NO_COLOR", raising=False)
    tasks.TASKS["copy"] = tasks.Task("copytask", "a text file copied with care")
    yield
    del tasks.TASKS["copy"]


@dataclass(frozen=True)
class Desk:
    """A text to copy and a place that is taken."""

    source: Path
    output: Path

    @property
    def hold(self) -> Path:
        """For the copy task's field: its run stands still in a step while the gate of that step is there."""
        return self.source.with_name("gate")

    def gate(self, step: str) -> Path:
        """The file that holds a run up in `step`."""
        return Path(f"{self.hold}.{step}")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "a.txt", tmp_path / "b.txt")
    desk.source.write_text("one\ntwo\nthree\n")
    desk.output.write_text("old one\ntwo\n")
    return desk


def suite(terminal: Terminal | None = None, attach: str = "") -> Suite:
    return Suite(copysuite.wizards(), terminal or Terminal(), attach)


type_of_pilot = Pilot[str]


async def until(pilot: type_of_pilot, holds: Callable[[], object], within: float = 300.0) -> None:
    """Wait for something to hold; the deadline is generous because machines are shared."""
    for _ in range(round(within / 0.1)):
        await pilot.pause(0.1)
        if holds():
            return
    stack = " > ".join(type(screen).__name__ for screen in pilot.app.screen_stack)
    raise AssertionError(f"not within {within} s; {stack} says:\n{shown(pilot)}")


async def at_rest(pilot: type_of_pilot) -> None:
    """Wait until the screen has nothing more to do or to draw."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    before = ""
    while (now := shown(pilot)) != before:
        before = now
        await pilot.pause(0.1)


def shown(pilot: type_of_pilot) -> str:
    """The screen as text, as the line filters leave it."""
    width, height = pilot.app.size
    filters = pilot.app.get_line_filters()
    lines = []
    for strip in pilot.app.screen._compositor.render_strips(pilot.app.size):
        segments = list(strip)
        for known in filters:
            segments = known.apply(segments, pilot.app.screen.background_colors[1])
        lines.append("".join(segment.text for segment in segments)[:width].rstrip())
    return "\n".join(lines[:height])


def page(pilot: type_of_pilot) -> str:
    """The heading of the page on show; the screen's name outside the frame."""
    screen = pilot.app.screen
    return screen.page.heading if isinstance(screen, Frame) else type(screen).__name__


def fill(pilot: type_of_pilot, **values: object) -> None:
    """Set fields by name; the keys under test are pressed, the data is not typed."""
    frame = next(screen for screen in pilot.app.screen_stack if isinstance(screen, Frame))
    for form in frame.pages:
        if isinstance(form, FormPage):
            for name, value in values.items():
                if name in form.entries:
                    form.entries[name].control.value = value  # type: ignore[assignment]  a Line here, by choice


async def to_review(pilot: type_of_pilot, desk: Desk, **values: object) -> None:
    """From the home screen to a plan that can be started."""
    await until(pilot, lambda: page(pilot) == "Home")
    await pilot.press("enter")
    await until(pilot, lambda: page(pilot) == "Files")
    fill(pilot, source=str(desk.source), output=str(desk.output), **values)
    await pilot.press("ctrl+n", "ctrl+n", "ctrl+n")
    await until(pilot, lambda: "^n Start" in shown(pilot))


async def start(pilot: type_of_pilot, word: str = "b.txt") -> None:
    """Start the plan on show, with its word where it has one."""
    await pilot.press("ctrl+n")
    if word:
        await until(pilot, lambda: page(pilot) == "TypedWord")
        await pilot.press(*word, "enter")
    await until(pilot, lambda: runs.every() and page(pilot) != "TypedWord")


Walk = Callable[[type_of_pilot], Awaitable[None]]
