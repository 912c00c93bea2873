"""Restore points on the screen, by keyboard, over a real repository: found, opened, read, marked, searched."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from hostvolume import Crowded, HostVolume, Replayed

from engines.backup.files.model import NOT_REPLAYED
from engines.backup.files.model import shown as escaped
from engines.backup.files.tree import Tree
from engines.job.contract import Cancel
from engines.rehearsal import disk
from tests.tui.conftest import Suite, fill, page, shown, type_of_pilot, until
from tests.tui.serial import ENTER, ESCAPE, Serial
from tui.browse.access import Access
from tui.browse.files import Files
from tui.browse.session import Session
from tui.console import Terminal
from wizards import WIZARDS

SIZE = (80, 24)
HOSTS = len(disk.SERVER["etc/hosts"])
HOSTILE = (
    b"evil\x1b[2J\x1b]0;owned\x07",
    b"new\nline",
    b"[red]markup[red]",
    b"[@click=app.quit]x",
    b"rtl-\xe2\x80\xae.txt",
    b"bad\xff\xfe",
    b"back\\slash",
    b"wide-\xe6\xbc\xa2",
    b"x" * 255,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rehearsal's repository, with a point more of a disk whose names are hostile."""
    folder = tmp_path_factory.mktemp("shop")
    params = disk.make(folder)
    (tree := folder / "hostile").mkdir()
    for name in HOSTILE:
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_bytes(b"\x1b[2J" + bytes(range(256)))
    image = folder / "hostile.img"
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", str(tree), str(image), "8M"]
    subprocess.run(argv, check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    disk._run("backup", {**params, "source": str(image), "vm": "evil"}, folder)
    return Path(params["repo"])


def suite() -> Suite:
    return Suite(WIZARDS, Terminal())


async def to(pilot: type_of_pilot, words: str) -> None:
    """Move to the row that has these words."""
    await pilot.press("home")
    for _ in range(30):
        if any(row.startswith(" >") and words in row for row in shown(pilot).splitlines()):
            return
        await pilot.press("down")
    raise AssertionError(f"no row says {words}:\n{shown(pilot)}")


async def opened(pilot: type_of_pilot, shop: Path, name: str, point: int = 0) -> None:
    """From the home screen to the files of a point; 0 is the newest."""
    await until(pilot, lambda: page(pilot) == "Home")
    await to(pilot, "backup")
    await pilot.press("enter")
    await to(pilot, "Browse")
    await pilot.press("enter")
    await until(pilot, lambda: str(shop)[-40:] in shown(pilot))
    await pilot.press("home", "enter")
    await until(pilot, lambda: page(pilot) == "Disks")
    await to(pilot, name)
    await pilot.press("enter")
    await until(pilot, lambda: page(pilot) == "Points")
    await pilot.press(*["down"] * point)
    await until(pilot, lambda: "Holds" in shown(pilot))
    await pilot.press("enter")
    await until(pilot, lambda: "read directly" in shown(pilot))


async def into(pilot: type_of_pilot, *names: str) -> None:
    """Open folders one in the other."""
    for name in names:
        await to(pilot, f" {name}/")
        await pilot.press("enter")
        await until(pilot, lambda name=name: f"/{name}\n" in shown(pilot).partition("---")[0])  # type: ignore[misc]


@pytest.fixture
def frozen() -> Iterator[None]:
    """As tui.__main__ has it: what pytest holds is not looked through amid a folder."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def used(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    if "shop" in request.fixturenames:
        monkeypatch.setenv("CRASHCART_REPO", str(request.getfixturevalue("shop")))
    yield


async def test_a_lost_file_is_found_in_an_older_point_and_read(shop: Path) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await opened(pilot, shop, "rehearsal/disk0", 1)
        assert "ext4, read directly" in shown(pilot)
        await into(pilot, "var", "www", "shop")
        await to(pilot, "imprint.html")
        await pilot.press("enter")
        await until(pilot, lambda: "<h1>Imprint</h1>" in shown(pilot))
        await pilot.press("x")
        await until(pilot, lambda: "3c 68 31 3e 49 6d 70 72" in shown(pilot))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "/var/www\n" in shown(pilot))
        assert " >   drwxr-xr-x" in shown(pilot)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "| /\n" in shown(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: page(pilot) == "Points")
        await pilot.press("up", "enter")
        await until(pilot, lambda: "read directly" in shown(pilot))
        await pilot.press("f", *"imprint", "enter")
        await until(pilot, lambda: "0 found. That is all." in shown(pilot))


async def test_marks_stay_across_folders_and_count_what_lies_below(shop: Path) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await opened(pilot, shop, "rehearsal/disk0")
        await into(pilot, "etc")
        await to(pilot, "hosts")
        await pilot.press("space")
        await until(pilot, lambda: f"Marked: 1 file, {HOSTS} bytes" in shown(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "| /\n" in shown(pilot))
        await into(pilot, "var", "www", "shop")
        await to(pilot, "photos/")
        await pilot.press("space")
        await until(pilot, lambda: "Marked: 1 file and 1 folder with 60 files, 11.4M" in shown(pilot))
        await pilot.press("asterisk")
        await until(pilot, lambda: "Marked: 2 files and 1 folder" in shown(pilot))
        await pilot.press("asterisk")
        await until(pilot, lambda: f"Marked: 1 file, {HOSTS} bytes" in shown(pilot))
        await pilot.press("escape", "escape", "escape")
        await until(pilot, lambda: "| /\n" in shown(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "Leave, and forget the marks" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "Marked: 1 file" in shown(pilot))


async def test_marked_files_are_restored_to_the_byte_from_home_by_keyboard(shop: Path, tmp_path: Path) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await opened(pilot, shop, "rehearsal/disk0", 1)
        await into(pilot, "var", "www", "shop")
        await to(pilot, "imprint.html")
        await pilot.press("space")
        await to(pilot, "photos/")
        await pilot.press("space", "escape", "escape")
        await until(pilot, lambda: "/var\n" in shown(pilot))
        await into(pilot, "lib", "shop")
        await to(pilot, "orders.csv")
        await pilot.press("space", "r")
        await until(pilot, lambda: "To a folder on this machine" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Where")
        assert "rehearsal-disk0-2" in shown(pilot)
        fill(pilot, dest=str(tmp_path / "out"))
        await pilot.press("ctrl+n", "ctrl+n")
        await until(pilot, lambda: "^n Start" in shown(pilot))
        assert "62 files" in shown(pilot)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: page(pilot) == "Result" and "[x] Done" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: page(pilot) == "Files")
        assert "Marked: 2 files and 1 folder with 60 files" in shown(pilot)
    wanted = {name: content for name, content in disk.files(0).items() if "photos" in name or "imprint" in name}
    wanted |= {name: content for name, content in disk.files(1).items() if "orders" in name}
    found = {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in files_below(tmp_path / "out")}
    assert found == wanted


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_folder_is_narrowed_and_a_path_typed(shop: Path) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await opened(pilot, shop, "rehearsal/disk0")
        await pilot.press("g", *"/var/www/shop/photos", "enter")
        await until(pilot, lambda: "000.jpg" in shown(pilot))
        await pilot.press("slash", "5", "9")
        await until(pilot, lambda: "059.jpg" in shown(pilot) and "000.jpg" not in shown(pilot))
        await pilot.press("enter", "escape")
        await until(pilot, lambda: ">   -rw-r--r-- 195.3K 2026-09-21 14:13 059.jpg" in shown(pilot))
        await pilot.press("g", *"/nothing", "enter")
        await until(pilot, lambda: "! /nothing" in shown(pilot))


async def test_no_name_of_a_guest_reaches_the_screen_raw(shop: Path) -> None:
    async with suite().run_test(size=SIZE) as pilot:
        await opened(pilot, shop, "evil/disk0")
        for name in HOSTILE:
            assert any(escaped(name)[:30] in row for row in shown(pilot).splitlines()) or b"\xe6" in name
        assert "\x1b" not in shown(pilot)
        await to(pilot, "evil")
        await pilot.press("enter")
        await until(pilot, lambda: "260 bytes" in shown(pilot))
        assert "1b 5b 32 4a 00 01" in shown(pilot)
        await pilot.press("x")
        await until(pilot, lambda: "\\x1b[2J\\x00" in shown(pilot))


def test_a_real_serial_line_sees_only_ascii_and_no_escape_of_a_guest(shop: Path) -> None:
    env = {"TERM": "vt100", "LANG": "C", "NO_COLOR": "1", "CRASHCART_REPO": str(shop)}
    with Serial(env, module="tui") as serial:
        serial.until("Tasks")
        serial.press("ba")  # letters go to a row
        serial.until("> backup")
        serial.press(ENTER)
        serial.until("> Browse")
        serial.press(ENTER)
        serial.until(str(shop)[-40:])
        serial.press("\x1b[H" + ENTER)
        serial.until("> evil/disk0")
        serial.press(ENTER)
        serial.until("at rest")
        serial.press(ENTER)
        serial.until("evil\\x1b[2J\\x1b]0;owned\\x07")
        assert not serial.unseen(), serial.unseen()[:3]
        serial.press("/new")
        serial.when(lambda text: "new\\x0aline" in text and "owned" not in text, "a narrowed folder")
        serial.press(ENTER + ENTER)
        serial.until("Text or bytes")
        serial.press(ESCAPE)
        serial.until("Narrow")
        serial.press(ESCAPE)
        serial.until("owned")
        serial.at_rest()
        serial.changed("\x1b[B")
        before = len(serial.raw)
        serial.changed("\x1b[A")
        assert len(serial.raw) - before < 1000, serial.raw[before:]  # bytes for one move of the cursor
        assert serial.raw.isascii()
        assert b"owned\x07" not in serial.raw
        assert b"\x1b]0;" not in serial.raw


async def test_a_folder_of_a_hundred_thousand_entries_never_holds_the_screen_up(tmp_path: Path, frozen: None) -> None:
    volume = Crowded(os.fsencode(tmp_path), 100_000)
    session = Session("web1/disk0@20261122T082300Z", Access("/srv/repo"), lambda *_: nullcontext(_tree(volume)))
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.push_screen(files := Files(session))
        longest = 1.0
        for _ in range(3):  # a neighbour on the same core may spoil one reading
            await until(pilot, lambda: "many/" in shown(pilot))
            await pilot.press("enter")
            full = await _longest_step(pilot, lambda: len(files.listing.rows) == 100_000 and not files.waits)
            longest = min(longest, full)
            if longest < 0.1:
                break
            await pilot.press("escape")
        await pilot.press("end")
        await until(pilot, lambda: ">   -rw-r--r--" in shown(pilot) and "entry-099999" in shown(pilot))
        wanted = sum("0421" in f"entry-{at:06}" for at in range(100_000))
        await pilot.press("slash", *"0421", "enter", "asterisk")
        await until(pilot, lambda: f"Marked: {wanted} files" in shown(pilot))
    assert longest < 0.1, f"one step held the screen's thread for {longest:.3f} s of its own CPU time"


def _tree(volume: HostVolume) -> Tree:
    return Tree((volume.info,), lambda _: volume)


async def _longest_step(pilot: type_of_pilot, holds: Callable[[], object]) -> float:
    """The most CPU seconds that the screen's own thread spent at one go: a busy machine does not count in them."""
    longest, deadline, last = 0.0, time.monotonic() + 120, time.thread_time()
    while time.monotonic() < deadline:
        await asyncio.sleep(0.005)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
        if holds():
            return longest
    raise AssertionError(f"not within 120 s:\n{shown(pilot)}")


async def test_the_view_changes_over_once_the_journal_is_replayed(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        (folder / "mail").mkdir(parents=True)
        (folder / "mail/old").write_bytes(b"old")
    (after / "mail/just-written").write_bytes(b"new")
    replayed = threading.Event()

    @contextmanager
    def opening(purpose: str, _: Cancel) -> Iterator[Tree]:
        if purpose == "take":
            replayed.wait(600)
        volume = HostVolume(os.fsencode(before), NOT_REPLAYED)
        if purpose == "take":
            volume = Replayed(os.fsencode(after), "journal replayed")
        yield _tree(volume)

    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.push_screen(Files(Session("web1/disk0@20261122T082300Z", Access("/srv/repo"), opening)))
        await until(pilot, lambda: "mail/" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "! ext4: journal not replayed, newest files may be missing" in shown(pilot))
        assert "replaying it ..." in shown(pilot)
        await to(pilot, "old")
        await pilot.press("space")
        replayed.set()
        await until(pilot, lambda: "ext4, read by libguestfs, journal replayed" in shown(pilot))
        assert "just-written" in shown(pilot)
        assert " > * -rw-r--r--" in shown(pilot)
        assert "Marked: 1 file, 3 bytes" in shown(pilot)


async def test_loading_can_be_left_at_any_moment(tmp_path: Path) -> None:
    volume = Crowded(os.fsencode(tmp_path), 30_000_000)
    session = Session("web1/disk0@20261122T082300Z", Access("/srv/repo"), lambda *_: nullcontext(_tree(volume)))
    async with suite().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        pilot.app.push_screen(Files(session))
        await until(pilot, lambda: "many/" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "so far" in shown(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "Stopped. Not everything is here." in shown(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: "| /\n" in shown(pilot))


# ── the plain parts ─────────────────────────────────────────────────────────────────────────────────
