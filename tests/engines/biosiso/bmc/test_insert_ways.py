"""Boards that let nobody in by HTTP Basic, and boards whose slots have no actions."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from engines.biosiso.bmc.insert import Insert
from engines.biosiso.bmc.insert_plan import door, seek
from engines.biosiso.bmc.redfish import Client
from engines.biosiso.bmc.slot import eject
from engines.job.contract import Cancel, Finished, Plan, RunFailed
from engines.job.errors import Refused
from engines.job.params import Secret, convert
from tests.engines.biosiso.bmc.redfish_board import SESSIONS, SLOT, SYSTEM, Board, drive, job, said
from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD, make_certificate


def plan_of(board: Board, disc: Path, password: str = PASSWORD) -> Plan:
    values = {**job(disc, board.port).params, "password": Secret(password)}
    return Insert().plan(convert(Insert.params, values), Cancel())


@pytest.mark.parametrize("named", ["links", "service"])
def test_a_session_is_opened_where_nothing_else_lets_us_in_and_none_is_left(
    board: Board, disc: Path, named: str
) -> None:
    board.sessions = named
    plan = plan_of(board, disc)
    assert "by a session" in dict(plan.facts)["login"] and SESSIONS in plan.changes[0].command
    assert {path for _, path in board.changes()} <= {SESSIONS} | {
        path for method, path in board.changes() if method == "DELETE"
    }
    run, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert board.open == {} and board.slot["Image"] is None and board.boot["Enabled"] == "Disabled"
    for path in run.folder.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()


def test_a_session_that_the_bmc_forgets_is_opened_anew(board: Board, disc: Path) -> None:
    board.sessions, board.forgets = "links", 3
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert board.slot["Image"] is None


@pytest.mark.parametrize("named", ["relative", "body"])
def test_a_session_is_ended_however_it_is_named_and_where_the_plan_fails(board: Board, disc: Path, named: str) -> None:
    board.sessions, board.session_as = "links", named
    plan_of(board, disc)
    assert board.open == {} and ("POST", SESSIONS) in board.changes()
    with pytest.raises(Refused):
        plan_of(board, disc.with_name("none.iso"))
    assert board.open == {}


def test_a_resource_that_no_session_opens_takes_two_at_most_and_leaves_none(board: Board, disc: Path) -> None:
    board.sessions = "links"
    board.script[SLOT] = (401, said("not yours"))
    client = Client(door(convert(Insert.params, job(disc, board.port).params)), "ADMIN", Secret(PASSWORD))
    for _ in range(4):
        assert client.fetch(SLOT).status == 401 and client.fetch(SYSTEM).status == 200
    assert len(board.open) == 1 and board.changes().count(("POST", SESSIONS)) <= 2
    client.leave()
    assert board.open == {}


def test_sessions_that_are_not_the_bmcs_own_are_none(board: Board, disc: Path) -> None:
    board.script["/redfish/v1/"] = (200, board.tree("/redfish/v1/") | {"Links": {"Sessions": {"@odata.id": "/x"}}})
    with pytest.raises(Refused, match="user or the password"):
        plan_of(board, disc, "wrong")
    assert dict(plan_of(board, disc).facts)["slot"] == "CD1"


def test_a_bmc_that_offers_basic_and_refuses_it_is_entered_by_a_session(board: Board, disc: Path) -> None:
    board.sessions, board.offers = "links", 'Basic realm="BMC"'
    plan = plan_of(board, disc)
    assert "by a session" in dict(plan.facts)["login"] and board.open == {}
    asked = len(board.asked)
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert board.open == {} and board.slot["Image"] is None
    assert board.refused <= 2, "the plan of the run asks by Basic once; the run knows the way"
    assert len(board.asked) > asked


def test_a_wrong_password_is_sent_no_more_than_once_by_each_way(board: Board, disc: Path) -> None:
    board.sessions, board.offers = "links", 'Basic realm="BMC"'
    with pytest.raises(Refused, match="no such user"):
        plan_of(board, disc, "wrong")
    assert board.changes() == [("POST", SESSIONS)] and board.refused == 1
    board.sessions, board.refused = "", 0
    with pytest.raises(Refused, match="user or the password"):
        plan_of(board, disc, "wrong")
    assert board.changes() == [("POST", SESSIONS)] and board.refused == 1
    board.sessions, board.offers, board.refused = "links", "", 0
    with pytest.raises(Refused, match="no such user"):
        plan_of(board, disc, "wrong")
    assert board.changes() == [("POST", SESSIONS)] * 2 and board.refused == 0


def test_a_path_that_is_shut_where_basic_lets_in_elsewhere_opens_no_session(board: Board, disc: Path) -> None:
    board.script[SLOT], board.offers = (401, said("not yours")), "Basic"
    board.script["/redfish/v1/"] = (200, board.tree("/redfish/v1/") | {"Links": {"Sessions": {"@odata.id": SESSIONS}}})
    client = Client(door(convert(Insert.params, job(disc, board.port).params)), "ADMIN", Secret(PASSWORD))
    assert client.fetch(SYSTEM).status == 200 and client.fetch(SLOT).status == 401
    assert board.changes() == []


@pytest.mark.parametrize("refuses", ["", "Inserted"])
@pytest.mark.parametrize("allow", ["", "GET, HEAD, PATCH"])
def test_a_slot_without_actions_is_filled_and_emptied_by_its_image(
    board: Board, disc: Path, allow: str, refuses: str
) -> None:
    board.bare, board.allow, board.refuses = True, allow, refuses
    run, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert str(board.taken[0]["Image"]).endswith(".iso") and board.taken[-1]["Image"] is None
    assert ("Inserted" in board.taken[0]) == (not refuses) and board.slot["Inserted"] is False
    plan = run.plan()
    assert plan is not None and any(change.command.startswith(f"PATCH {SLOT} ") for change in plan.changes)


def test_a_form_that_is_taken_and_empties_nothing_is_followed_by_the_next(board: Board, disc: Path) -> None:
    board.bare, board.sticky = True, "null"
    params = convert(Insert.params, {**job(disc, board.port).params, "password": Secret(PASSWORD)})
    client = Client(door(params), params.user, params.password)
    order = seek(client, params, "http://10.0.0.1/x.iso").order
    board.slot = {"Inserted": True, "Image": "http://10.0.0.1/x.iso", "ConnectedVia": "URI"}
    client.patience = 0.6
    eject(client, order, time.sleep)
    assert board.slot["Image"] is None and [body["Image"] for body in board.taken] == [None, None, ""]


def test_tls_that_breaks_behind_its_handshake_is_no_old_tls(disc: Path, tmp_path: Path) -> None:
    pem, key, _ = make_certificate(tmp_path)
    with Board((pem, key)) as board:

        def broken(handler: Any) -> None:
            socket.socket.send(handler.connection, b"no record of TLS at all")

        board.script["/redfish/v1/"] = broken
        given = {**job(disc, board.port).params, "insecure_http": False, "ca_file": str(pem)}
        with pytest.raises(Refused, match="fails at TLS") as refused:
            Insert().plan(convert(Insert.params, given), Cancel())
    assert "old TLS" not in refused.value.what_helps


def test_a_slot_that_may_only_be_read_is_told_and_one_that_refuses_all_is_left(board: Board, disc: Path) -> None:
    board.bare, board.allow = True, "GET, HEAD"
    with pytest.raises(Refused, match=r"CD1 \(media CD; actions none\)"):
        plan_of(board, disc)
    board.allow, board.refuses = "", "Image"
    _, last = drive(job(disc, board.port))
    assert isinstance(last, RunFailed), last
    assert "Image is a read only property" in last.why and last.left_behind == () and board.taken == []


def test_slots_that_a_host_names_and_has_not_are_looked_for_at_its_manager(board: Board, disc: Path) -> None:
    home = f"{SYSTEM}/VirtualMedia"
    board.script[SYSTEM] = (200, board.tree(SYSTEM) | {"VirtualMedia": {"@odata.id": home}})
    assert dict(plan_of(board, disc).facts)["slot"] == "CD1"
    board.script["/redfish/v1/Managers/1/VirtualMedia"] = (403, said("a licence is required"))
    with pytest.raises(Refused, match=r"answered 404.*answered 403: a licence is required"):
        plan_of(board, disc)


NODES = "/redfish/v1/Systems"


def page(*ids: str, more: str = "", key: str = "Members@odata.nextLink", count: object = None) -> tuple[int, object]:
    tree: dict[str, object] = {"Members": [{"@odata.id": f"{NODES}/{one}"} for one in ids]}
    return 200, tree | ({key: more} if more else {}) | ({"Members@odata.count": count} if count is not None else {})


@pytest.mark.parametrize("key", ["Members@odata.nextLink", "@odata.nextLink"])
@pytest.mark.parametrize("whole", [False, True])
def test_hosts_on_a_further_page_are_hosts_and_none_is_picked_unasked(
    board: Board, disc: Path, whole: bool, key: str
) -> None:
    before = f"http://127.0.0.1:{board.port}" if whole else ""
    board.script[NODES] = page("1", more=f"{before}{NODES}?$skip=1", key=key, count=2)
    board.script[f"{NODES}?$skip=1"] = page("2", more=NODES, key=key, count=2)
    with pytest.raises(Refused, match="2 choices for system: 1, 2"):
        plan_of(board, disc)
    values = {**job(disc, board.port).params, "password": Secret(PASSWORD), "system": "1"}
    assert dict(Insert().plan(convert(Insert.params, values), Cancel()).facts)["slot"] == "CD1"


def test_a_host_that_a_bmc_counts_and_does_not_list_is_asked_for(board: Board, disc: Path) -> None:
    board.script[NODES] = page("1", count=4)
    with pytest.raises(Refused, match="counts more systems than it lists"):
        plan_of(board, disc)
    for count in (1, 0, "2", None):
        board.script[NODES] = page("1", count=count)
        assert dict(plan_of(board, disc).facts)["slot"] == "CD1"
    board.script[NODES] = page("1", more="https://elsewhere.example/redfish/v1/Systems")
    with pytest.raises(Refused, match="a next page that leaves /redfish"):
        plan_of(board, disc)


def test_slots_on_a_further_page_are_slots(board: Board, disc: Path) -> None:
    home = "/redfish/v1/Managers/1/VirtualMedia"
    board.script[home] = (200, {"Members": [], "Members@odata.nextLink": f"{home}?page=2"})
    board.script[f"{home}?page=2"] = (200, {"Members": [{"@odata.id": SLOT}]})
    assert dict(plan_of(board, disc).facts)["slot"] == "CD1"
