"""Every command, whatever of a process is missing, ends by its own exit code, in words fit for a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.crashcart import ROOT
from tests.cli.every_verb import MISSING

CODES = {0, 1, 2, 3, 4, 5, 6}
STREAMS = ("<&-", ">&-", "2>&-")
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\udc80-\udcff]")


def tried(place: Path, missing: Sequence[str]) -> None:
    """Try them all, and hold each to its promises."""
    argv = [sys.executable, "-m", "tests.cli.every_verb", str(place), *missing]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(told) > 60 * len(missing), ran.stderr
    for one in told:
        said = one["said"]
        assert one["code"] in CODES, one
        assert "fault of crashcart" not in said and "Traceback" not in said and "unexpected" not in said, one
        if one["words"][:2] != ["backup", "cat"]:
            assert not RAW.search(said), one
    assert any("owned" in one["said"] for one in told)  # the names that do harm were met


def test_a_stream_may_be_closed_for_every_verb_and_no_name_reaches_a_terminal_raw(tmp_path: Path) -> None:
    """In turn; each for each in the soak."""
    tried(tmp_path, ["|".join(STREAMS)])


@pytest.mark.soak
def test_whatever_is_missing(tmp_path: Path) -> None:
    tried(tmp_path, list(MISSING))
