"""A run by SMB share whose process is killed: Samba goes with it, undo and resume go by journal and order alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engines.biosiso.bmc.redfish import until
from engines.job.contract import Finished, StepEnded, StepStarted
from tests.engines.biosiso.bmc.aten.conftest import Boards, acts, job
from tests.engines.biosiso.bmc.redfish_board import drive, events
from tests.engines.biosiso.bmc.test_insert_killed import killed

FORM = {"host": "10.0.0.9", "path": "\\iso\\old.iso", "user": "bob", "pwd": "hunter2-and-more"}


def sambas(share: str) -> list[str]:
    """Processes whose words name that share."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [str(path)] if share.encode() in path.read_bytes() else []
        except OSError:
            continue
    return found


@pytest.fixture
def marks(boards: Boards, disc: Path) -> dict[str, int]:
    board = boards()
    run, _ = drive(job(disc, board))
    seen = events(run)
    return {
        "mounted": next(at for at, e in enumerate(seen) if isinstance(e, StepEnded) and e.step == "insert"),
        "about to mount": next(at for at, e in enumerate(seen) if isinstance(e, StepStarted) and e.step == "insert"),
    }


@pytest.mark.parametrize("mode", ["undo", "resume"])
def test_a_killed_run_leaves_no_share_and_is_taken_up_or_back(
    boards: Boards, disc: Path, marks: dict[str, int], mode: str
) -> None:
    for where, status in (("about to mount", 255), ("mounted", 4)):
        board = boards()
        board.form = dict(FORM)
        run = killed(job(disc, board), marks[where])
        assert board.status == status
        plan = run.plan()
        assert plan is not None
        share = plan.detail["offer"]["url"].split("/")[3]
        assert not until(lambda name=share: sambas(name), lambda left: not left, time.sleep, 60.0)
        _, last = drive(run.job(), mode=mode, earlier=run.id)
        assert isinstance(last, Finished), last
        assert board.status == 255 and board.sessions <= 1
        assert board.form in (FORM, {**FORM, "pwd": ""})
        if mode == "resume":
            assert acts(board).count("mount") == 1 and board.read == disc.read_bytes()
