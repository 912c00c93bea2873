"""A proof before its boot: the point is on a scratch disk with its files, and a stop leaves nothing of it behind.

The boot itself is held to its promise beside `backup boot`, which shares its guest.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from engines.job import journal
from engines.job.contract import Log, RunStopped, StepEnded, StepStarted, Warned
from engines.job.errors import Refused
from engines.job.journal import Entry
from engines.job.perform import Stop
from tests.engines.backup import lab


def stopped(repo: str, point: str, scratch: Path, more: Sequence[str] = ()) -> list[object]:
    """The events of a proof that is stopped as its boot begins; `scratch` is seen to hold its disks then."""
    stop = Stop()

    def listen(entry: Entry) -> None:
        if entry.event == StepStarted(step="boot"):
            assert [path.stat().st_size for path in sorted(scratch.glob("*/disk*"))] == [
                4 << 20,
                *[lab.MIB] * len(more),
            ]
            stop.ask()

    run, last = lab.perform_job(
        "backup-prove", repo=repo, point=point, more=list(more), scratch=str(scratch), stop=stop, listen=listen
    )
    assert isinstance(last, RunStopped), last
    assert list(scratch.iterdir()) == []
    return [entry.event for entry in journal.entries(run.journal)]


def test_a_proof_that_is_stopped_has_restored_and_listed_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "tree/etc").mkdir(parents=True)
    (tmp_path / "tree/etc/hosts").write_text("127.0.0.1 localhost\n")
    image, scratch = tmp_path / "image", tmp_path / "scratch"
    words = ["mkfs.ext4", "-q", "-d", str(tmp_path / "tree"), str(image), "4M"]
    subprocess.run(words, check=True, capture_output=True)
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, image)
    scratch.mkdir()
    data = lab.backup(repo, lab.disk(tmp_path / "data", {0: 1}, lab.MIB), vm="data")
    events = stopped(repo, point, scratch, [data])
    assert [event.step for event in events if isinstance(event, StepEnded)] == ["write", "flush", "list"]
    moments = {each.partition("@")[2] for each in (point, data)}
    assert sum(isinstance(event, Warned) for event in events) == (len(moments) > 1)
    assert any(isinstance(event, Log) and "at its root: etc, lost+found" in event.text for event in events)


def test_a_proof_without_room_for_it_is_refused(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, lab.disk(tmp_path / "a", {0: 1}, lab.MIB))
    with pytest.raises(Refused, match="named twice"):
        lab.perform_job("backup-prove", repo=repo, point=point, more=[point])
    with pytest.raises(Refused, match="none is no folder"):
        lab.perform_job("backup-prove", repo=repo, point=point, scratch=str(tmp_path / "none"))
