"""Every screen at 80x24 as SVG, the same bytes on every machine; `--check` fails where a kept one differs."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tui.console import Terminal, prepare  # noqa: E402  found by the line above

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from engines.job.contract import AnyEvent, Plan
    from tui.app import Suite

STAGE = Path("/tmp/crashcart-screens")  # noqa: S108  stands on the screens, so it is the same everywhere
THREE_AM = 1767236400.0  # 2026-01-01 03:00 UTC
RICH = Terminal(colour="full", unicode=True, term="xterm-256color")
PLAIN = Terminal(colour="16", unicode=False, term="vt100")
MAIN = ("1-home", "2-firmware", "4-review", "8-run", "9-result")  # drawn at other sizes, too
Shot = Callable[[str], Awaitable[None]]
QUIET = 10  # looks in which nothing moves, before a new picture is kept
PATIENCE = 200  # the same, before a picture is said to differ from the kept one
CHECKS = "--check" in sys.argv[1:]


async def main() -> int:
    """Draw all screens; gives the exit code."""
    made = STAGE / "svg"
    made.mkdir()
    params = _material()
    plan = await _wizard(made, params, RICH, "")
    await _wizard(made, params, PLAIN, "-plain")
    _record(plan, params)
    await _runs(made)
    from screenshots import backup

    (made / "backup").mkdir()
    await backup.draw(made / "backup", STAGE, lambda: _suite(RICH), _until, _take, "")
    await backup.draw(made / "backup", STAGE, lambda: _suite(PLAIN), _until, _take, "-plain")
    return _compare(made) if CHECKS else _keep(made)


def _material() -> dict[str, Any]:
    """A firmware, a DOS and an ISO from last time."""
    from engines.rehearsal import firmware

    params = firmware.make(STAGE)
    output = STAGE / "x9scm.iso"
    output.write_bytes(b"last time's disc")
    return {**params, "output": str(output)}


def _suite(terminal: Terminal, attach: str = "") -> Suite:
    from tui.app import Suite
    from wizards import WIZARDS

    return Suite(WIZARDS, terminal, attach, host="rescue1", clock=lambda: THREE_AM + 9)


def _camera(pilot: Pilot[Any], made: Path, ending: str) -> Shot:
    async def shot(name: str) -> None:
        await _take(pilot, made, f"{name}{ending}.svg")
        if name in MAIN and not ending:
            await _others(pilot, made, name)

    return shot


async def _others(pilot: Pilot[Any], made: Path, name: str) -> None:
    """A main screen on a small terminal, on a large one, and without colours."""
    for width, height in ((60, 20), (132, 43)):
        await pilot.resize_terminal(width, height)
        await _until(pilot, lambda size=(width, height): pilot.app.screen.size == size)  # type: ignore[misc]
        await _take(pilot, made, f"{name}-{width}x{height}.svg")
    await pilot.resize_terminal(80, 24)
    await _until(pilot, lambda: pilot.app.screen.size == (80, 24))
    app: Any = pilot.app
    app.wear(replace(app.terminal, colour="mono"))
    await _take(pilot, made, f"{name}-mono.svg")
    app.wear(RICH)


async def _take(pilot: Pilot[Any], made: Path, name: str) -> None:
    """A picture, once it is the kept one where that is checked; else once nothing moves in it any more."""
    kept = HERE / made.relative_to(STAGE / "svg") / name
    wanted = kept.read_text("utf-8") if CHECKS and kept.exists() else ""
    seen, quiet = "", 0
    for _ in range(1200):  # what blinks for ever is taken as it is
        await pilot.pause(0.05)
        now = pilot.app.export_screenshot()
        quiet = quiet + 1 if now == seen else 0
        seen = now
        if seen == wanted or quiet == (PATIENCE if wanted else QUIET):
            break
    (made / name).write_text(seen, "utf-8")


async def _until(pilot: Pilot[Any], holds: Callable[[], object]) -> None:
    for _ in range(1200):
        await pilot.pause(0.05)
        if holds():
            return
    raise SystemExit("a screen did not come within 60 s")


async def _wizard(made: Path, params: dict[str, Any], terminal: Terminal, ending: str) -> Plan:
    from tui.frame import Frame

    app = _suite(terminal)
    async with app.run_test(size=(80, 24)) as pilot:
        shot = _camera(pilot, made, ending)
        await _until(pilot, lambda: len(app.screen_stack) == 2)
        await shot("1-home")
        app.open_task("biosiso", {**params, "boot_test": True})
        await _until(pilot, lambda: isinstance(app.screen, Frame))
        frame = app.screen
        assert isinstance(frame, Frame)
        await shot("2-firmware")
        await pilot.press("ctrl+n")
        await shot("3-disc")
        await pilot.press("ctrl+n", "ctrl+n")
        review = frame.pages[3]
        await _until(pilot, lambda: getattr(review, "settled", False))
        await shot("4-review")
        await pilot.press("pagedown", "pagedown", "pagedown")
        await shot("5-review-changes")
        await pilot.press("ctrl+n")
        await _until(pilot, lambda: app.screen is not frame)
        await shot("6-typed-word")
        plan = getattr(review, "draft").plan  # noqa: B009  a ReviewPage, which Page does not tell
        assert plan is not None
        return plan  # type: ignore[no-any-return]  a Plan, by the line above


def _record(plan: Plan, params: dict[str, Any]) -> None:
    """Three runs as their journals would tell them: one at work, one done, one killed."""
    from engines.host.holder import Holder, me
    from engines.job.contract import Finished, Log, Progress, Started, StepEnded, StepStarted

    began = Started(task="biosiso", target=plan.target, steps=plan.steps, digest=plan.digest)
    first = [began, StepStarted(step=plan.steps[0].id), Log(text="14 files, about 11 MiB")]
    middle = [StepEnded(step=plan.steps[0].id), StepStarted(step=plan.steps[1].id)]
    rest = [event for step in plan.steps[2:] for event in (StepStarted(step=step.id), StepEnded(step=step.id))]
    done = Finished(
        summary="x9scm.iso is ready: boot it and type AMI2 X9SCM2.608",
        then=(
            "boot the disc on the board and compare its name with the ROM's",
            "keep the power steady until it is done",
        ),
    )
    here = me()
    _run("20260101T030000Z-biosiso-x9scm.iso", plan, params, [*first, *middle, _part(1), _part(7)], here)
    gone = Holder(here.pid, 0, here.boot)
    _run(
        "20260101T021500Z-biosiso-x9scm.iso",
        plan,
        params,
        [*first, *middle, StepEnded(step="verify"), *rest, done],
        gone,
    )
    _run("20260101T020000Z-biosiso-x9scm.iso", plan, params, [*first, Progress(done=1, total=23)], gone)


def _part(mebibytes: int) -> AnyEvent:
    from engines.job.contract import Progress

    return Progress(done=mebibytes << 20, total=23 << 20)


def _run(name: str, plan: Plan, params: dict[str, Any], events: list[Any], holder: Any) -> None:
    import msgspec

    from engines.job import runs
    from engines.job.jobfile import Job, dump
    from engines.job.journal import Entry, encode

    folder = runs.home() / name
    folder.mkdir(mode=0o700, parents=True)
    run = runs.Run(folder)
    began = THREE_AM - (3600 * (3 - int(name[9:11]))) + 60 * int(name[11:13])
    info = runs.Info(id=name, task="biosiso", target=plan.target, created=began)
    run.keep("run.json", msgspec.json.encode(info))
    run.keep("job.yaml", dump(Job(task="biosiso", params=params)).encode())
    run.keep("plan.json", msgspec.json.encode(plan))
    run.keep("holder.json", msgspec.json.encode(holder))
    run.keep("journal.jsonl", b"".join(encode(Entry(at, began + at, event)) for at, event in enumerate(events)))


async def _runs(made: Path) -> None:
    from engines.job import runs
    from tui.frame import Frame

    app = _suite(RICH)
    async with app.run_test(size=(80, 24)) as pilot:
        shot = _camera(pilot, made, "")
        await _until(pilot, lambda: getattr(app.screen, "found", None))
        await shot("7-home-with-runs")
        at_work, done, _ = runs.every()
        app.show_run(at_work)
        await _until(pilot, lambda: app.screen.query("#bar") and str(app.screen.query_one("#bar").render()))
        await shot("8-run")
        await pilot.press("escape")
        app.show_run(done)
        await _until(pilot, lambda: isinstance(app.screen, Frame) and app.screen.query("Words .title"))
        await shot("9-result")
        await pilot.press("v")
        await shot("10-report")
        await pilot.press("escape", "escape", "h")
        await shot("11-history")
        await pilot.press("ctrl+g")
        await shot("12-help")


def _keep(made: Path) -> int:
    for old in _drawn(HERE).values():
        old.unlink()
    for name, new in _drawn(made).items():
        (HERE / name).parent.mkdir(exist_ok=True)
        shutil.copy(new, HERE / name)
        print(HERE / name)
    return 0


def _drawn(folder: Path) -> dict[str, Path]:
    """By name, what this script draws; the virtio pages have a script of their own."""
    return {str(path.relative_to(folder)): path for glob in ("*.svg", "backup/*.svg") for path in folder.glob(glob)}


def _compare(made: Path) -> int:
    kept = {name: path.read_bytes() for name, path in _drawn(HERE).items()}
    drawn = {name: path.read_bytes() for name, path in _drawn(made).items()}
    differing = sorted(name for name in kept.keys() | drawn.keys() if kept.get(name) != drawn.get(name))
    for name in differing:
        print(f"{name} differs: look at {made / name}, then python screenshots/make.py", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    alone = os.open(STAGE.parent, os.O_RDONLY)  # held to the end: the stage has one name, and another may be drawing
    fcntl.flock(alone, fcntl.LOCK_EX)
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(mode=0o700)
    os.environ["XDG_STATE_HOME"] = str(STAGE / "state")
    prepare(RICH, os.environ)
    raise SystemExit(asyncio.run(main()))
