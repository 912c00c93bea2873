"""A round backs up every guest whose turn it is over real ssh, once, whatever is killed meanwhile."""

from __future__ import annotations

from pathlib import Path

import engines
from tests.engines.fleet.lab import fleet


def test_a_round_backs_up_every_guest_and_cares_for_the_repository(tmp_path: Path) -> None:
    with fleet(tmp_path, [[(1, "web1"), (2, "web2")], [(3, "db1")]]) as lab:
        ended = engines.run("fleet", fleet=str(lab.path))
        assert ended.ok, ended
        assert ended.warnings == ()
        assert ended.result.jobs == {"done": 6}, ended.result  # three backups, prune, gc, verify
        assert [point.split("@")[0] for point in lab.points()] == ["db1/vda", "web1/vda", "web2/vda"]
        stand = engines.look("fleet", "status", fleet=str(lab.path), known=True)
        assert [(row.name, row.light) for row in stand.rows] == [("db1", "good"), ("web1", "good"), ("web2", "good")]
        assert "<svg" in next((lab.path.parent).rglob("nights/*.html")).read_text()
        again = engines.run("fleet", fleet=str(lab.path))
        assert again.ok and again.result.jobs.get("done", 0) <= 1, again.result
        assert len(lab.points()) == 3


def test_status_is_not_green_where_the_newest_point_is_not_all_there(tmp_path: Path) -> None:
    with fleet(tmp_path, [[(1, "web1")]]) as lab:
        assert engines.run("fleet", fleet=str(lab.path), now=True, only="web1").ok
        assert engines.look("fleet", "status", fleet=str(lab.path)).counts == {"good": 1}
        for pack in (Path(lab.repo) / "packs").glob("*.pack"):
            pack.unlink()
        stand = engines.look("fleet", "status", fleet=str(lab.path))
        assert stand.counts == {"failed": 1} and stand.rows[0].good is None, stand
        night = engines.look("fleet", "report", fleet=str(lab.path)).night
        assert [job.vm for job in night.jobs] == ["web1"]
