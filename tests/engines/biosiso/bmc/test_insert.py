"""Putting a disc into a BMC: whole runs against sushy-emulator and against a board of SuperMicro's ways."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.biosiso.bmc.insert import Insert
from engines.biosiso.bmc.serve import DiscServer
from engines.job import runs
from engines.job.contract import (
    Asked,
    Cancel,
    CommandChange,
    Finished,
    Log,
    Plan,
    RunFailed,
    RunStopped,
    StepStarted,
    Warned,
)
from engines.job.errors import Refused
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import Secret, convert
from engines.job.perform import Stop
from tests.engines.biosiso.bmc.redfish_board import SLOT, SYSTEM, Board, drive, events, job
from tests.engines.biosiso.bmc.redfish_emulator import HOST, PASSWORD, SECOND, Emulator
from tests.ports import free_port


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("bmc") / "emulator", systems=(HOST, SECOND)) as running:
        yield running


@pytest.fixture
def bmc(emulator: Emulator) -> Emulator:
    emulator.reset()
    return emulator


def at(bmc: Emulator, disc: Path, /, **more: Any) -> Job:
    return job(disc, bmc.port, **{"system": HOST, **more})


def plan_of(what: Job, password: str | None = PASSWORD) -> Plan:
    secret = {"password": Secret(password)} if password is not None else {}
    return Insert().plan(convert(Insert.params, {**what.params, **secret}), Cancel())


def stop_at(number: int) -> Any:
    def on(entry: Entry, run: runs.Run, stop: Stop) -> None:
        if entry.seq == number:
            stop.ask()

    return on


# ── the whole way ──────────────────────────────────────────────────────────────────────────────────


def test_the_bmc_holds_the_very_disc_until_told_and_is_as_before_afterwards(bmc: Emulator, disc: Path) -> None:
    before, during = bmc.seen(), []

    def on(entry: Entry, run: runs.Run, stop: Stop) -> None:
        if isinstance(entry.event, Asked):
            copies = [path for path in bmc.fetched.rglob("x9scm.iso") if path.is_file()]
            during.append((bmc.seen(), [path.read_bytes() for path in copies]))

    run, last = drive(at(bmc, disc), on=on)
    assert isinstance(last, Finished), last
    (inserted, image, boot, power), copies = during[0]
    assert inserted is True
    assert image == last.result["url"]
    assert boot["BootSourceOverrideTarget"] == "Cd"
    assert boot["BootSourceOverrideMode"] == "Legacy"
    assert power == "Off"
    assert copies == [disc.read_bytes()]
    assert last.result["bytes_fetched"] == disc.stat().st_size
    assert bmc.seen() == before
    plan = run.plan()
    assert plan is not None
    assert [event.step for event in events(run) if isinstance(event, StepStarted)] == [step.id for step in plan.steps]


def test_several_hosts_of_the_emulator_are_named(bmc: Emulator, disc: Path) -> None:
    with pytest.raises(Refused, match="give system") as refused:
        plan_of(job(disc, bmc.port))
    assert HOST in refused.value.why
    assert SECOND in refused.value.why


def test_planning_sends_gets_only_and_gives_the_same_plan_twice(board: Board, disc: Path) -> None:
    what = job(disc, board.port)
    first, second = plan_of(what), plan_of(what)
    assert first == second
    assert board.changes() == []
    assert first.confirm == "127.0.0.1"


def test_exactly_the_planned_requests_are_sent_and_none_resets_the_host(board: Board, disc: Path) -> None:
    board.lag = 2
    run, last = drive(job(disc, board.port))
    assert isinstance(last, Finished), last
    plan = run.plan()
    assert plan is not None
    planned = [change.command.split(" ")[:2] for change in plan.changes if isinstance(change, CommandChange)]
    asked = [list(change) for change in board.changes()]
    without_repeats = [change for number, change in enumerate(asked) if asked[number - 1 : number] != [change]]
    assert without_repeats == planned
    assert not any("Reset" in path for _, path in board.asked)
    assert (board.boot["Enabled"], board.boot["Mode"]) == ("Disabled", "UEFI")
    assert board.slot["Image"] is None


def test_the_board_gets_the_once_override_for_its_usb_cd(board: Board, disc: Path) -> None:
    during: list[dict[str, str]] = []

    def on(entry: Entry, run: runs.Run, stop: Stop) -> None:
        if isinstance(entry.event, Asked):
            during.append(dict(board.boot))

    run, last = drive(job(disc, board.port), on=on)
    assert isinstance(last, Finished), last
    assert during == [{"Enabled": "Once", "Target": "UsbCd", "Mode": "Legacy"}]
    assert not any(isinstance(event, Warned) for event in events(run))


def test_an_override_that_the_start_used_up_is_not_set_again(board: Board, disc: Path) -> None:
    def on(entry: Entry, run: runs.Run, stop: Stop) -> None:
        if isinstance(entry.event, Asked):
            board.boot = {"Enabled": "Disabled", "Target": "None", "Mode": "UEFI"}

    _, last = drive(job(disc, board.port), on=on)
    assert isinstance(last, Finished), last
    assert board.changes().count(("PATCH", SYSTEM)) == 2  # one refused with 428, one with the ETag


def test_a_leftover_image_is_ejected_first_and_said(board: Board, disc: Path) -> None:
    board.slot = {"Inserted": True, "Image": "http://10.0.0.9/old.iso", "ConnectedVia": "NotConnected"}
    plan = plan_of(job(disc, board.port))
    assert [step.id for step in plan.steps][1] == "eject-old"
    assert "leftover" in dict(plan.facts)["in the slot now"]
    assert isinstance(drive(job(disc, board.port))[1], Finished)


def test_somebody_elses_disc_is_warned_of(board: Board, disc: Path) -> None:
    board.slot = {"Inserted": True, "Image": "http://10.0.0.9/install.iso", "ConnectedVia": "URI"}
    plan = plan_of(job(disc, board.port))
    assert any("install.iso" in warning and "not put in again" in warning for warning in plan.warnings)


def test_a_time_can_be_given_instead_of_an_answer(board: Board, disc: Path) -> None:
    run, last = drive(job(disc, board.port, eject_after=0.01))
    assert isinstance(last, Finished), last
    assert not any(isinstance(event, Asked) for event in events(run))
    assert board.slot["Image"] is None


def test_a_url_of_the_technicians_is_inserted_as_it_stands(bmc: Emulator, disc: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/images/x9scm.iso"
    what = at(bmc, disc, url=url, iso="")
    with DiscServer(disc, ("127.0.0.1", port), "/images/x9scm.iso", "e", frozenset({"127.0.0.1"})) as server:
        _, last = drive(what)
        assert isinstance(last, Finished), last
        assert server.sent == disc.stat().st_size
    assert last.result["url"] == url
    assert "bytes_fetched" not in last.result


# ── the password ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("asked", [False, True], ids=["given", "asked for"])
def test_no_file_of_a_run_holds_the_password(bmc: Emulator, disc: Path, tmp_path: Path, asked: bool) -> None:
    what = at(bmc, disc)
    run, last = drive(what, password=None if asked else PASSWORD, replies=(PASSWORD,) if asked else ())
    assert isinstance(last, Finished), last
    token = base64.b64encode(f"ADMIN:{PASSWORD}".encode())
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert run.report in found
    for path in found:
        content = path.read_bytes()
        assert PASSWORD.encode() not in content, path
        assert token not in content, path


def test_without_a_password_the_plan_says_so_and_the_run_shows_before_it_sends(board: Board, disc: Path) -> None:
    plan = plan_of(job(disc, board.port), password=None)
    assert plan.changes == ()
    assert any("front page" in warning for warning in plan.warnings)
    assert {path for _, path in board.asked} == {"/redfish/v1/"}
    run, last = drive(job(disc, board.port), password=None, replies=(PASSWORD, "stop"))
    assert isinstance(last, RunStopped), last
    assert board.changes() == []
    shown = [event.text for event in events(run) if isinstance(event, Log)]
    assert any(f"POST {SLOT}/Actions/InsertMedia" in line for line in shown)
    assert isinstance(drive(job(disc, board.port), password=None, replies=(PASSWORD, "send"))[1], Finished)
    assert board.slot["Image"] is None


def test_a_wrong_answer_for_the_password_sends_nothing(board: Board, disc: Path) -> None:
    _, last = drive(job(disc, board.port), password=None, replies=("nonsense",))
    assert isinstance(last, RunFailed), last
    assert "password" in last.why
    assert board.changes() == []


# ── when it goes wrong ─────────────────────────────────────────────────────────────────────────────


def test_a_stop_at_any_event_leaves_the_bmc_as_it_was(bmc: Emulator, disc: Path) -> None:
    before, number, stopped = bmc.seen(), 0, 0
    while True:
        run, last = drive(at(bmc, disc), on=stop_at(number))
        assert bmc.seen() == before, (number, last)
        seen = events(run)
        if len(seen) <= number + 1:
            break
        assert isinstance(last, RunStopped | Finished), (number, last)
        if isinstance(last, RunStopped):
            assert last.left_behind == (), number
            stopped += 1
        number += 1
    assert stopped > 10
    assert number > stopped


def test_a_disc_that_never_shows_up_is_a_failure_that_is_taken_back(board: Board, disc: Path) -> None:
    board.deaf = True
    _, last = drive(job(disc, board.port, timeout=4.0))
    assert isinstance(last, RunFailed), last
    assert "its slot is empty" in last.why
    assert "fetch_from" in last.what_helps
    assert last.left_behind == ()
    assert (SLOT.split("/")[-1], board.slot["Image"]) == ("CD1", None)
    assert ("POST", f"{SLOT}/Actions/EjectMedia") in board.changes()


def test_a_bmc_that_dies_in_mid_run_is_named_as_left_behind(board: Board, disc: Path) -> None:
    def on(entry: Entry, run: runs.Run, stop: Stop) -> None:
        if isinstance(entry.event, Asked):
            board.die()
            stop.ask()

    run, last = drive(job(disc, board.port, timeout=30.0), on=on)
    assert isinstance(last, RunStopped), last
    assert any("slot CD1" in line for line in last.left_behind)
    assert any(f"crashcart undo {run.id}" in line for line in last.left_behind)


def test_a_bmc_that_changed_since_the_review_is_left_alone(bmc: Emulator, disc: Path) -> None:
    plan = plan_of(at(bmc, disc))
    bmc.ask("PATCH", "", {"Boot": {"BootSourceOverrideTarget": "Pxe"}})
    what = Job(task="biosiso-insert", params=plan.params)
    _, last = drive(what, reviewed=plan.digest)
    assert isinstance(last, RunFailed), last
    assert last.refused
    assert "changed" in last.why
    assert bmc.seen()[1] == ""


def test_undo_leaves_alone_what_others_did_since(board: Board, disc: Path) -> None:
    run, _ = drive(job(disc, board.port))
    board.slot = {"Inserted": True, "Image": "http://10.0.0.9/install.iso", "ConnectedVia": "URI"}
    board.boot = {"Enabled": "Once", "Target": "Pxe", "Mode": "Legacy"}
    sent = len(board.changes())
    undone, last = drive(run.job(), mode="undo", earlier=run.id)
    assert isinstance(last, Finished), last
    assert len(board.changes()) == sent
    assert sum("left alone" in event.text for event in events(undone) if isinstance(event, Log)) == 2


def test_a_finished_run_is_not_resumed(board: Board, disc: Path) -> None:
    run, _ = drive(job(disc, board.port))
    _, last = drive(run.job(), mode="resume", earlier=run.id)
    assert isinstance(last, RunFailed), last
    assert last.refused
