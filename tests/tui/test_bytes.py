"""What goes down a serial line, counted on a real pty: a page that grows is a failure, not a matter of taste."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

import engines
from tests.engines.fleet.lab import fleet
from tests.tui.serial import COLUMNS, ENTER, ESCAPE, ROWS, Serial
from tui.thrift import BLANK, Paper, Row, cells

VT100 = {"TERM": "vt100", "LANG": "C"}
DOWN, HELP = "\x1b[B", "\x07"
LETTER, MOVE, PAGE, SCROLL = 30, 150, 2500, 300  # bytes


class Meter:
    """Bytes that a key costs, once the screen has changed and come to rest."""

    def __init__(self, serial: Serial) -> None:
        self.serial = serial

    def __call__(self, keys: str, words: str = "") -> int:
        before = len(self.serial.raw)
        self.serial.changed(keys, words)
        return len(self.serial.raw) - before


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meter]:
    state = tmp_path_factory.mktemp("state")
    with Serial({**VT100, "XDG_STATE_HOME": str(state)}, module="tui") as serial:
        yield Meter(serial)


def walked(meter: Meter) -> dict[str, tuple[int, int]]:
    """By what was done, the bytes that it cost and the most that it may."""
    costs: dict[str, tuple[int, int]] = {"home": (meter("", "failover-watch"), PAGE)}
    for at in range(6):
        costs[f"move {at}"] = (meter(DOWN), MOVE)
    costs["help"] = (meter(HELP, "The same keys"), PAGE)
    for at in range(3):
        costs[f"scroll {at}"] = (meter(DOWN), SCROLL)
    costs["back"] = (meter(ESCAPE, "failover-watch"), PAGE)
    for _ in range(6):
        meter("\x1b[A")
    costs["form"] = (meter(ENTER, "Firmware"), PAGE)
    for letter in "/tmp/a":
        costs[f"letter {letter}"] = (meter(letter), LETTER)
    costs["question"] = (meter(ESCAPE, "Leave this task?"), PAGE)
    costs["form again"] = (meter(ENTER, "Firmware"), PAGE)
    costs["next field"] = (meter(DOWN), PAGE)
    return costs


def test_no_key_costs_more_than_a_slow_line_carries(meter: Meter) -> None:
    costs = walked(meter)
    assert {name: sent for name, (sent, most) in costs.items() if sent > most} == {}
    assert meter.serial.raw.isascii()


def test_the_pages_of_points_keys_and_fleet_are_as_cheap(tmp_path: Path) -> None:
    disk, repo = tmp_path / "web1.img", tmp_path / "points"
    assert engines.run("backup-init", repo=str(repo)).ok
    for fill in (b"a", b"b"):
        disk.write_bytes(fill * 8192)
        assert engines.run("backup", source=str(disk), repo=str(repo), vm="web1", limit="none").ok
    env = {**VT100, "CRASHCART_REPO": str(repo)}
    with fleet(tmp_path, [[(1, "web1"), (2, "web2")]]) as lab, Serial(env, module="tui") as serial:
        meter = Meter(serial)
        serial.until("failover-watch")
        meter("ba", "> backup")
        costs = {"section": (meter(ENTER, "> Browse"), PAGE)}
        costs["repositories"] = (meter(ENTER, str(repo)[-30:]), PAGE)
        costs["points"] = (meter("\x1b[H" + ENTER, "Holds"), PAGE)  # of the one disk that there is
        costs["an older point"] = (meter(DOWN), 2 * MOVE)  # and what it holds, in three lines
        meter(ESCAPE, str(repo)[-30:])
        meter(ESCAPE, "> Browse")
        meter("key on", "> Key on paper")
        costs["papers"] = (meter(ENTER, str(repo)[-30:]), PAGE)
        costs["sheet"] = (meter("\x1b[H" + ENTER, "RECOVERY SHEET"), PAGE)
        costs["a line of the sheet"] = (meter(DOWN), SCROLL)
        meter(ESCAPE, str(repo)[-30:])
        meter(ESCAPE, "> Key on paper")
        meter(ESCAPE, "failover-watch")
        meter("fl", "> Fleet")
        meter(ENTER, "> Guests")
        costs["this machine's fleet"] = (meter(ENTER, "f Another fleet"), PAGE)
        meter("f", "Esc")
        costs["fleet"] = (meter(f"{lab.path}{ENTER}", "2 guests"), PAGE + LETTER * len(str(lab.path)))
        costs["a guest"] = (meter(DOWN), 2 * MOVE)
    assert {name: sent for name, (sent, most) in costs.items() if sent > most} == {}


def test_a_line_that_lost_bytes_is_drawn_anew(meter: Meter) -> None:
    shown = meter.serial.text()
    meter.serial.screen.reset()
    assert meter.serial.text().strip() == ""
    meter("\x0c")
    assert meter.serial.text().splitlines() == shown.splitlines()


# ── the paper ───────────────────────────────────────────────────────────────────────────────────────

STYLES = ["", "1", "7", "1;36", "31"]


def some(rng: random.Random) -> Row:
    row: Row = [BLANK] * COLUMNS
    for at in range(rng.randrange(COLUMNS)):
        char, codes = rng.choice("ab  "), rng.choice(STYLES)
        row[at] = BLANK if char == " " and codes != "7" else (char, codes)
    return row


def drawn(screen: pyte.Screen) -> list[list[tuple[str, bool, bool, str]]]:
    rows = [[screen.buffer[y][x] for x in range(COLUMNS)] for y in range(ROWS)]
    return [
        [(cell.data, cell.reverse, cell.bold and cell.data != " ", cell.fg if cell.data != " " else "") for cell in row]
        for row in rows
    ]


@pytest.mark.parametrize("seed", range(12))
def test_a_terminal_shows_what_it_would_show_had_all_been_sent(seed: int) -> None:
    rng = random.Random(seed)
    paper, screen = Paper(), pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    rows = [some(rng) for _ in range(ROWS)]
    for _ in range(12):
        by = rng.choice([0, 0, 1, 2, 5, -1, -3])
        top, bottom = sorted(rng.sample(range(ROWS + 1), 2))
        block = rows[top:bottom]
        if by:
            fresh = [some(rng) for _ in range(min(abs(by), len(block)))]
            block = block[by:] + fresh if by > 0 else fresh + block[:by]
        rows = [*rows[:top], *block[: bottom - top], *rows[bottom:]]
        for _ in range(rng.randrange(4)):
            rows[rng.randrange(ROWS)] = some(rng)
        stream.feed(paper.update(rows))
        whole = pyte.Screen(COLUMNS, ROWS)
        pyte.Stream(whole).feed(Paper().update(rows))
        assert drawn(screen) == drawn(whole)
        assert paper.update(rows) == ""


def test_a_cell_is_told_by_what_can_be_seen_of_it() -> None:
    strip = Strip([Segment("a ", Style(color="red")), Segment(" ", Style(reverse=True)), Segment("\u2500")])
    assert cells(strip, 6) == [("a", "31"), BLANK, (" ", "7"), ("?", ""), BLANK, BLANK]


def test_a_scrolled_text_costs_its_new_line_alone(tmp_path: Path) -> None:
    rng = random.Random(7)
    rows = [some(rng) for _ in range(ROWS)]
    paper = Paper()
    paper.update(rows)
    assert len(paper.update([*rows[1:], [("x", "")] * 10 + [BLANK] * 70])) < 40
