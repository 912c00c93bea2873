"""The backup pages at 80x24: the section, the calendar of points, and the rehearsal's disk opened like a folder."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from textual.pilot import Pilot

    from engines.backup.commands.listing import PointRow
    from engines.backup.files.tree import Tree
    from engines.job.contract import Cancel
    from tui.app import Suite

REPO = "/srv/backup/repo"
POINT = "shop/disk0@20251231T020000Z"


class Image:
    """An image file as a disk of bytes; see Source."""

    def __init__(self, path: Path) -> None:
        self.raw = path.read_bytes()
        self.size = len(self.raw)

    def read(self, offset: int, length: int) -> bytes:
        """See Source."""
        return self.raw[offset : offset + length]


def points() -> list[PointRow]:
    """A month and a bit of a shop's points, one of them damaged, and two other disks."""
    from engines.backup.commands.listing import PointRow

    def point(vm: str, at: str, changed: float, **more: Any) -> PointRow:
        size, mib = 20 << 30, 1 << 20
        words = {"consistency": "crash-consistent", **more}
        return PointRow(
            point=f"{vm}@{at}", size=size, changed=int(changed * mib), stored=int(changed * mib / 3), **words
        )

    december = [
        point("shop/disk0", f"202512{day:02}T020000Z", 40 + day * 7.3, verified="20251228T040000Z" if day < 28 else "")
        for day in range(22, 31)
    ]
    return [
        point("mail/disk0", "20251230T021500Z", 212.0),
        point("mail/disk1", "20251230T021500Z", 3.0),
        point("shop/disk0", "20251130T020000Z", 9100.0, verified="20251228T040000Z", tags=("before-upgrade",)),
        *december[:4],
        point("shop/disk0", "20251226T020000Z", 51.0, damaged=2),
        *december[5:],
        point("shop/disk0", "20251231T020000Z", 88.0, consistency="quiesced"),
    ]


def opening(image: Path) -> Callable[[Any, Cancel], Any]:
    """How the image is opened for looking."""
    from engines.backup.files.opening import open_tree

    @contextmanager
    def opened(_: Any, cancel: Cancel) -> Iterator[Tree]:
        with open_tree(Image(image), "auto", "look", cancel) as tree:
            yield tree

    return opened


async def draw(made: Path, stage: Path, suite: Callable[[], Suite], until: Any, take: Any, ending: str) -> None:
    """All of them into `made`, their names ending in `ending`."""
    from engines.rehearsal import disk

    os.environ.update(CRASHCART_REPO=REPO, HOME="/root")
    image = stage / "disk.img"
    disk.write(image, 0)
    app = suite()
    async with app.run_test(size=(80, 24)) as pilot:

        async def shot(name: str) -> None:
            await take(pilot, made, f"{name}{ending}.svg")

        def text() -> str:
            strips = pilot.app.screen._compositor.render_strips(pilot.app.size)
            return "\n".join("".join(segment.text for segment in strip) for strip in strips)

        async def see(words: str) -> None:
            await until(pilot, lambda: words in text())

        await until(pilot, lambda: len(app.screen_stack) == 2)
        await _before(pilot, see, shot)
        await _files(pilot, see, shot, image)


async def _before(pilot: Pilot[Any], see: Any, shot: Any) -> None:
    """From the home screen to the moments of a disk."""
    from tui.browse.access import Access
    from tui.browse.calendar import disks
    from tui.browse.disks import Disks

    await pilot.press("end", *["up"] * 4, "enter")
    await see("Browse")
    await shot("1-backup")
    await pilot.press("enter")
    await see(REPO)
    await shot("2-repositories")
    pilot.app.push_screen(Disks(Access(REPO), disks(points())))
    await see("mail/disk1")
    await shot("3-disks")
    await pilot.press("end", "enter")
    await see("quiesced")
    await shot("4-points")


async def _files(pilot: Pilot[Any], see: Any, shot: Any, image: Path) -> None:
    """The files of one point, and the ways to take them out."""
    from tui.browse.access import Access
    from tui.browse.files import Files
    from tui.browse.session import Session

    pilot.app.push_screen(Files(Session(POINT, Access(REPO), opening(image))))
    await see("lost+found")
    await pilot.press("g", *"/var/www/shop", "enter")
    await see("imprint.html")
    await shot("5-files")
    await pilot.press("space", "space")
    await see("with 60 files")
    await shot("6-marks")
    await pilot.press("home", "enter")
    await see("000.jpg")
    await pilot.press("slash", "5")
    await shot("7-narrow")
    await pilot.press("enter", "enter")
    await see("00000000")
    await shot("8-bytes")
    await pilot.press("escape", "escape", "g", *"/etc/fstab", "enter")
    await see("errors=remount-ro")
    await shot("9-text")
    await pilot.press("escape", "f", *"*.html", "enter")
    await see("That is all")
    await shot("10-find")
    await pilot.press("escape", "r")
    await see("To a tar archive")
    await shot("11-restore")
    await pilot.press("enter")
    await see("Destination")
    await shot("12-where")
