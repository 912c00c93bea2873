"""What is held is left alone by rounds, said each morning with its reason, and seen to again once it is released."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

import engines
from engines.fleet.commands import status
from engines.fleet.commands.check import Finding
from engines.fleet.commands.hold import HoldIt, HoldParams
from engines.fleet.commands.params import FleetParams
from engines.fleet.commands.plan import table
from engines.fleet.commands.serve import LONGEST, Serving
from engines.fleet.config.load import load
from engines.fleet.ledger.holds import Hold, holds, over, put
from engines.fleet.ledger.ledger import Ledger, place
from engines.fleet.planning import agreed
from engines.fleet.planning.assigning import assign
from engines.fleet.planning.upkeep import upkeep
from engines.fleet.round import today
from engines.fleet.round.following import Order
from engines.fleet.round.hands import Hands, Hear
from engines.fleet.round.round import Round
from engines.job.contract import Cancel
from engines.job.errors import Failed, Refused
from tests.engines.backup import lab
from tests.engines.backup.guests.host import domain, node, raw, uuid

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty one, to be copied."""
    return Path(lab.init(tmp_path_factory.mktemp("empty") / "repo"))


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Two guests on this host, which is called as one of them is."""
    disk = lab.disk(tmp_path / "a.img", {0: 1}, lab.MIB)
    uri = node(tmp_path / "host.xml", domain(1, "web1", raw(disk)), domain(2, "web2", raw(disk)))
    path = tmp_path / "fleet.yaml"
    path.write_text(
        f"hosts: {{web2: {{ssh: local, connect: '{uri}'}}}}\n"
        f"repositories: {{near: {{url: '{lab.init(tmp_path / 'repo')}'}}}}\n"
        "policies: {gold: {to: [near], keep: {daily: 3}, prove: day}}\nguests: [{match: all, policy: gold}]\n"
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
    assert cared(fleet) == ({uuid(2)}, [["web2"]])
    assert engines.run("fleet-release", fleet=str(fleet), name="web1").ok
    assert planned(fleet) == {"web1", "web2"}
    assert cared(fleet) == ({uuid(1), uuid(2)}, [["web1", "web2"]])


def test_the_guests_of_a_host_that_is_held_are_neither_proven_nor_pruned(fleet: Path) -> None:
    assert engines.run("fleet-hold", fleet=str(fleet), name="host:web2", why="memory is swapped").ok
    assert planned(fleet) == set() and cared(fleet) == (set(), [])


def test_what_waits_in_a_round_is_given_up_when_it_is_held(fleet: Path) -> None:
    of = load(fleet)
    with Ledger(fleet.parent / "ledger.sqlite") as ledger:
        found = today.look(of, ledger, NOW)
        round_ = Round(of, ledger, clock=lambda: NOW, hands=lambda _: Nobody())
        round_.add(*today.due(of, found, NOW, at_once=True))
        hold = Hold(what="host", id="web2", name="web2", why="memory is swapped", since=NOW)
        put(ledger, [hold], NOW)
        over_ = {(one.job.vm, one.job.state, one.job.why) for one in round_.work()}
        assert over_ == {("web1", "missed", hold.words), ("web2", "missed", hold.words)}
        assert {job.state for job in ledger.jobs()} == {"missed"}


def cared(path: Path) -> tuple[set[str], list[list[str]]]:
    """Whom upkeep proves, and whose points it prunes."""
    one = load(path)
    with Ledger(path.parent / "ledger.sqlite") as ledger:
        found = upkeep(one, assign(one, [each.guest for each in ledger.guests()]), ledger, "x", NOW)
    proven = {each.subject for each in found if each.kind == "prove"}
    return proven, [each.job.params["vms"] for each in found if each.kind == "prune"]


class Nobody(Hands):
    """To whom nothing may be given."""

    def follow(self, order: Order, needs: Iterable[str], urgency: float, hear: Hear) -> None:
        raise AssertionError(f"{order.key} was begun")


def test_a_hold_is_taken_back_by_undo(fleet: Path) -> None:
    ended = engines.run("fleet-hold", fleet=str(fleet), name="repository:near", why="it moves")
    assert planned(fleet) == set()
    assert engines.undo(ended.run).ok
    assert planned(fleet) == {"web1", "web2"}


def test_undo_leaves_what_others_held_since(fleet: Path) -> None:
    def hold(name: str, why: str) -> str:
        return engines.run("fleet-hold", fleet=str(fleet), name=name, why=why).run

    def held() -> list[tuple[str, str]]:
        with Ledger(fleet.parent / "ledger.sqlite") as ledger:
            return [(each.name, each.why) for each in holds(ledger)]

    first, _ = hold("web1", "mine"), hold("repository:near", "another's")
    assert engines.undo(first).ok and held() == [("near", "another's")]
    second, _ = hold("web1", "mine"), hold("web1", "another's, too")
    assert engines.undo(second).ok and held() == [("near", "another's"), ("web1", "another's, too")]
    released = engines.run("fleet-release", fleet=str(fleet), name="web1").run
    hold("host:web2", "a third's")
    assert engines.undo(released).ok
    assert held() == [("near", "another's"), ("web1", "another's, too"), ("web2", "a third's")]


@pytest.fixture
def two(fleet: Path) -> tuple[Path, Path]:
    """Two controllers with a ledger each, that share a lease."""
    text = fleet.read_text() + "lease: near\n"
    other = fleet.with_name("other.yaml")
    fleet.write_text(text)
    other.write_text(text.replace("ledger.sqlite", "other.sqlite"))
    assert planned(other) == {"web1", "web2"}
    return fleet, other


def test_controllers_that_share_a_lease_know_what_any_of_them_holds(two: tuple[Path, Path]) -> None:
    first, other = two
    assert engines.run("fleet-hold", fleet=str(first), name="web1", why="mine").ok
    assert planned(other) == {"web2"}
    ran = engines.run("fleet-hold", fleet=str(other), name="host:web2", why="another's").run
    assert planned(first) == set()
    assert engines.run("fleet-release", fleet=str(other), name="web1").ok and planned(first) == set()
    assert engines.undo(ran).ok and planned(first) == planned(other) == {"web1", "web2"}
    stored = [path.name for path in (first.parent / "repo" / "leases").iterdir()]
    assert stored == ["holds.000000000004.json"]


def a_hold(name: str) -> Hold:
    return Hold(what="host", id=name, name=name, why="x", since=NOW)


def more(*names: str) -> agreed.Change:
    """A change that holds these, too."""
    return lambda held: [*held, *map(a_hold, names)]


@pytest.mark.parametrize("quicker", [["b"], ["b", "c"], ["b", "c", "d"]])
def test_of_several_changes_at_once_none_is_lost(quicker: list[str], shared: tuple[Path, Path]) -> None:
    """Of two that are quicker, the second removes the file of the first, so that its number is free again."""
    first, other = (load(path) for path in shared)
    coming = iter(quicker)
    with Ledger(place(first)) as mine, Ledger(place(other)) as theirs:

        def slowly(held: list[Hold]) -> list[Hold]:
            for name in coming:
                agreed.change(other, theirs, more(name), NOW)
            return more("a")(held)

        told = agreed.change(first, mine, slowly, NOW)
        assert [each.id for each in told] == [*quicker, "a"]
        assert agreed.known(other, theirs, NOW).held == told == holds(mine) == holds(theirs)
    assert len([*(shared[0].parent / "repo" / "leases").iterdir()]) == 1


@pytest.fixture
def shared(tmp_path: Path, repository: Path) -> tuple[Path, Path]:
    """Two controllers that share a lease, of a host without guests."""
    shutil.copytree(repository, tmp_path / "repo")
    found = (tmp_path / "one.yaml", tmp_path / "other.yaml")
    for path in found:
        path.write_text(
            f"hosts: {{hv1: {{ssh: local, connect: '{node(tmp_path / 'host.xml')}'}}}}\n"
            f"repositories: {{near: {{url: '{tmp_path / 'repo'}'}}}}\n"
            "policies: {gold: {to: [near], keep: {daily: 3}}}\nguests: [{match: all, policy: gold}]\n"
            f"ledger: {path.with_suffix('.sqlite')}\nlease: near\n"
        )
    return found


@pytest.fixture
def apart(shared: tuple[Path, Path]) -> tuple[Path, Path]:
    """Both held something while they shared nothing."""
    for path, name in zip(shared, ("a", "b"), strict=True):
        with Ledger(place(load(path))) as ledger:
            put(ledger, [a_hold(name)], NOW)
    return shared


def known(path: Path) -> set[str]:
    one = load(path)
    looked = {each.id for each in agreed.looked_up(one)}
    with Ledger(place(one)) as ledger:
        found = agreed.known(one, ledger, NOW)
        assert not found.trouble and found.held == holds(ledger)
    assert {each.id for each in found.held} == looked
    return looked


def changed(path: Path, how: agreed.Change) -> None:
    one = load(path)
    with Ledger(place(one)) as ledger:
        agreed.change(one, ledger, how, NOW)


def test_what_was_held_before_it_was_shared_is_joined_and_released_once(apart: tuple[Path, Path]) -> None:
    first, other = apart
    changed(first, more("c"))
    assert known(other) == known(first) == {"a", "b", "c"}
    changed(first, lambda held: [each for each in held if each.id != "b"])
    assert known(other) == known(first) == known(other) == {"a", "c"}


def test_a_change_where_nobody_looked_before_joins_what_both_held(apart: tuple[Path, Path]) -> None:
    first, other = apart
    changed(first, more("c"))
    changed(other, lambda held: [each for each in held if each.id != "a"])
    assert known(first) == known(other) == {"b", "c"}


def test_what_was_changed_while_it_was_not_shared_is_told_again(shared: tuple[Path, Path]) -> None:
    first, other = shared
    changed(first, more("a"))
    assert known(other) == {"a"}
    text = other.read_text()
    other.write_text(text.replace("lease: near\n", ""))
    changed(other, more("b"))
    other.write_text(text)
    assert known(other) == known(first) == {"a", "b"}


def test_a_file_that_was_damaged_and_removed_costs_no_hold_that_anybody_knows(shared: tuple[Path, Path]) -> None:
    first, other = shared
    changed(first, more("a"))
    changed(other, more("b"))
    (file,) = (first.parent / "repo" / "leases").iterdir()
    file.unlink()
    assert known(first) == {"a"}  # it was not told of b yet
    assert known(other) == known(first) == {"a", "b"}


def test_holds_that_cannot_be_read_are_told_by_check_status_and_round(shared: tuple[Path, Path]) -> None:
    first, _ = shared
    changed(first, more("a"))
    assert agreed.try_out(load(first)) == 1
    (file,) = (first.parent / "repo" / "leases").iterdir()  # and the trial left nothing
    file.write_text("[{]")
    found: list[Finding] = engines.look("fleet", "check", fleet=str(first))
    (why,) = (each.why for each in found if each.what == "lease and holds in near")
    assert "is not what crashcart wrote" in why
    words = "what other controllers hold is not known"
    standing = engines.look("fleet", "status", fleet=str(first), known=True)
    assert f"! {words}" in status.table(standing) and status.code(standing) == status.TROUBLE
    assert standing.held[0] == a_hold("a").words and standing.held[1:] == (standing.unsure,)
    ran = engines.run("fleet", fleet=str(first), only="nobody")
    assert any(text.startswith(words) for text in ran.warnings)


def test_nothing_is_begun_while_nobody_can_read_what_is_held(two: tuple[Path, Path]) -> None:
    """Another controller may hold any of it since this one looked last."""
    first, other = two
    assert engines.run("fleet-hold", fleet=str(first), name="web1", why="mine").ok
    (file,) = (first.parent / "repo" / "leases").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    ran = engines.run("fleet", fleet=str(other), only="web*", now=True)
    assert ran.status == "warned" and ran.result.jobs == {}, ran
    assert any("nothing is begun until it can be read" in text for text in ran.warnings)
    file.write_bytes(whole)
    ran = engines.run("fleet", fleet=str(other), only="web*", now=True)
    assert ran.result.jobs == {"done": 1} and not any("nothing is begun" in text for text in ran.warnings), ran
    with lab.opened(str(first.parent / "repo")) as repository:
        assert {name.vm for name in repository.names()} == {"web2"}


def test_a_store_of_holds_that_is_silent_is_told(shared: tuple[Path, Path]) -> None:
    first = load(shared[0])
    (shared[0].parent / "repo").rename(shared[0].parent / "aside")
    with Ledger(place(first)) as ledger:
        put(ledger, [a_hold("a")], NOW)
        found = agreed.known(first, ledger, NOW)
    assert found.held == [a_hold("a")] and "repo" in found.trouble
    with pytest.raises(Refused):
        agreed.try_out(first)


def test_a_store_that_is_silent_leaves_what_was_known_and_takes_no_hold(two: tuple[Path, Path]) -> None:
    first, other = two
    engines.run("fleet-hold", fleet=str(first), name="web1", why="mine")
    assert planned(other) == {"web2"}
    gone = (other.parent / "repo").rename(other.parent / "aside")
    assert planned(other) == {"web2"}
    with pytest.raises(Refused, match="repo"):
        engines.plan("fleet-hold", fleet=str(other), name="host:web2", why="x")
    gone.rename(other.parent / "repo")
    file = next((other.parent / "repo" / "leases").iterdir())
    file.write_text("[{]")
    assert planned(other) == {"web2"}
    with pytest.raises(Failed, match="is not what crashcart wrote"):
        engines.plan("fleet-hold", fleet=str(other), name="host:web2", why="x")


@pytest.mark.parametrize(
    ("name", "why", "says"),
    [("web2", "x", "may be host web2, guest"), ("nobody", "x", "nothing is called nobody"), ("web1", " ", "a reason")],
)
def test_what_is_meant_must_be_clear(name: str, why: str, says: str, fleet: Path) -> None:
    with pytest.raises(Refused, match=says):
        HoldIt().plan(HoldParams(fleet=str(fleet), name=name, why=why), Cancel())
    with pytest.raises(Refused, match="is not held"):
        engines.plan("fleet-release", fleet=str(fleet), name="web1")


def test_a_hold_is_over_what_it_names_and_nothing_that_is_called_alike() -> None:
    hold = Hold(what="host", id="hv1", name="hv1", why="memory is swapped", since=NOW)
    assert over([hold], uuid="u", host="hv1", repository="near") == hold
    assert over([hold], uuid="hv1", host="hv2", repository="hv1") is None
    assert hold.words == "host hv1 is held since 2027-01-15 08:00 UTC: memory is swapped"


def test_serve_makes_one_round_that_begins_nothing_where_what_is_held_is_not_known(fleet: Path) -> None:
    text = fleet.read_text().replace("{to: [near],", "{to: [near], window: '00:00-00:00',")
    fleet.write_text(f"{text}lease: near\n")
    damaged = fleet.parent / "repo" / agreed.FOLDER / "holds.000000000001.json"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_text("{")
    serving = Serving(FleetParams(fleet=str(fleet)))

    def looked() -> tuple[list[str], float]:
        look = serving.look()
        said: list[str] = []
        try:
            while True:
                said.append(str(next(look)))
        except StopIteration as end:
            return said, end.value

    whole = fleet.read_text()
    begin, end = (time.strftime("%H:%M", time.gmtime(time.time() + hours * 3600)) for hours in (6, 7))
    fleet.write_text(whole.replace("00:00-00:00", f"{begin}-{end}"))
    said, wait = looked()
    assert said == [] and wait <= LONGEST  # nothing is due, so nobody was told
    fleet.write_text(whole)
    (line,), wait = looked()
    assert "warned: 0 of 0 jobs" in line and wait == LONGEST
    assert looked() == ([], LONGEST)
    with Ledger(fleet.parent / "ledger.sqlite") as ledger:
        assert ledger.jobs() == []
