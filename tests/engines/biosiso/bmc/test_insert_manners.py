"""Boards with manners of their own: tasks, properties they ask for, refused boots, slots that stay full."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engines.biosiso.bmc.insert_plan import InsertParams, door, seek
from engines.biosiso.bmc.redfish import Client
from engines.biosiso.bmc.slot import insert, put_back
from engines.job.contract import Finished, Log, RunFailed, Warned
from engines.job.params import Secret, convert
from tests.engines.biosiso.bmc.redfish_board import TASK, Board, drive, events, job
from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD


def test_the_task_of_a_202_is_followed_to_its_end(board: Board, disc: Path) -> None:
    board.task = ["New", "Running", "Running", "Completed"]
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert board.asked.count(("GET", TASK)) == 4


@pytest.mark.parametrize("named", ["location", "relative", "monitor"])
def test_a_task_is_found_however_it_is_named(board: Board, disc: Path, named: str) -> None:
    """By a whole URL with another host, a relative one, and a monitor that is gone once the task is done."""
    board.task, board.task_as, board.busy = ["Running", "Running", "Completed"], named, 1
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert board.asked.count(("GET", TASK)) == 4


def test_a_task_that_fails_is_told_in_the_bmcs_words(board: Board, disc: Path) -> None:
    board.task = ["Running", "Exception"]
    _, last = drive(job(disc, board.port))
    assert isinstance(last, RunFailed), last
    assert "Exception" in last.why and "image not reachable" in last.why and last.left_behind == ()


@pytest.mark.parametrize(
    "demands",
    [("TransferProtocolType",), ("Inserted", "WriteProtected"), ("TransferMethod", "TransferProtocolType")],
)
def test_properties_that_are_asked_for_are_sent_and_no_others(
    board: Board, disc: Path, demands: tuple[str, ...]
) -> None:
    board.demands = demands
    run, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert set(board.taken[0]) == {"Image"} and set(board.taken[-1]) == {"Image", *demands}
    assert any("InsertMedia asked for more" in event.text for event in events(run) if isinstance(event, Log))


@pytest.mark.parametrize("words", ["ids", "one", "bare", "link", "nulls", "string"])
def test_a_demand_in_message_ids_alone_or_in_a_form_of_its_own_is_understood(
    board: Board, disc: Path, words: str
) -> None:
    board.demands, board.words_as = ("TransferMethod",), words
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert set(board.taken[-1]) == {"Image", "TransferMethod"}


def test_of_a_vague_demand_what_is_refused_by_name_is_left_out_again(board: Board, disc: Path) -> None:
    board.demands, board.vague = ("TransferProtocolType",), True
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert len(board.taken[1]) > 2 and set(board.taken[-1]) == {"Image", "TransferProtocolType"}


@pytest.mark.parametrize("place", ["body", "nowhere"])
def test_an_etag_that_stands_in_the_body_or_nowhere_will_do(board: Board, disc: Path, place: str) -> None:
    board.etag_in = place
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert board.boot["Enabled"] == "Disabled"


def test_an_etag_that_is_asked_for_by_a_400_is_given(board: Board, disc: Path) -> None:
    board.etag_by_400 = True
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert board.boot["Enabled"] == "Disabled"


def test_a_refused_boot_override_does_not_end_the_run(board: Board, disc: Path) -> None:
    board.refuses_boot = "BootSourceOverrideTarget is read only"
    run, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    warned = [event.text for event in events(run) if isinstance(event, Warned)]
    assert any("is read only" in text and "boot menu (F11)" in text for text in warned)


def test_a_board_that_offers_no_cd_boot_is_warned_of_in_the_plan(board: Board, disc: Path) -> None:
    board.targets = ["None", "Pxe", "Hdd"]
    run, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    plan = run.plan()
    assert plan is not None and any("boot menu (F11)" in text for text in plan.warnings)
    assert not [step.id for step in plan.steps if step.id.startswith("boot")]
    assert not [change for change in board.changes() if change[0] == "PATCH"]


def test_what_stays_in_the_slot_is_said(board: Board, disc: Path) -> None:
    board.sticky = "entry"
    _, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    assert "leftover entry" in last.summary


def test_a_disc_that_stays_in_the_slot_is_left_behind_by_its_name(board: Board, disc: Path) -> None:
    what = job(disc, board.port)
    client = Client(door(convert(InsertParams, what.params)), "ADMIN", Secret(PASSWORD))
    order = seek(client, convert(InsertParams, what.params), "http://192.0.2.1/x.iso").order
    client.patience = 0.0
    insert(client, order, time.sleep)
    board.sticky = "disc"
    (left,) = put_back(client, order, time.sleep, sent=True)
    assert "the disc in slot CD1" in left and "still holds a disc" in left
