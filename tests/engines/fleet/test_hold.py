"""What is held is left alone by rounds, said each morning with its reason, and seen to again once it is released."""

from __future__ import annotations

from pathlib import Path

import pytest

import engines
from engines.fleet.commands.hold import HoldIt, HoldParams
from engines.fleet.commands.plan import table
from engines.fleet.config.load import load
from engines.fleet.ledger.holds import Hold, over
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.planning.assigning import assign
from engines.fleet.planning.upkeep import upkeep
from engines.job.contract import Cancel
from engines.job.errors import Refused
from tests.engines.backup import lab
from tests.engines.backup.guests.host import domain, node, raw, uuid

NOW = 1_800_000_000.0


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Two guests on this host, which is called as one of them is."""
    disk = lab.disk(tmp_path / "a.img", {0: 1}, lab.MIB)
    uri = node(tmp_path / "host.xml", domain(1, "web1", raw(disk)), domain(2, "web2", raw(disk)))
    path = tmp_path / "fleet.yaml"
    path.write_text(
        f"hosts: {{web2: {{ssh: local, connect: '{uri}'}}}}\n"
        f"repositories: {{near: {{url: '{lab.init(tmp_path / 'repo')}'}}}}\n"
        "policies: {gold: {to: [near], keep: {daily: 3}, prove: month}}\nguests: [{match: all, policy: gold}]\n"
        f"ledger: {tmp_path}/ledger.sqlite\n"
    )
    assert {one.guest.name for one in engines.look("fleet", "guests", fleet=str(path)).guests} == {"web1", "web2"}
    return path


def planned(path: Path) -> set[str]:
    return {row.name for row in engines.look("fleet", "plan", fleet=str(path)).rows}


def test_a_guest_that_is_held_is_in_no_plan_and_told_until_it_is_released(fleet: Path) -> None:
    ended = engines.run("fleet-hold", fleet=str(fleet), name="web1", why="its disk is being swapped")
    assert ended.ok and "guest web1 is held since" in ended.summary
    assert planned(fleet) == {"web2"}
    plan = engines.look("fleet", "plan", fleet=str(fleet))
    assert "! guest web1 is held since" in table(plan)
    stand = engines.look("fleet", "status", fleet=str(fleet), known=True)
    assert "its disk is being swapped" in {row.name: row.why for row in stand.rows}["web1"]
    assert len(stand.held) == 1
    with Ledger(fleet.parent / "ledger.sqlite") as ledger:
        one = load(fleet)
        found = upkeep(one, assign(one, [each.guest for each in ledger.guests()]), ledger, "x", NOW)
    assert {each.subject for each in found if each.kind == "prove"} <= {uuid(2)}
    assert [each.job.params["vms"] for each in found if each.kind == "prune"] == [["web2"]]
    assert engines.run("fleet-release", fleet=str(fleet), name="web1").ok
    assert planned(fleet) == {"web1", "web2"}


def test_a_hold_is_taken_back_by_undo(fleet: Path) -> None:
    ended = engines.run("fleet-hold", fleet=str(fleet), name="repository:near", why="it moves")
    assert planned(fleet) == set()
    assert engines.undo(ended.run).ok
    assert planned(fleet) == {"web1", "web2"}


@pytest.mark.parametrize(
    ("name", "why", "says"),
    [("web2", "x", "may be host web2, guest"), ("nobody", "x", "nothing is called nobody"), ("web1", " ", "a reason")],
)
def test_what_is_meant_must_be_clear(name: str, why: str, says: str, fleet: Path) -> None:
    with pytest.raises(Refused, match=says):
        HoldIt().plan(HoldParams(fleet=str(fleet), name=name, why=why), Cancel())
    with pytest.raises(Refused, match="is not held"):
        engines.plan("fleet-release", fleet=str(fleet), name="web1")


def test_what_waits_is_given_up_at_once_when_it_is_held() -> None:
    hold = Hold(what="host", id="hv1", name="hv1", why="memory is swapped", since=NOW)
    assert over([hold], uuid="u", host="hv1", repository="near") == hold
    assert over([hold], uuid="hv1", host="hv2", repository="hv1") is None
    assert hold.words == "host hv1 is held since 2027-01-15 08:00 UTC: memory is swapped"
