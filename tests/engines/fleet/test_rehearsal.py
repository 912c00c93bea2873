"""A night of the rehearsal fleet: every guest is backed up once, though a host's ssh is killed under its first run."""

from __future__ import annotations

from pathlib import Path

import engines
from engines.fleet.ledger.ledger import Ledger
from engines.rehearsal.stage import stage


def test_a_night_ends_well_with_a_host_that_goes_dark(tmp_path: Path) -> None:
    with stage("fleet", tmp_path) as target:
        ended = engines.run("fleet", given=target.job.params)
        assert ended.ok and not ended.warnings, ended
        stand = engines.look("fleet", "status", fleet=target.job.params["fleet"], known=True)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            backups = ledger.jobs("kind = 'backup'")
    assert stand.counts == {"good": 6, "skipped": 1}
    assert [(job.state, job.tries) for job in backups] == [("done", 0)] * 6
    assert "night.svg" in Path(ended.report).read_text()
    runs = [
        len(list((tmp_path / host / "state" / "crashcart" / "runs").glob("*/job.yaml")))
        for host in ("hv1", "hv2", "hv3")
    ]
    assert runs == [3, 2, 1]
