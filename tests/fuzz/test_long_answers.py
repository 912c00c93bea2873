"""An answer that is long, and fits a wording almost, costs what its length costs and not the square of it."""

from __future__ import annotations

import pytest

from engines.vdx.line import patterns, screen
from engines.vdx.switch import config, parse
from tests.fuzz.mutation import with_an_end

LONG = 60_000  # characters of an answer, of which a switch may send 8 million
ENOUGH = 4.0  # s of processor; a tenth of a second is what it takes
WORDS = (
    "\n", " ", "\t", " \n", "\r", "\x08", "\x1b]", "\x1b[0", "a", "no ", "% a ", "login (", "user (", "password for ",
    "vcs id ", "vcs mode: a ", "uptime is ", "up time: up ", "(", "[y/n] ", "--more ", "press any key ",
    "2026/11/30-03:15:00, [A", "network operating system version: ", "Te 1/0/5 is up", "interface a\n x\n", '"\n',
)  # fmt: skip
BEFORE = ("vcs mode: a", "uptime is", "uptime is a", "login", "password", "% a", "--", 'banner "')
known = patterns.load()


def read_by_wordings(text: str) -> None:
    for name in patterns.Patterns.__struct_fields__:
        if name not in patterns.LITERAL:
            patterns.fits(getattr(known, name), text)
            patterns.value(getattr(known, name), text)


def read_by_label(text: str) -> None:
    shown = screen.plain(text)
    screen.without_noise(shown, known)
    screen.cut_more(text, known)
    for read in (parse.ports, parse.members, parse.neighbours, parse.islports, parse.isl_peers, parse.other_sessions):
        read(shown)
    parse.mode(shown, known)
    parse.uptime(shown, known)
    config.differences(config.blocks(config.tidy(shown)), config.blocks(shown))


@pytest.mark.parametrize("word", WORDS)
def test_what_a_switch_says_at_length_is_read_in_one_pass(word: str) -> None:
    filled = word * (LONG // len(word))
    for before in BEFORE if word in ("\n", " ") else ("",):
        with with_an_end(ENOUGH):
            read_by_wordings(f"{before}{filled}x")
    with with_an_end(ENOUGH):
        read_by_label(f"interface x\n{filled}x")


def test_a_configuration_of_many_lines_is_compared_in_one_pass() -> None:
    one, other = (config.blocks("\n".join(f"{sign}{number}" for number in range(100_000))) for sign in "ab")
    with with_an_end(ENOUGH):
        assert len(config.differences(one, other)) == 200_000
        assert len(config.lost(one, other, known)) == 100_000
        assert len(config.added(one, other, known)) == 100_000


def test_a_value_is_had_without_the_blanks_around_it() -> None:
    assert patterns.value(known.vcs_mode, "\n\n \t VCS Mode  :   Logical Chassis \t \r\n\n") == "Logical Chassis"
    assert patterns.value(known.vcs_mode, "VCS Mode: \n") == ""
    assert patterns.value(known.up_time, "system uptime is : up 3 days  \n") == "3 days"
