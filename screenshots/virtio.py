"""The virtio wizard's screens at 80x24 as SVG, from a real conversion of a rehearsal guest; takes minutes.

`make.py --check` leaves these alone: they need a guest converted and booted under emulation.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tui.console import Terminal, prepare  # noqa: E402  found by the line above

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.pilot import Pilot

STAGE = Path("/tmp/crashcart-virtio-screens")  # noqa: S108  stands on the screens, so it is the same everywhere
RICH = Terminal(colour="full", unicode=True, term="xterm-256color")


async def until(pilot: Pilot[object], holds: Callable[[], object]) -> None:
    """Wait for something on the screen; an appliance under emulation takes its time."""
    for _ in range(18000):
        await pilot.pause(0.05)
        if holds():
            return
    raise SystemExit("a screen did not come within 15 minutes")


async def main() -> int:
    """From the first form to the result."""
    from engines.rehearsal.guest.build import build
    from engines.rehearsal.guest.shape import DEFAULT
    from tui.app import Suite
    from tui.frame import Frame
    from wizards.restock import RESTOCK
    from wizards.virtio import CONVERT

    image = build(DEFAULT, STAGE / "web1.img")
    made = HERE / "virtio"
    made.mkdir(exist_ok=True)
    app = Suite((CONVERT, RESTOCK), RICH, "", host="rescue1", clock=lambda: 1767236409.0)
    async with app.run_test(size=(80, 24)) as pilot:

        async def shot(name: str) -> None:
            await pilot.pause(0.5)
            pilot.app.save_screenshot(f"{name}.svg", str(made))

        await until(pilot, lambda: len(app.screen_stack) == 2)
        app.open_task("virtio", {"image": str(image)})
        await until(pilot, lambda: isinstance(app.screen, Frame))
        frame = app.screen
        assert isinstance(frame, Frame)
        for name in ("1-image", "2-names", "3-proof"):
            await shot(name)
            await pilot.press("ctrl+n")
        review = frame.pages[3]
        await until(pilot, lambda: getattr(review, "settled", False))
        await shot("4-review")
        for name in ("5-review-changes", "6-review-more", "7-review-end"):
            await pilot.press("pagedown", "pagedown")
            await shot(name)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: app.screen is not frame)
        await pilot.press(*image.name)
        await shot("8-typed-word")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Frame) and "boots from virtio" in _text(pilot))
        await shot("9-result")
        await pilot.press("v")
        await shot("10-report")
    return 0


def _text(pilot: Pilot[object]) -> str:
    """The screen as text."""
    strips = pilot.app.screen._compositor.render_strips(pilot.app.size)
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


if __name__ == "__main__":
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir()
    os.environ.update(XDG_STATE_HOME=str(STAGE / "state"), XDG_CONFIG_HOME=str(STAGE / "config"), TZ="UTC")
    prepare(RICH, os.environ)
    raise SystemExit(asyncio.run(main()))
