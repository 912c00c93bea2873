"""What DESIGN promises where the disk of the runs' state fills up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engines.job.contract import (
    RunFailed,
    StepStarted,
)
from engines.job.journal import Entry
from tests.contract.performing import each, events_of, over, performed
from tests.contract.target import Case, snapshot


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A state disk of 4 MiB."""
    import subprocess

    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "crashcart-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # a server that just ended may still have its log open


@each
def test_a_state_disk_that_fills_up_does_not_stop_the_work_half_way(
    case: Case, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk))

    def fill(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and not (small_disk / "filler").exists():
            with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while True:
                    filler.write(b"x" * 4096)

    with case.staged(tmp_path / "stage") as target:
        before = target.state()
        run, last = performed(case, target, fill)
        assert (small_disk / "filler").exists()
        if isinstance(last, RunFailed):  # what its undo needs must lie there: then nothing was touched
            assert last.what_helps
            assert case.kept(before, target.state())
        else:
            assert over(case, last), last
        assert type(events_of(run)[-1]) is type(last)


@each
def test_a_full_state_disk_is_refused_before_anything_is_touched(
    case: Case, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk))
    with case.staged(tmp_path / "stage") as target:
        state, before = target.state(), snapshot(tmp_path / "stage")
        (small_disk / "filler").write_bytes(b"x" * (4 * 1024 * 1024 - 256 * 1024))
        _, last = performed(case, target)
        assert isinstance(last, RunFailed)
        assert last.refused
        assert last.what_helps
        assert snapshot(tmp_path / "stage") == before
        assert target.state() == state
