"""The newest run is the one that began last, also where the clock was ahead for a while."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from engines.job import birth, runs, tidy
from engines.job.jobfile import Job

AHEAD = 40 * 86400 * 10**9  # ns
JOB = Job(task="copier", params={"source": "a", "output": "b"})


def began_ahead(run: runs.Run) -> None:
    """As if the clock had been ahead when it began."""
    info = run.info()
    later = info.created_ns + AHEAD
    run.keep("run.json", msgspec.json.encode(msgspec.structs.replace(info, created=later / 1e9, created_ns=later)))
    (run.folder.parent.parent / birth.NEWEST).write_bytes(b"%020d" % later)


@pytest.mark.parametrize("noted", [True, False])
def test_the_last_is_the_one_that_began_last_whatever_the_clock_said(tmp_path: Path, *, noted: bool) -> None:
    wrong = runs.create(JOB, str(tmp_path / "a"))
    began_ahead(wrong)
    if not noted:
        (wrong.folder.parent.parent / birth.NEWEST).unlink()
    made = [runs.create(JOB, str(tmp_path / "b")) for _ in range(2)]
    assert runs.find("last").id == made[1].id
    assert [run.id for run in runs.every()] == [made[1].id, made[0].id, wrong.id]
    assert abs(made[1].info().created - time.time()) < 3600, "what is shown is the time by the clock"


def test_a_torn_note_is_found_anew(tmp_path: Path) -> None:
    first = runs.create(JOB, str(tmp_path / "a"))
    began_ahead(first)
    for torn in (b"", b"12\0\0", b"x" * 40):
        (first.folder.parent.parent / birth.NEWEST).write_bytes(torn)
        assert runs.create(JOB, str(tmp_path / "b")).id == runs.find("last").id


def test_age_goes_by_the_clock(tmp_path: Path) -> None:
    began_ahead(runs.create(JOB, str(tmp_path / "a")))
    second = runs.create(JOB, str(tmp_path / "b"))
    old = msgspec.structs.replace(second.info(), created=second.info().created - 10 * 86400)
    second.keep("run.json", msgspec.json.encode(old))
    assert tidy.prune(keep=0, days=5).kept["young"] == 1
