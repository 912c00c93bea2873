"""A disc by SMB share: whole runs, and boards of every manner that their pages are known for."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from engines.biosiso.bmc.aten.drive import attributes, devices
from engines.biosiso.bmc.insert import Insert
from engines.job import runs
from engines.job.contract import Asked, Cancel, CommandChange, Finished, Log, Plan, RunFailed, RunStopped, Warned
from engines.job.errors import BadParam, Refused
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import Secret, convert
from engines.job.perform import Stop
from tests.engines.biosiso.bmc.aten.conftest import Boards, acts, job
from tests.engines.biosiso.bmc.redfish_board import drive, events
from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD, make_certificate

OTHER = {"host": "10.0.0.9", "path": "\\iso\\old.iso", "user": "bob", "pwd": "hunter2-and-more"}
EMPTY = dict.fromkeys(OTHER, "")


def plan_of(what: Job, password: str | None = PASSWORD) -> Plan:
    secret = {"password": Secret(password)} if password is not None else {}
    return Insert().plan(convert(Insert.params, {**what.params, **secret}), Cancel())


def test_the_board_reads_the_very_disc_and_is_as_before_afterwards(boards: Boards, disc: Path) -> None:
    board, during = boards(), []

    def on(entry: Entry, run: runs.Run, stop: Stop) -> None:
        if isinstance(entry.event, Asked):
            during.append((board.status, dict(board.form), board.sessions))

    run, last = drive(job(disc, board), on=on)
    assert isinstance(last, Finished), last
    status, form, sessions = during[0]
    assert (status, form["host"], form["user"], sessions) == (4, "127.0.0.1", "guest", 0)
    assert board.read == disc.read_bytes()
    assert (board.status, board.form, board.sessions) == (255, EMPTY, 0)
    assert last.result["url"].endswith("/x9scm.iso") and last.result["bytes_fetched"] >= disc.stat().st_size
    plan = run.plan()
    assert plan is not None and acts(board) == ["set", "mount", "unmount", "set"]
    planned = [change.command.split()[1] for change in plan.changes if isinstance(change, CommandChange)]
    assert planned == [path for path, _ in board.asked if path in planned]
    words = " ".join(plan.warnings)
    assert "never on a real one" in words and "boot menu (F11)" in words and "SMB 1" in words
    assert "404" in dict(plan.facts)["Redfish"]


MANNERS: dict[str, dict[str, Any]] = {
    "one page for all, a token that is spent, a slow mount": {
        "dialect": "op", "token": "CSRF_TOKEN", "spends_token": True, "lag": 2
    },
    "another word, another token, an encoded login": {"dialect": "uiso", "token": "CSRF-TOKEN", "login": "base64"},
    "an encoded login unsaid, sessions that are lost": {"login": "unsaid base64", "forgets": (4, 9)},
    "a form that cannot be read": {"tells": False},
    "SMB 3 only": {"protocol": "SMB3"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<DEVICE ID="0" STATUS="255"/><DEVICE ID="1" STATUS="4"/>', {"0": "255", "1": "4"}),
        ("<VM>\n<device status='4' type='cd' id='1' ></device></VM>", {"1": "4"}),
        ('<DEVICE ID = "1" NAME="a=b" STATUS = "255"/>', {"1": "255"}),
        ('<DEVICE ID="1" STATUS="unknown"/>', {}),
        ("<html>login</html>", {}),
    ],
)
def test_a_drives_status_is_read_in_any_order_and_quotes(text: str, found: dict[str, str]) -> None:
    assert devices(text) == found
    settings = attributes("<IMG path='\\iso\\x.iso' HOST=\"10.0.0.9\"/>")
    assert settings == {"PATH": "\\iso\\x.iso", "HOST": "10.0.0.9"}


@pytest.mark.parametrize("manner", MANNERS)
def test_a_board_of_other_manners_is_served_alike(boards: Boards, disc: Path, manner: str) -> None:
    board = boards(**MANNERS[manner])
    _, last = drive(job(disc, board, way="smb"))
    assert isinstance(last, Finished), last
    assert board.read == disc.read_bytes()
    assert (board.status, board.form, board.sessions) == (255, EMPTY, 0)


def test_what_stood_in_form_and_drive_is_warned_of_and_the_form_comes_back(
    boards: Boards, disc: Path, tmp_path: Path
) -> None:
    board = boards()
    board.form, board.status = dict(OTHER), 4
    run, last = drive(job(disc, board))
    assert isinstance(last, Finished), last
    plan = run.plan()
    assert plan is not None and any("10.0.0.9\\iso\\old.iso: it is unmounted" in text for text in plan.warnings)
    assert acts(board) == ["unmount", "set", "mount", "unmount", "set"]
    assert (board.form, board.status) == (OTHER, 255)
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert PASSWORD.encode() not in content and OTHER["pwd"].encode() not in content, path


def test_a_password_that_the_board_stars_is_said_to_be_lost(boards: Boards, disc: Path) -> None:
    board = boards(hides=True)
    board.form = dict(OTHER)
    run, last = drive(job(disc, board))
    assert isinstance(last, Finished), last
    assert board.form == {**OTHER, "pwd": ""} and "typed anew" in last.summary
    assert any("typed anew" in event.text for event in events(run) if isinstance(event, Warned))


def test_a_form_that_cannot_be_emptied_is_said_and_fails_nothing(boards: Boards, disc: Path) -> None:
    board = boards(clears=False)
    _, last = drive(job(disc, board))
    assert isinstance(last, Finished), last
    assert "still names a share that has ended" in last.summary and board.status == 255


@pytest.mark.parametrize(
    ("manner", "more", "words"),
    [
        ({"deaf": True}, {}, "it never asked the share"),
        ({}, {"fetch_from": "192.0.2.9", "timeout": 20.0}, "127.0.0.1 asked for the share and was turned away"),
        ({"refuses": "err: share name"}, {"timeout": 30.0}, "err: share name"),
    ],
)
def test_a_mount_that_comes_to_nothing_is_told_with_what_the_share_saw(
    boards: Boards, disc: Path, manner: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    board = boards(**manner)
    _, last = drive(job(disc, board, **{"timeout": 8.0} | more))
    assert isinstance(last, RunFailed), last
    assert words in last.why and last.left_behind == ()
    assert (board.status, board.form, board.read) == (255, EMPTY, b"")


def test_a_disc_that_stays_in_is_named(boards: Boards, disc: Path) -> None:
    board = boards(sticky=True)
    _, last = drive(job(disc, board, timeout=8.0))
    assert isinstance(last, RunFailed), last
    assert "still holds a disc" in last.why
    assert any("the disc in the virtual CD drive" in line for line in last.left_behind)
    assert any("crashcart undo" in line for line in last.left_behind)


@pytest.mark.parametrize("mark", ["insert", "keep"])
def test_a_stop_leaves_drive_and_form_as_they_were(boards: Boards, disc: Path, mark: str) -> None:
    board = boards()

    def on(entry: Entry, run: runs.Run, stop: Stop) -> None:
        if getattr(entry.event, "step", "") == mark:
            stop.ask()

    _, last = drive(job(disc, board), on=on)
    assert isinstance(last, RunStopped) and last.left_behind == (), last
    assert (board.status, board.form, board.sessions) == (255, EMPTY, 0)


def test_without_a_password_the_run_asks_looks_and_shows_before_it_sends(boards: Boards, disc: Path) -> None:
    board = boards()
    plan = plan_of(job(disc, board), password=None)
    assert plan.changes == () and board.asked == [] and board.logins == 0
    run, last = drive(job(disc, board), password=None, replies=(PASSWORD, "stop"))
    assert isinstance(last, RunStopped), last
    assert acts(board) == []
    assert any("uisopin.cgi" in event.text for event in events(run) if isinstance(event, Log))
    assert isinstance(drive(job(disc, board), password=None, replies=(PASSWORD, "send"))[1], Finished)


def test_a_drive_in_other_hands_and_a_wrong_password_are_refused(boards: Boards, disc: Path) -> None:
    board = boards()
    with pytest.raises(Refused, match="refuses the user or the password") as refused:
        plan_of(job(disc, board), "not the one")
    assert board.logins == 2 and "lock" in refused.value.what_helps
    board.status = 5
    with pytest.raises(Refused, match="status 5"):
        plan_of(job(disc, board))
    assert acts(board) == [] and board.sessions == 0


def test_a_board_that_changed_since_the_review_is_left_alone(boards: Boards, disc: Path) -> None:
    board = boards()
    plan = plan_of(job(disc, board))
    board.form = dict(OTHER)
    _, last = drive(Job(task="biosiso-insert", params=plan.params), reviewed=plan.digest)
    assert isinstance(last, RunFailed) and last.refused, last
    assert board.form == OTHER and acts(board) == []


def test_what_cannot_be_shared_is_refused_by_name(boards: Boards, disc: Path) -> None:
    board = boards()
    with boards() as other, pytest.raises(Refused, match="the SMB share has to stand there"):
        plan_of(job(disc, board, listen=f"127.0.0.1:{other.port}"))
    with pytest.raises(BadParam):
        plan_of(job(disc, board, way="smb", iso="", url="http://10.0.0.1/x.iso"))
    with pytest.raises(BadParam):
        plan_of(job(disc, board, listen="[::1]:4450"))
    board.manners.dialect = "op"
    board.manners.token = "CSRF_TOKEN"
    assert plan_of(job(disc, board, way="smb")).detail["order"]["dialect"] == "op"
    with pytest.raises(Refused, match="404"):
        plan_of(job(disc, board, way="redfish"))


def test_a_board_that_knows_only_tls_1_0_is_met_where_its_certificate_is_pinned(
    boards: Boards, disc: Path, tmp_path: Path
) -> None:
    pem, key, pin = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(pem, key)
    board = boards(tls=context)
    assert plan_of(job(disc, board, insecure_http=False, fingerprint=pin)).detail["way"] == "smb"
    with pytest.raises(Refused, match="TLS") as refused:
        plan_of(job(disc, board, insecure_http=False, ca_file=str(pem)))
    assert f"sha256:{pin}" in refused.value.what_helps
    assert board.logins == 1
