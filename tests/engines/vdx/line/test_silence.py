"""A time-out counts silence: a slow line that goes on talking is waited for."""

from __future__ import annotations

import pytest

from engines.job.contract import Cancel
from engines.vdx.line import patterns
from engines.vdx.line.terminal import MOST, Silent, Terminal

TALKS = "for n in 1 2 3 4 5 6 7 8; do echo line $n; sleep 0.7; done; printf 'sw1# '; sleep 60"


def read(script: str, seconds: float) -> str:
    terminal = Terminal(["/bin/sh", "-c", script], None, patterns.load(), Cancel(), echo=False)
    try:
        return terminal.until(lambda text: text if text.endswith("sw1# ") else None, seconds)
    finally:
        terminal.close()


def test_a_line_that_goes_on_talking_is_waited_for_and_a_mute_one_is_not() -> None:
    assert read(TALKS, 5.0).count("line") == 8
    with pytest.raises(Silent) as silent:
        read("echo half; sleep 60", 3.0)
    assert "half" in silent.value.said


def test_a_line_that_talks_without_an_end_is_heard_no_further_than_any_answer_goes() -> None:
    with pytest.raises(Silent) as silent:
        read("exec yes 'is there an end?'", 3600)
    assert len(silent.value.said) < 2 * MOST
